"""Closed months: frozen in SQL on both databases, and what comes later counts in the next open one."""

from __future__ import annotations

from threading import Thread
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from gateway.domain.errors import Conflict
from gateway.domain.months import month_named
from gateway.ledger.entries import Postable, digest
from gateway.store.periods import CLOSE_AFTER_US, close, closed_months, complete_until, verify
from gateway.store.posting import post
from tests.databases import backend, migrated_database, migrated_engine, postgres, sqlite_template
from tests.reports.asking import ask_json
from tests.reports.book import Entry, Meter, frame_of, instant, lay_out

__all__ = ["backend", "migrated_database", "migrated_engine", "postgres", "sqlite_template"]

OCTOBER = month_named("2026-10")
NOW_US = OCTOBER.end_us + CLOSE_AFTER_US


def entry(name: str, at: str, cost: int = 1_000, **more: Any) -> Entry:
    return Entry(
        id=name, at_us=instant(at), account="acct_search", key="key_b", provider="openai", model="gpt-4.1",
        end_user="ann", tags={"env": "prod"}, meters={"input": Meter(5, cost, cost)}, **more,
    )  # fmt: skip


def book(engine: Engine, *entries: Entry, now_us: int = NOW_US) -> None:
    """Post as a worker does, at that time."""
    postables = [Postable(seq, frame_of(seq, each)) for seq, each in enumerate(entries, start=1)]
    with engine.begin() as conn:
        post(conn, "jrnl_test", digest("jrnl_test", postables, {}), {}, now_us)


def close_october(engine: Engine, now_us: int = NOW_US, *without: str) -> None:
    with engine.begin() as conn:
        close(conn, OCTOBER, "akey_1", now_us, without)


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    """Two calls in October and one in November; everything is posted."""
    with migrated_engine.begin() as conn:
        lay_out(conn)
        complete_until(conn, "jrnl_test", NOW_US)
    book(
        migrated_engine,
        entry("att_1", "2026-10-01T00:00:00Z"),
        entry("att_2", "2026-10-31T23:59:59Z", 500),
        entry("att_3", "2026-11-01T00:00:00Z", 7),
    )
    return migrated_engine


def month(engine: Engine, start: str, end: str, name: str = "spend") -> Any:
    return ask_json(engine, name, {"start": start, "end": end}, now_us=NOW_US)


def test_what_a_month_came_to_is_frozen(engine: Engine) -> None:
    close_october(engine)
    with engine.connect() as conn:
        [closed] = closed_months(conn)
        assert (closed.month, closed.entries, closed.charge) == ("2026-10", 2, 1_500)
        assert closed.closed_by == "akey_1"
        assert [each.is_intact for each in verify(conn)] == [True]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET charge = charge + 1 WHERE id = 'att_1'",
        "UPDATE ledger SET admitted_at = 1793500000000000 WHERE id = 'att_1'",
        f"UPDATE ledger SET admitted_at = {OCTOBER.end_us - 1} WHERE id = 'att_3'",
        "UPDATE ledger SET account = 'acct_ads' WHERE id = 'att_2'",
        "DELETE FROM ledger WHERE id = 'att_1'",
        "UPDATE rollups SET cost = 0",
        "DELETE FROM rollups",
        "UPDATE end_user_rollups SET quantity = quantity + 1",
        "DELETE FROM tag_rollups",
        f"INSERT INTO rollups VALUES ({OCTOBER.start_us}, 'a', 'k', 'p', 'm', 'input', 1, 1, 1)",
        "UPDATE periods SET charge = 0",
        "DELETE FROM periods",
    ],
)
def test_sql_itself_refuses_to_touch_a_closed_month(engine: Engine, statement: str) -> None:
    close_october(engine)
    with pytest.raises(DBAPIError, match="closed"), engine.begin() as conn:
        conn.execute(text(statement))


def test_the_open_month_and_erasure_stay_free(engine: Engine) -> None:
    close_october(engine)
    with engine.begin() as conn:
        conn.execute(text("UPDATE ledger SET end_user = NULL, raw_usage = NULL WHERE id = 'att_1'"))
        conn.execute(text("UPDATE end_user_rollups SET end_user = 'erased' WHERE end_user = 'ann'"))
    book(engine, entry("att_9", "2026-11-02T00:00:00Z"))
    with engine.connect() as conn:
        assert [each.is_intact for each in verify(conn)] == [True]


def test_it_is_closed_once_and_in_order(engine: Engine) -> None:
    close_october(engine)
    with pytest.raises(Conflict, match="closed already"):
        close_october(engine)
    with pytest.raises(Conflict, match="later"), engine.begin() as conn:
        close(conn, month_named("2026-09"), "akey_1", NOW_US, ())


def test_an_earlier_month_with_entries_goes_first(engine: Engine) -> None:
    book(engine, entry("att_8", "2026-08-02T00:00:00Z"))
    with pytest.raises(Conflict, match="2026-08 has entries"):
        close_october(engine)


def test_a_month_that_is_not_over_stays_open(engine: Engine) -> None:
    with pytest.raises(Conflict, match="from 2026-11-01T01:00:00Z on"):
        close_october(engine, NOW_US - 1)


