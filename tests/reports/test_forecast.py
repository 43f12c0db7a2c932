"""The forecast of a book whose days are alike, whose end anybody can work out."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, insert

from gateway.store.tables import budgets
from tests.reports.asking import ask_json, virtual_key
from tests.reports.book import DAY_US, Entry, Meter, instant, posted_book

NOON_US = instant("2026-11-08T12:00:00Z")


def day(number: int, account: str, key: str, cost: int) -> Entry:
    return Entry(
        id=f"att_{account}_{number}", at_us=NOON_US - number * DAY_US - 7_200_000_000,
        account=account, key=key, provider="openai", model="gpt-4.1", end_user=None, tags={},
        meters={"input": Meter(1, cost, cost)},
    )  # fmt: skip


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    """A dollar a day below the root for forty days, today's spent already; 20 cents a day in ads for one."""
    entries = [day(number, "acct_rank", "key_c", 10**9) for number in range(40)]
    entries.append(day(1, "acct_ads", "key_d", 200_000_000))
    posted_book(migrated_engine, entries)
    rows = [
        budget("whole", "month", 20),
        budget("day", "day", 2),
        budget("part", "month", 5, models=["gpt-4.1*"]),
    ]
    with migrated_engine.begin() as conn:
        conn.execute(insert(budgets), rows)
    return migrated_engine


def budget(name: str, period: str, cap: int, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": f"bud_{name}", "name": name, "account": "acct_search", "key": None, "models": [],
        "provider": None, "end_user": None, "tags": {}, "each": None, "unit": "usd", "cap": cap * 10**9,
        "period": period, "timezone": "UTC", "anchor_day": 1, "anchor_month": 1, "enforcement": "hard",
        "alert_at": [], "fallback": None, "count_from": "window", "funded": False, "created_at": 0,
        "deleted_at": None, "revision": 1,
    }  # fmt: skip
    return {**row, **more}


def test_a_month_of_equal_days(engine: Engine) -> None:
    rows = ask_json(engine, "forecast", {}, now_us=NOON_US)["rows"]
    shown = {(row["account"], row["budget"]): row for row in rows}
    month = shown["acme/search/ranking", None]
    # Eight days are spent; half of today and 22 days are ahead.
    assert (month["spent"], month["forecast"], month["low"], month["high"]) == ("8", "30.5", "30.5", "30.5")
    assert (month["window_end"], month["history_days"]) == ("2026-12-01T00:00:00Z", 28)
    assert shown["acme/search", None]["forecast"] == "30.5"
    assert ("acme/search", "part") not in shown


def test_the_instant_a_cap_is_reached(engine: Engine) -> None:
    """The budget's own window knows of nothing yet: half a dollar today, and a dollar a day from then on."""
    rows = ask_json(engine, "forecast", {"account": "acme/search"}, now_us=NOON_US)["rows"]
    shown = {(row["account"], row["budget"]): row for row in rows}
    assert shown["acme/search", "whole"]["cap_reached_at"] == "2026-11-28T12:00:00Z"
    assert shown["acme/search", "day"]["cap_reached_at"] is None
    assert {row["account"] for row in rows} == {"acme/search", "acme/search/ranking"}


def test_one_day_is_no_past(engine: Engine) -> None:
    [ads] = ask_json(engine, "forecast", {"account": "acct_ads"}, now_us=NOON_US)["rows"]
    assert (ads["spent"], ads["forecast"], ads["low"], ads["history_days"]) == ("0.2", None, None, 0)


def test_a_key_sees_its_own_alone(engine: Engine) -> None:
    key = virtual_key("key_d", "acct_ads")
    rows = ask_json(engine, "forecast", {}, principal=key, now_us=NOON_US)["rows"]
    assert [(row["account"], row["budget"], row["spent"]) for row in rows] == [("acme/äds", None, "0.2")]
