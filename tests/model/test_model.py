"""The ledger against an auditor in plain integers, whatever happens in whatever order.

`THOROUGH=50 pytest tests/model` runs fifty times as many stories, other ones each time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.databases import Postgres, postgres, sqlite_template
from tests.model.machine import LedgerMachine

__all__ = ["postgres", "sqlite_template"]

TIMES = int(os.environ.get("THOROUGH", "1"))
STEPS = 50

# A defect by what it is: the piece of SQL, and what is said instead.
PLANTED: Mapping[str, tuple[str, str]] = {
    "the cap is passed by one": ("leased + ? <= cap", "leased + ? <= cap + 1"),
    "a transaction may happen twice": ("AND serial = ?", "AND serial >= 0 * ?"),
    "nobody is told to give back": ("SET recall = recall + 1", "SET recall = recall"),
    "posted is not moved": ("SET posted = ?", "SET posted = posted + 0 * ?"),
    "a charge leaves its lease as it is": (
        "leased = leased - ?, overrun",
        "leased = leased - 0 * ?, overrun",
    ),
}


def machine(template: bytes, planted: Mapping[str, str]) -> type[LedgerMachine]:
    """The machine on a database with the tables, and with these defects in its SQL."""
    return type("Machine", (LedgerMachine,), {"template": template, "planted": planted})


class OnPostgres(LedgerMachine):
    """The machine on a server's databases."""

    server: ClassVar[Postgres]

    def __init__(self) -> None:
        super().__init__()
        self.taken: str | None = None

    def url(self) -> str:
        """A database with the tables, emptied after the story."""
        self.taken = self.server.take()
        return self.taken

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if self.taken is not None:
                self.server.give_back(self.taken)


def effort(examples: int, *, shrinks: bool) -> settings:
    """So many stories; the same ones each time unless more are asked for. Unless it `shrinks` what it finds,
    the first find is the end of it."""
    return settings(
        max_examples=examples * TIMES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        derandomize=TIMES == 1,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
        report_multiple_bugs=shrinks,
        print_blob=True,
    )


def test_every_verdict_and_balance_is_the_auditors(sqlite_template: bytes) -> None:
    run_state_machine_as_test(machine(sqlite_template, {}), settings=effort(20, shrinks=True))


@pytest.mark.slow
def test_in_three_hundred_stories(sqlite_template: bytes) -> None:
    run_state_machine_as_test(machine(sqlite_template, {}), settings=effort(300, shrinks=True))


@pytest.mark.slow
def test_on_postgresql(postgres: Postgres) -> None:
    """The same stories with another database's locks, types and answers; fewer, for each takes longer."""
    kind = type("Machine", (OnPostgres,), {"server": postgres})
    run_state_machine_as_test(kind, settings=effort(15, shrinks=True))


@pytest.mark.parametrize(
    "defect",
    [
        pytest.param(name, marks=() if number == 0 else pytest.mark.slow)
        for number, name in enumerate(PLANTED)
    ],
)
def test_a_planted_defect_is_found(sqlite_template: bytes, defect: str) -> None:
    """The auditor has teeth: each of these breaks a rule, and is seen within tens of stories.

    Which stories are told changes with the code they are told of, so the bound is many times that.
    """
    planted = dict([PLANTED[defect]])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine(sqlite_template, planted), settings=effort(3000, shrinks=False))
