"""What was used and never priced is told, with the calls that met it."""

from __future__ import annotations

from sqlalchemy import Engine

from gateway.domain.costing import UNPRICED
from gateway.domain.prices import UNPRICED_TIER
from tests.reports.asking import ask_json, virtual_key
from tests.reports.book import Entry, Meter, instant, posted_book

AT_US = instant("2026-11-03T12:00:00Z")
MINUTE_US = 60_000_000
NOVEMBER = {"start": "2026-11-01", "end": "2026-12-01"}


def entry(number: int, *flags: str, key: str = "key_b", outcome: str = "done", **meters: int) -> Entry:
    return Entry(
        id=f"att_{number}",
        at_us=AT_US + number * MINUTE_US,
        account="acct_search",
        key=key,
        provider="openai",
        model="gpt-new" if "unpriced" in flags else "gpt-4.1",
        end_user=None,
        tags={},
        outcome=outcome,
        meters={name: Meter(quantity, 0, 0) for name, quantity in meters.items()},
        request_fee=5 if "unpriced" in flags else 0,
        flags=flags,
    )


def test_models_meters_and_tiers_without_a_price(migrated_engine: Engine) -> None:
    posted_book(
        migrated_engine,
        [
            entry(1, "unpriced", f"{UNPRICED}input", input=10, output=4),
            entry(2, "unpriced", input=1),
            entry(3, f"{UNPRICED}web_search", "estimated", input=7, web_search=2),
            entry(4, f"{UNPRICED}web_search", f"{UNPRICED}reasoning", web_search=1, reasoning=9),
            entry(5, UNPRICED_TIER, input=3),
            entry(6, "unpriced", outcome="void"),
            entry(7, "overrun", input=100),
        ],
    )
    answer = ask_json(migrated_engine, "unpriced", NOVEMBER)
    shown = [
        [row[name] for name in ("provider", "model", "missing", "calls", "quantity", "charged")]
        for row in answer["rows"]
    ]
    assert shown == [
        ["openai", "gpt-4.1", "reasoning", 1, 9, "0"],
        ["openai", "gpt-4.1", "service_tier", 1, 3, "0"],
        ["openai", "gpt-4.1", "web_search", 2, 3, "0"],
        ["openai", "gpt-new", "model", 2, 15, "0.000000015"],
    ]
    assert answer["rows"][3]["first_at"] == "2026-11-03T12:01:00Z"
    assert answer["rows"][3]["last_at"] == "2026-11-03T12:06:00Z"
    assert answer["total"] == {"calls": 6, "quantity": 30, "charged": "0.000000015", "currency": "USD"}


def test_a_key_is_told_of_its_own(migrated_engine: Engine) -> None:
    posted_book(migrated_engine, [entry(1, "unpriced", input=1), entry(2, "unpriced", key="key_c", input=1)])
    own = virtual_key("key_c", "acct_rank")
    assert ask_json(migrated_engine, "unpriced", NOVEMBER, principal=own)["total"]["calls"] == 1


def test_everything_priced_is_no_row(migrated_engine: Engine) -> None:
    posted_book(migrated_engine, [entry(1, "estimated", input=1)])
    assert ask_json(migrated_engine, "unpriced", NOVEMBER)["rows"] == []
