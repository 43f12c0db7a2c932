"""Fourteen months of forty accounts: prices that change in the middle of months, rates of three currencies.

The figures are made by plain arithmetic and posted by the code that posts journals, so that what reports say
can be compared with sums that share nothing with them.
"""

from __future__ import annotations

import os
import random
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection, insert

from gateway.store.journals import register
from gateway.store.tables import accounts, fx, virtual_keys
from tests.reports.book import Entry, Meter, book, instant, key_row

CALLS: Final = int(os.environ.get("TOLLGATE_TEST_CALLS", "50000"))
"""A million with TOLLGATE_TEST_CALLS=1000000."""
FIRST: Final = "2025-09-01T00:00:00Z"
LAST: Final = "2026-11-01T00:00:00Z"
CENTERS: Final = (None, "4711", "4712", "=4713")
# Account n is below account n // 3; every sixth names a cost centre of its own.
PARENTS: Final = {number: None if number == 0 else (number - 1) // 3 for number in range(40)}
MODELS: Final = (("openai", "gpt-4.1"), ("openai", "o3"), ("anthropic", "claude-opus-5"))
# Pico-USD by meter; from the day of the change on the second one.
PRICES: Final = {
    "input": (2_000_000, 1_750_000),
    "output": (8_000_001, 9_000_000),
    "cache_read": (500_000, 0),
}
CHANGE_US: Final = instant("2026-03-17T13:00:00Z")
RATES: Final = {"EUR": 921_400_000, "JPY": 151_234_567_891}


def account_of(number: int) -> str:
    """The id of an account."""
    return f"acct_{number:02d}"


def path_of(number: int) -> str:
    """Its path."""
    parent = PARENTS[number]
    return f"a{number}" if parent is None else f"{path_of(parent)}/a{number}"


def center_of(number: int) -> str:
    """The cost centre it is charged to."""
    own = CENTERS[number // 6 % len(CENTERS)] if number % 6 == 0 else None
    parent = PARENTS[number]
    return own or ("" if parent is None else center_of(parent))


def rate_on(currency: str, day: date) -> tuple[int, str]:
    """The rate in force on a day: every first of a month has one, a little higher than the one before."""
    first = day.replace(day=1)
    months = (first.year - 2025) * 12 + first.month
    return RATES[currency] + 1_234_567 * months, first.isoformat()


def calls(count: int) -> list[Entry]:
    """Calls at any instant of the fourteen months, a few with corrections."""
    dice = random.Random(14)
    first_us, last_us = instant(FIRST), instant(LAST)
    found = []
    for number in range(count):
        at_us = dice.randrange(first_us, last_us)
        found.append(_call(dice, number, at_us))
        if number % 50 == 0:
            found.append(_correction(found[-1]))
    return found


def _call(dice: random.Random, number: int, at_us: int) -> Entry:
    owner = dice.randrange(40)
    provider, model = dice.choice(MODELS)
    meters = {}
    for meter, prices in PRICES.items():
        quantity = dice.randrange(1, 20_000)
        pico = prices[at_us >= CHANGE_US]
        listed = (quantity * pico + 500) // 1000
        # Every third account has a tenth off.
        cost = (quantity * (pico * 9 // 10) + 500) // 1000 if owner % 3 == 0 else listed
        meters[meter] = Meter(quantity, cost, listed)
    return Entry(
        id=f"att_{number:07d}", at_us=at_us, account=account_of(owner), key=f"key_{owner:02d}",
        provider=provider, model=model, end_user=dice.choice((None, "ann", "bob")),
        tags=dice.choice(({}, {"env": "prod"}, {"env": "dev"})), meters=meters,
    )  # fmt: skip


def _correction(entry: Entry) -> Entry:
    first = entry.meters["output"]
    less = {"output": Meter(-1, -(first.cost // 10), -(first.list_cost // 10))}
    changed = {"id": entry.id.replace("att", "corr"), "corrects": entry.id, "meters": less}
    return Entry(**{**entry.__dict__, **changed})


def lay_out(conn: Connection) -> None:
    """Accounts, keys, the journal and the rates."""
    conn.execute(insert(accounts), [_account_row(number) for number in PARENTS])
    conn.execute(insert(virtual_keys), [key_row(f"key_{n:02d}", account_of(n)) for n in PARENTS])
    register(conn, "jrnl_test", "data", "host", 0)
    days = [date(2025, 9, 1) + timedelta(days=day) for day in range(0, 440)]
    rows = [
        {"currency": currency, "day": day.isoformat(), "rate_nano": rate_on(currency, day)[0],
         "source": "test", "created_at": 0}
        for currency in RATES
        for day in days
        if day.day == 1
    ]  # fmt: skip
    conn.execute(insert(fx), rows)


def _account_row(number: int) -> dict[str, object]:
    parent = PARENTS[number]
    return {
        "id": account_of(number),
        "parent": None if parent is None else account_of(parent),
        "name": f"a{number}",
        "path": path_of(number),
        "kind": "team",
        "cost_center": CENTERS[number // 6 % len(CENTERS)] if number % 6 == 0 else None,
        "timezone": "UTC",
        "metadata": {},
        "status": "active",
        "created_at": 0,
        "deleted_at": None,
        "revision": 1,
    }


def post_all(conn: Connection, entries: list[Entry]) -> None:
    """Lay out and post."""
    lay_out(conn)
    book(conn, entries)