def test_a_worker_with_calls_of_the_month_keeps_it_open(engine: Engine) -> None:
    with engine.begin() as conn:
        complete_until(conn, "jrnl_test", OCTOBER.end_us - 1)
    with pytest.raises(Conflict, match="jrnl_test on host is complete only up to 2026-10-31T23:59:59"):
        close_october(engine)
    close_october(engine, NOW_US, "jrnl_test")


def test_late_calls_and_corrections_count_in_the_next_open_month(engine: Engine) -> None:
    october = month(engine, "2026-10-01", "2026-11-01")["total"]
    close_october(engine)
    late = entry("att_late", "2026-10-15T10:00:00Z", 40)
    correction = Entry(**{**entry("corr_1", "2026-10-01T00:00:00Z", -100).__dict__, "corrects": "att_1"})
    book(engine, late, correction, entry("att_4", "2026-11-01T00:20:00Z", 3))
    assert month(engine, "2026-10-01", "2026-11-01")["total"] == october
    november = month(engine, "2026-11-01", "2026-11-02")["total"]
    assert (november["calls"], november["cost"]) == (3, "-0.00000005")
    calls = {row["id"]: row for row in month(engine, "2026-11-01", "2026-11-02", "calls")["rows"]}
    assert calls["att_late"]["admitted_at"] == "2026-11-01T00:00:00Z"
    assert calls["att_late"]["late_for"] == "2026-10-15T10:00:00Z"
    assert calls["corr_1"]["late_for"] == "2026-10-01T00:00:00Z"
    assert calls["att_4"]["late_for"] is None
    with engine.connect() as conn:
        assert [each.is_intact for each in verify(conn)] == [True]
        sums = conn.execute(text("SELECT SUM(cost) FROM rollups")).scalar()
        assert sums == conn.execute(text("SELECT SUM(charge) FROM ledger")).scalar()


def test_the_next_open_month_may_be_the_one_after(engine: Engine) -> None:
    close_october(engine)
    november = month_named("2026-11")
    with engine.begin() as conn:
        complete_until(conn, "jrnl_test", november.end_us)
        close(conn, november, "akey_1", november.end_us + CLOSE_AFTER_US, ())
    book(engine, entry("att_late", "2026-10-15T10:00:00Z", 40), now_us=november.end_us + CLOSE_AFTER_US)
    with engine.connect() as conn:
        row = conn.execute(text("SELECT admitted_at, late_for FROM ledger WHERE id = 'att_late'")).one()
        assert tuple(row) == (november.end_us, instant("2026-10-15T10:00:00Z"))
        assert [each.is_intact for each in verify(conn)] == [True, True]


def test_verify_finds_what_somebody_changed_with_the_triggers_off(engine: Engine) -> None:
    close_october(engine)
    name = "rollups_closed_update"
    with engine.begin() as conn:
        on = "" if conn.dialect.name == "sqlite" else " ON rollups"
        conn.execute(text(f"DROP TRIGGER {name}{on}"))
        conn.execute(text("UPDATE rollups SET quantity = quantity + 1"))
        [verdict] = verify(conn)
        assert (verdict.is_intact, verdict.problem) == (False, "the sums are not those it was closed with")


@pytest.mark.slow
def test_closing_waits_for_a_post_that_has_looked_already(request: pytest.FixtureRequest) -> None:
    """PostgreSQL: the post saw October open, so its entries must be in the totals that close it."""
    server = request.getfixturevalue("postgres")
    url = server.take()
    engine = create_engine(url)
    with engine.begin() as conn:
        lay_out(conn)
        complete_until(conn, "jrnl_test", NOW_US)
    for round_ in range(3):
        _race(engine, round_)
    engine.dispose()
    server.give_back(url)


def _race(engine: Engine, round_: int) -> None:
    postable = [Postable(1, frame_of(1, entry(f"att_{round_}", "2026-10-15T10:00:00Z")))]
    month_ = month_named(f"2026-{10 + round_:02d}")
    at_us = month_.end_us + CLOSE_AFTER_US

    def closing() -> None:
        with engine.begin() as other:
            complete_until(other, "jrnl_test", at_us)
            close(other, month_, "akey_1", at_us, ())

    with engine.begin() as conn:
        post(conn, "jrnl_test", digest("jrnl_test", postable, {}), {}, at_us)
        thread = Thread(target=closing)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join()
    with engine.connect() as conn:
        assert all(each.is_intact for each in verify(conn))


def test_a_closed_month_is_told_of_once(engine: Engine) -> None:
    close_october(engine)
    with pytest.raises(Conflict):
        close_october(engine)
    with engine.connect() as conn:
        [(subject, data)] = conn.execute(
            text("SELECT subject, data FROM events WHERE event = 'period.closed'")
        )
        [closed] = closed_months(conn)
    assert subject == "2026-10"
    assert msgspec.json.decode(data) == {
        "closed_at": NOW_US,
        "digest": closed.hash.hex(),
        "period": "2026-10",
    }
