"""When a worker counts as silent, and what becomes of its leases in a sum."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, select

from gateway.reports.holds import SILENT_AFTER_US, is_silent, leases_by_window
from gateway.store.tables import journals
from tests.reports.book import instant, lay_out
from tests.reports.standing import add_budget, add_journal, add_lease, add_window

NOW_US = instant("2026-11-08T10:00:00Z")


@pytest.mark.parametrize(
    ("ago_us", "expected"), [(0, False), (SILENT_AFTER_US, False), (SILENT_AFTER_US + 1, True)]
)
def test_a_worker_is_silent_after_a_while(migrated_engine: Engine, ago_us: int, expected: bool) -> None:
    with migrated_engine.begin() as conn:
        add_journal(conn, "jrnl_a", NOW_US - ago_us)
        assert bool(conn.execute(select(is_silent(NOW_US)).select_from(journals)).scalar()) is expected


def test_leases_of_a_window_are_held_or_stranded(migrated_engine: Engine) -> None:
    with migrated_engine.begin() as conn:
        lay_out(conn)
        add_budget(conn, "bud_1")
        add_window(conn, 1, "bud_1", 0, None)
        add_window(conn, 2, "bud_1", 1, None)
        for journal, seen_us in (("jrnl_a", NOW_US), ("jrnl_b", NOW_US), ("jrnl_c", 0)):
            add_journal(conn, journal, seen_us)
            add_lease(conn, journal, 1, 100, 7)
        add_lease(conn, "jrnl_a", 2, 5, 4)
        leased = leases_by_window(NOW_US)
        rows = conn.execute(select(leased).order_by(leased.c.win)).all()
    assert [tuple(row) for row in rows] == [(1, 14, 100), (2, 4, 0)]
