"""What ledger tests work with: a database with budgets in it, driven time, workers, a database that fails.

A worker made with `beats=False` does nothing by itself; a test takes each step (`poll`, `settle`, ...), so
that it decides what happens before what.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, insert

from gateway.clock import DrivenClock
from gateway.domain.budgets import Budget, Need
from gateway.domain.ids import attempt_id, call_id
from gateway.ledger.ledger import CallFacts, Closing, Hold, Ledger
from gateway.ledger.timer import DrivenTimer
from gateway.store.engine import Database
from gateway.store.outcomes import DatabaseAway, DatabaseUnknown
from gateway.store.sql import run
from gateway.store.tables import accounts, budgets

__all__ = ["NOON_US", "Faulty", "Workbench", "closing"]

T = TypeVar("T")

PATIENCE_S = 60  # of the machine's own time: for a machine that is busy with other work
NOON_US = 1_795_608_000_000_000  # 2026-11-25T12:00:00Z


class Faulty:
    """A database in front of a real one that loses transactions the way networks and crashes do.

    `faults` are used up one by one, by the accounting transactions whose body is named in `only`:
    "away" (never sent), "unheard" (committed, the answer is lost), "late" (the answer is lost, and it has
    not been executed yet: `deliver_late` does that).
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.faults: list[str] = []
        self.only: str | None = None
        self.is_away = False
        self.late: list[Callable[[], Awaitable[Any]]] = []
        self.sent: list[str] = []
        self.gate: Callable[[str], Awaitable[None]] | None = None

    async def account(self, rank: int, fn: Callable[..., T], /, *args: Any) -> T:
        name = _name(fn, args)
        self.sent.append(name)
        if self.gate is not None:
            await self.gate(name)
        if self.is_away:
            raise DatabaseAway(OSError("no route to the database"))
        fault = self.faults.pop(0) if self.faults and self.only in (None, name) else ""
        if fault == "away":
            raise DatabaseAway(OSError("connection refused"))
        if fault == "late":
            self.late.append(lambda: self.database.account(rank, fn, *args))
            raise DatabaseUnknown("connection lost during COMMIT")
        result = await self.database.account(rank, fn, *args)
        if fault == "unheard":
            raise DatabaseUnknown("connection lost during COMMIT")
        return result

    async def watch(self, fn: Callable[..., T], /, *args: Any) -> T:
        if self.is_away:
            raise DatabaseAway(OSError("no route to the database"))
        return await self.database.watch(fn, *args)

    async def deliver_late(self) -> list[BaseException | Any]:
        """Let the server execute what was sent long ago; returns results and errors."""
        late, self.late = self.late, []
        return [await _outcome(send()) for send in late]


