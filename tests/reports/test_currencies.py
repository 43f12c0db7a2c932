"""Which rate a row is shown at, and what happens where there is none."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from gateway.domain.errors import BadRequest
from gateway.store.fx import add_rates, stated_rate
from tests.reports.asking import ask_json
from tests.reports.book import Entry, Meter, instant, posted_book


def entry(name: str, at: str, cost: int) -> Entry:
    return Entry(
        id=name, at_us=instant(at), account="acct_root", key="key_a", provider="openai", model="gpt-4.1",
        end_user=None, tags={}, meters={"input": Meter(1, cost, cost)},
    )  # fmt: skip


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    posted_book(
        migrated_engine,
        [entry("att_1", "2026-11-01T23:30:00Z", 1_000_000_001), entry("att_2", "2026-11-03T10:00:00Z", 3)],
    )
    rates = [
        stated_rate("EUR", day, rate, "test") for day, rate in (("2026-11-01", "0.5"), ("2026-11-02", "2"))
    ]
    with migrated_engine.begin() as conn:
        add_rates(conn, rates, 0)
    return migrated_engine


def test_a_row_has_the_rate_of_its_own_day(engine: Engine) -> None:
    asked = {"start": "2026-11-01", "end": "2026-11-05", "bucket": "day", "currency": "EUR"}
    found = ask_json(engine, "spend", asked)
    shown = [(row["cost"], row["fx_rate"], row["fx_date"]) for row in found["rows"]]
    assert shown == [("0.500000001", "0.5", "2026-11-01"), ("0.000000006", "2", "2026-11-02")]
    assert found["total"] == {
        "calls": 2,
        "cost": "0.500000007",
        "list_cost": "0.500000007",
        "currency": "EUR",
    }


def test_days_are_those_of_the_zone(engine: Engine) -> None:
    """The first call was made on the second, in Berlin."""
    asked = {"start": "2026-11-01", "end": "2026-11-05", "timezone": "Europe/Berlin", "currency": "EUR"}
    rows = ask_json(engine, "calls", asked)["rows"]
    assert [(row["cost"], row["fx_date"]) for row in rows] == [
        ("0.000000006", "2026-11-02"),
        ("2.000000002", "2026-11-02"),
    ]


def test_a_day_before_the_first_rate_is_a_problem(engine: Engine) -> None:
    with engine.begin() as conn:
        add_rates(conn, [stated_rate("SEK", "2026-11-09", "10", "test")], 0)
    with pytest.raises(BadRequest, match="on 2026-11-03 or before") as refused:
        ask_json(engine, "spend", {"start": "2026-11-01", "end": "2026-11-04", "currency": "SEK"})
    assert refused.value.param == "currency"


def test_a_currency_without_rates_is_a_problem(engine: Engine) -> None:
    with pytest.raises(BadRequest, match="no exchange rate for 'CHF'"):
        ask_json(engine, "spend", {"currency": "CHF"})


def test_a_report_in_dollars_has_no_rate(engine: Engine) -> None:
    assert "fx_rate" not in ask_json(engine, "spend", {})["columns"]
