"""Several workers' processes on one database and one data directory, and what SQL says meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from gateway.domain.budgets import Budget
from gateway.store.budget_changes import create_budget
from tests.contention.worker import Order, Outcome

__all__ = ["Book", "Figures", "Member", "fleet"]

ACCOUNT_COLUMNS = (
    "id, parent, name, path, kind, cost_center, timezone, metadata, status, created_at, deleted_at, revision"
)


class Figures(NamedTuple):
    """A window's row, and what leases say is held."""

    cap: int
    spent: int
    leased: int
    overrun: int


class Book:
    """SQL beside the workers."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(url, poolclass=NullPool)

    def budget(self, cap: int) -> Budget:
        """Make the one account and the one budget."""
        budget = Budget("bud_1", "one dollar", "usd", cap, "lifetime", count_from="now")
        with self._engine.begin() as conn:
            conn.execute(
                text(
                    f"INSERT INTO accounts ({ACCOUNT_COLUMNS}) VALUES ('acct_1', NULL, 'acme', 'acme',"
                    " 'team', NULL, 'UTC', '{}', 'active', 1, NULL, 1)"
                )
            )
            create_budget(conn, budget)
        return budget

    def figures(self) -> Figures | None:
        """The window of the budget, None while nobody has used it."""
        rows = self.rows("SELECT cap, spent, leased, overrun FROM windows")
        return Figures(*rows[0]) if rows else None

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What SQL has."""
        with self._engine.connect() as conn:
            return [tuple(row) for row in conn.execute(text(statement))]

    def number(self, statement: str) -> int:
        """The one integer SQL has."""
        return int(self.rows(statement)[0][0])


class Member:
    """One worker's process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def order(self, order: Order) -> None:
        """Have it call."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        self.process.stdin.flush()

    def outcome(self) -> Outcome:
        """What came of the order, once it is done."""
        return msgspec.json.decode(self._line(), type=Outcome)

    def stop(self) -> bool:
        """End it in good order; whether its journal is posted and gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        is_stopped = bool(msgspec.json.decode(self._line())["stopped"])
        assert self.process.wait(60) == 0
        return is_stopped

    def ready(self) -> None:
        """Wait until it runs."""
        assert "ready" in msgspec.json.decode(self._line())

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the worker died"
        return line


@contextmanager
def fleet(url: str, data_dir: Path, budget: Budget, size: int) -> Iterator[Sequence[Member]]:
    """So many workers, running; none is left afterwards."""
    command = [sys.executable, "-m", "tests.contention.worker", url, str(data_dir)]
    with ExitStack() as stack:
        members = []
        for _ in range(size):
            process = subprocess.Popen(
                [*command, msgspec.json.encode(budget).decode()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
            )
            stack.callback(_end, process)
            members.append(Member(process))
        for member in members:
            member.ready()
        yield members


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