async def _outcome(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except Exception as error:
        return error


def _name(fn: Callable[..., Any], args: Sequence[Any]) -> str:
    """What a transaction is for: the body's name, not that of the wrapper that moves the serial."""
    inner = [arg for arg in args if callable(arg)]
    return str((inner[0] if inner else fn).__name__)


class Workbench:
    """One database, one data directory, any number of workers."""

    def __init__(self, url: str, folder: Path) -> None:
        self.database = Database(url)
        self.folder = folder
        self.clock = DrivenClock(NOON_US)
        self.timer = DrivenTimer()
        self.ledgers: list[Ledger] = []
        self._budgets = 0

    async def open(self) -> None:
        """Add the one account that budgets belong to."""
        await self.database.write(_add_account)

    async def worker(
        self, *, database: Any = None, folder: Path | None = None, beats: bool = False, **options: Any
    ) -> Ledger:
        """Another worker."""
        ledger = await Ledger.start(
            self.database if database is None else database,
            folder or self.folder,
            self.clock,
            os.urandom,
            timer=self.timer,
            beats=beats,
            **options,
        )
        self.ledgers.append(ledger)
        return ledger

    async def budget(self, cap: int, **fields: Any) -> Budget:
        """A budget in the database."""
        self._budgets += 1
        values: dict[str, Any] = {
            "id": f"bud_{self._budgets:022d}",
            "name": f"budget {self._budgets}",
            "unit": "usd",
            "period": "month",
            "created_at_us": self.clock.now_us(),
            **fields,
        }
        budget = Budget(cap=cap, **values)
        await self.database.write(_add_budget, budget)
        return budget

    def facts(self, ledger: Ledger, **fields: Any) -> CallFacts:
        """A call's facts; its prompt is estimated at 1 nano-USD and 1 token unless told otherwise."""
        values: dict[str, Any] = {
            "attempt": attempt_id(os.urandom(16)),
            "call": call_id(ledger.journal_bytes, os.urandom(8)),
            "key": "key_1",
            "account": "acct_1",
            "end_user": None,
            "tags": {},
            "provider": "openai",
            "upstream": "openai",
            "model": "gpt-4.1",
            "format": "openai_chat",
            "streamed": True,
            "admitted_at_us": self.clock.now_us(),
            "hold_nano": 0,
            "usage": {"input": 1},
            "charge_nano": 1,
            "tokens": 1,
            **fields,
        }
        return CallFacts(**values)

    async def hold(self, ledger: Ledger, *wanted: tuple[Budget, int], **fields: Any) -> Hold:
        """Admit a call, the fast way if it goes, the slow way with the courier driven if not."""
        needs = [Need(budget, fields.pop("subject", ""), amount) for budget, amount in wanted]
        fields.setdefault("hold_nano", max((amount for _, amount in wanted), default=0))
        facts = self.facts(ledger, **fields)
        hold = ledger.admit(facts, needs)
        return hold if hold is not None else await self.driven(ledger, ledger.acquire(facts, needs))

    async def acquire(self, ledger: Ledger, *wanted: tuple[Budget, int], **fields: Any) -> Hold:
        """The slow way in; the test drives the workers."""
        return await ledger.acquire(
            self.facts(ledger, **fields), [Need(budget, "", amount) for budget, amount in wanted]
        )

    async def driven(self, ledger: Ledger, work: Awaitable[T]) -> T:
        """Carry the worker's errands until the work is done; time does not pass."""
        task = asyncio.ensure_future(work)
        patience = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < patience:
            if task.done():
                return await task
            if not await ledger.courier.step():
                await tick()
        task.cancel()
        raise AssertionError("it waits for something that only time or another worker brings")

    async def settle(self, ledger: Ledger) -> None:
        """Let everything under way come to its end: openings, the journal's disk, every errand."""
        await tick()
        await ledger.journal.sync()
        while True:
            while await ledger.courier.step() or ledger.poster.is_reading:
                await ledger.poster.quiet()
            await tick()
            if not ledger.openings.is_busy:
                return
            await ledger.openings.quiet()
            await tick(10)

    async def until(self, ledger: Ledger, condition: Callable[[], object]) -> None:
        """Settle until something is so."""
        for _ in range(200):
            if condition():
                return
            await self.settle(ledger)
        raise AssertionError("it never came to be so")

    async def poll(self, ledger: Ledger) -> None:
        """One poll and what follows from it."""
        await ledger.watcher.poll()
        await self.settle(ledger)

    async def pass_time(self, work: Awaitable[T], step_s: float = 0.1) -> T:
        """Let time pass until the work is done."""
        task = asyncio.ensure_future(work)
        patience = asyncio.get_running_loop().time() + PATIENCE_S
        while not task.done():
            assert asyncio.get_running_loop().time() < patience, "time alone does not bring it about"
            await tick()
            self.timer.advance(step_s)
        return await task

    async def together(self, work: Awaitable[T], *ledgers: Ledger) -> T:
        """Drive these workers, a poll and 50 ms at a time, until the work is done."""
        task = asyncio.ensure_future(work)
        for _ in range(200):
            for ledger in ledgers:
                await self.settle(ledger)
                if task.done():
                    return await task
                await self.poll(ledger)
            self.timer.advance(0.05)
            await tick()
        task.cancel()
        raise AssertionError("nothing came of it in ten seconds")

    async def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What SQL has."""
        return await self.database.read(_rows, statement, parameters)

    async def scalar(self, statement: str, *parameters: Any) -> Any:
        """The one value SQL has."""
        rows = await self.rows(statement, *parameters)
        return rows[0][0]

    async def execute(self, statement: str, *parameters: Any) -> None:
        """Change something behind everybody's back."""
        await self.database.write(_execute, statement, parameters)

    async def audit(self) -> None:
        """Assert what holds at any instant in SQL, whoever died where."""
        problems = await self.database.read(_problems)
        assert problems == [], problems

    async def stop(self) -> None:
        """End what still runs."""
        for ledger in self.ledgers:
            if not ledger.journal.is_closed:
                await ledger.abandon()
        await self.database.stop()


async def tick(times: int = 3) -> None:
    """Let the event loop take a few steps."""
    for _ in range(times):
        await asyncio.sleep(0)


def closing(charge_nano: int, **fields: Any) -> Closing:
    """An ordinary end; tokens are as many as nano-USD unless told otherwise."""
    values: dict[str, Any] = {
        "outcome": "done",
        "status": 200,
        "served_model": "gpt-4.1-2025-04-14",
        "usage": {"input": 1, "output": charge_nano},
        "usage_source": "provider",
        "raw_usage": b"{}",
        "lines": [("output", charge_nano, "price_1", 1000, charge_nano, charge_nano)],
        "flags": [],
        "charge_nano": charge_nano,
        "list_nano": charge_nano,
        "tokens": charge_nano,
        "closed_at_us": NOON_US + 1_000_000,
        "requests": 1,
        **fields,
    }
    return Closing(**values)


def _add_account(conn: Connection) -> None:
    conn.execute(
        insert(accounts).values(
            id="acct_1",
            parent=None,
            name="acme",
            path="acme",
            kind="organization",
            cost_center=None,
            timezone="UTC",
            metadata={},
            status="active",
            created_at=NOON_US,
            deleted_at=None,
            revision=1,
        )
    )


def _add_budget(conn: Connection, budget: Budget) -> None:
    conn.execute(
        insert(budgets).values(
            id=budget.id,
            name=budget.name,
            account=budget.account,
            key=budget.key,
            models=list(budget.models),
            provider=budget.provider,
            end_user=budget.end_user,
            tags=dict(budget.tags),
            each=budget.each,
            unit=budget.unit,
            cap=budget.cap,
            period=budget.period,
            timezone=budget.timezone,
            anchor_day=budget.anchor_day,
            anchor_month=budget.anchor_month,
            enforcement=budget.enforcement,
            alert_at=list(budget.alert_at),
            fallback=budget.fallback,
            count_from=budget.count_from,
            funded=False,
            created_at=budget.created_at_us,
            deleted_at=None,
            revision=1,
        )
    )


def _rows(conn: Connection, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in run(conn, statement, parameters)]


def _execute(conn: Connection, statement: str, parameters: Sequence[Any]) -> None:
    run(conn, statement, parameters)


# Each yields a row for every violation of one law.
_LAWS = {
    "leased is the sum of leases": (
        "SELECT w.id, w.leased, COALESCE(SUM(l.amount), 0) FROM windows w LEFT JOIN leases l ON l.win = w.id"
        " GROUP BY w.id, w.leased HAVING w.leased <> COALESCE(SUM(l.amount), 0)"
    ),
    "spent and leased stay within the cap": (
        "SELECT id, cap, spent, leased, overrun, released FROM windows"
        " WHERE spent + leased > cap + overrun + released AND budget NOT IN"
        " (SELECT id FROM budgets WHERE enforcement = 'soft')"
    ),
    "a finished journal has no lease": (
        "SELECT l.journal, l.win FROM leases l JOIN journals j ON j.id = l.journal WHERE j.state <> 'live'"
    ),
}


def _problems(conn: Connection) -> list[str]:
    found = [f"{law}: {tuple(row)}" for law, statement in _LAWS.items() for row in run(conn, statement).all()]
    return found + _unequal_sums(conn)


def _unequal_sums(conn: Connection) -> list[str]:
    """`spent` of each window is what the ledger and the quarantine say, from what it began with."""
    amounts: dict[int, int] = {}
    for (windows,) in run(conn, "SELECT windows FROM ledger").all():
        for window, amount, _ in msgspec.json.decode(windows):
            amounts[window] = amounts.get(window, 0) + amount
    for (windows,) in run(conn, "SELECT amounts FROM quarantine").all():
        for window, amount in msgspec.json.decode(windows):
            amounts[window] = amounts.get(window, 0) + amount
    spent = dict(iter(run(conn, "SELECT id, spent FROM windows").all()))
    return [
        f"window {window} has spent {spent[window]}, the ledger says {amounts.get(window, 0)}"
        for window in spent
        if spent[window] != amounts.get(window, 0)
    ]
