"""Budgets as they stand: the running window, in the budget's own unit, of those the reader may see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from gateway.reports.visibility import Principal
from tests.reports.asking import ADMIN, ask_csv, ask_json, virtual_key
from tests.reports.book import instant, lay_out
from tests.reports.standing import add_budget, add_journal, add_lease, add_window

NOW_US = instant("2026-11-08T10:07:33Z")
OCTOBER_US = instant("2026-10-01T00:00:00Z")
NOVEMBER_US = instant("2026-11-01T00:00:00Z")
DECEMBER_US = instant("2026-12-01T00:00:00Z")
USD = 10**9


@pytest.fixture
def conn(migrated_engine: Engine) -> Iterator[Connection]:
    """A database with accounts and keys, in a transaction that the report does not see until it commits."""
    with migrated_engine.connect() as conn:
        lay_out(conn)
        yield conn


def rows(engine: Engine, principal: Principal = ADMIN, **parameters: str) -> list[dict[str, Any]]:
    answer = ask_json(engine, "budgets", parameters, principal=principal, now_us=NOW_US)
    assert answer["total"] == {}
    found: list[dict[str, Any]] = answer["rows"]
    return found


def test_the_running_window_is_shown(migrated_engine: Engine, conn: Connection) -> None:
    add_budget(conn, "bud_1", name="all", account="acct_search", models=["gpt-*"], tags={"env": "prod"})
    add_window(conn, 1, "bud_1", OCTOBER_US, NOVEMBER_US, spent=77 * USD)
    add_window(
        conn,
        2,
        "bud_1",
        NOVEMBER_US,
        DECEMBER_US,
        cap=120 * USD,
        spent=30 * USD + 1,
        leased=5 * USD,
        overrun=2 * USD,
    )
    add_window(conn, 3, "bud_1", DECEMBER_US, instant("2027-01-01T00:00:00Z"))
    add_journal(conn, "jrnl_a", NOW_US)
    add_journal(conn, "jrnl_b", NOW_US - 1)
    add_lease(conn, "jrnl_a", 2, 3 * USD, 2 * USD)
    add_lease(conn, "jrnl_b", 2, 2 * USD, USD // 2)
    conn.commit()
    assert rows(migrated_engine) == [
        {
            "budget": "bud_1",
            "name": "all",
            "account": "acme/search",
            "key": None,
            "provider": None,
            "models": ["gpt-*"],
            "end_user": None,
            "tags": {"env": "prod"},
            "each": None,
            "subject": "",
            "enforcement": "hard",
            "period": "month",
            "timezone": "UTC",
            "window_start": "2026-11-01T00:00:00Z",
            "resets_at": "2026-12-01T00:00:00Z",
            "unit": "usd",
            "cap": "120",
            "spent": "30.000000001",
            "held": "2.5",
            "remaining": "87.499999999",
            "percentage": "25.00",
            "overrun": "2",
            "stranded": "0",
        }
    ]


def test_what_a_silent_worker_has_is_stranded_not_held(migrated_engine: Engine, conn: Connection) -> None:
    add_budget(conn, "bud_1", unit="tokens", cap=1000)
    add_window(conn, 1, "bud_1", NOVEMBER_US, DECEMBER_US, cap=1000, spent=999, leased=70)
    add_journal(conn, "jrnl_gone", NOW_US - 3_600_000_000)
    add_journal(conn, "jrnl_here", NOW_US - 1_000_000)
    add_lease(conn, "jrnl_gone", 1, 50, 49)
    add_lease(conn, "jrnl_here", 1, 20, 3)
    conn.commit()
    (row,) = rows(migrated_engine)
    assert (row["held"], row["stranded"]) == ("3", "50")
    assert (row["remaining"], row["percentage"]) == ("-2", "99.90")


def test_an_unused_budget_is_shown_with_its_next_reset(migrated_engine: Engine, conn: Connection) -> None:
    add_budget(conn, "bud_1", timezone="Europe/Berlin", period="week", cap=5 * USD)
    add_budget(conn, "bud_2", period="lifetime", cap=0)
    conn.commit()
    week, lifetime = rows(migrated_engine)
    assert (week["window_start"], week["resets_at"]) == ("2026-11-01T23:00:00Z", "2026-11-08T23:00:00Z")
    assert (week["cap"], week["spent"], week["remaining"], week["percentage"]) == ("5", "0", "5", "0.00")
    assert (lifetime["resets_at"], lifetime["percentage"]) == (None, None)


def test_each_subject_has_a_row(migrated_engine: Engine, conn: Connection) -> None:
    add_budget(conn, "bud_1", each="end_user", unit="requests", cap=10)
    for window, subject in enumerate(("bob", "ann", "=x"), 1):
        window_of = {"subject": subject, "cap": 10, "spent": window}
        add_window(conn, window, "bud_1", NOVEMBER_US, DECEMBER_US, **window_of)
    conn.commit()
    assert {row["subject"]: row["spent"] for row in rows(migrated_engine)} == {
        "bob": "1",
        "ann": "2",
        "=x": "3",
    }
    shown = {row["subject"]: row["remaining"] for row in ask_csv(migrated_engine, "budgets", {})}
    assert shown == {"bob": "9", "ann": "8", "'=x": "7"}


def test_a_window_of_an_old_period_is_passed_over(migrated_engine: Engine, conn: Connection) -> None:
    """The budget was monthly and is weekly now: both windows hold this instant, one is the budget's."""
    add_budget(conn, "bud_1", period="week")
    add_window(conn, 1, "bud_1", NOVEMBER_US, DECEMBER_US, spent=USD)
    monday_us = instant("2026-11-02T00:00:00Z")
    add_window(conn, 2, "bud_1", monday_us, instant("2026-11-09T00:00:00Z"), spent=3 * USD)
    conn.commit()
    (row,) = rows(migrated_engine)
    assert row["spent"] == "3"


