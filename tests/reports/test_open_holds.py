"""Leases by worker and window, and the words for those that nobody answers for."""

from __future__ import annotations

from sqlalchemy import Engine

from gateway.reports.holds import SILENT_AFTER_US
from tests.reports.asking import ask_json
from tests.reports.book import instant, lay_out
from tests.reports.standing import add_budget, add_journal, add_lease, add_window

NOW_US = instant("2026-11-08T10:00:00Z")
SILENT_US = NOW_US - SILENT_AFTER_US - 1
START_US, END_US = instant("2026-11-01T00:00:00Z"), instant("2026-12-01T00:00:00Z")
USD = 10**9


def lay_leases_out(engine: Engine) -> None:
    with engine.begin() as conn:
        lay_out(conn)
        add_budget(conn, "bud_1", name="search", account="acct_search")
        add_budget(conn, "bud_2", name="ads", key="key_d", unit="tokens")
        add_window(conn, 1, "bud_1", START_US, END_US)
        add_window(conn, 2, "bud_2", START_US, NOW_US, subject="ann")
        add_window(conn, 3, "bud_1", END_US, None)
        add_journal(conn, "jrnl_here", NOW_US - SILENT_AFTER_US)
        add_journal(conn, "jrnl_gone", SILENT_US)
        add_lease(conn, "jrnl_here", 1, 3 * USD, USD // 4)
        add_lease(conn, "jrnl_gone", 1, 2 * USD, USD)
        add_lease(conn, "jrnl_gone", 2, 500, 400)
        add_lease(conn, "jrnl_here", 3, 0, 0)


def test_every_lease_is_a_row(migrated_engine: Engine) -> None:
    lay_leases_out(migrated_engine)
    answer = ask_json(migrated_engine, "open_holds", {}, now_us=NOW_US)
    assert answer["total"] == {}
    shown = [
        [
            row[name]
            for name in ("name", "account", "subject", "journal", "state", "leased", "held", "stranded")
        ]
        for row in answer["rows"]
    ]
    assert shown == [
        ["ads", "acme/äds", "ann", "jrnl_gone", "closed", "500", "0", "500"],
        ["search", "acme/search", "", "jrnl_gone", "stranded", "2", "0", "2"],
        ["search", "acme/search", "", "jrnl_here", "live", "3", "0.25", "0"],
    ]
    row = answer["rows"][2]
    assert (row["window_start"], row["window_end"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (row["seen_at"], row["host"]) == ("2026-11-08T09:45:00Z", "host of jrnl_here")


def test_one_accounts_leases(migrated_engine: Engine) -> None:
    lay_leases_out(migrated_engine)
    answer = ask_json(migrated_engine, "open_holds", {"account": "acme/äds"}, now_us=NOW_US)
    assert [row["name"] for row in answer["rows"]] == ["ads"]


def test_nothing_in_flight_is_no_row(migrated_engine: Engine) -> None:
    assert ask_json(migrated_engine, "open_holds", {}, now_us=NOW_US)["rows"] == []