def test_deleted_budgets_are_history(migrated_engine: Engine, conn: Connection) -> None:
    add_budget(conn, "bud_1", deleted_at=NOW_US)
    conn.commit()
    assert rows(migrated_engine) == []


OWN = virtual_key("key_b", "acct_search")
WHOLE = virtual_key("key_b", "acct_search", sees_account=True)


@pytest.mark.parametrize(
    ("principal", "parameters", "expected"),
    [
        (ADMIN, {}, "below everybody key root search"),
        (ADMIN, {"account": "acme/search"}, "below key search"),
        (ADMIN, {"account": "other"}, ""),
        (OWN, {}, "key"),
        (WHOLE, {}, "below key search"),
        (WHOLE, {"account": "acct_rank"}, "below"),
    ],
)
def test_a_reader_sees_its_own_budgets(
    migrated_engine: Engine, conn: Connection, principal: Principal, parameters: dict[str, str], expected: str
) -> None:
    add_budget(conn, "everybody")
    add_budget(conn, "root", account="acct_root")
    add_budget(conn, "search", account="acct_search")
    add_budget(conn, "below", account="acct_rank")
    add_budget(conn, "key", key="key_b")
    conn.commit()
    assert " ".join(row["name"] for row in rows(migrated_engine, principal, **parameters)) == expected


@pytest.mark.parametrize(
    ("spent", "cap", "expected"),
    [
        (0, 3, "0.00"),
        (1, 3, "33.33"),
        (99_999, 100_000, "99.99"),
        (3, 3, "100.00"),
        (7, 2, "350.00"),
        (-1, 3, "-33.33"),
    ],
)
def test_a_percentage_is_rounded_down(
    migrated_engine: Engine, conn: Connection, spent: int, cap: int, expected: str
) -> None:
    add_budget(conn, "bud_1", unit="tokens", cap=cap)
    add_window(conn, 1, "bud_1", NOVEMBER_US, DECEMBER_US, cap=cap, spent=spent)
    conn.commit()
    (row,) = rows(migrated_engine)
    assert row["percentage"] == expected
