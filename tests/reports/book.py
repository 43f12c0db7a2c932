"""A generated ledger: calls made up, posted as a worker posts them, and the same calls as plain values.

What reports say is compared with sums of the plain values, taken here in the plainest way there is.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, insert

from gateway.ledger.entries import Postable, digest
from gateway.ledger.records import CLOSE, CORRECT, CallFacts, Close, Closing, Correct, Line, encode
from gateway.store.journals import register
from gateway.store.posting import post
from gateway.store.tables import accounts, virtual_keys

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

# id, parent, path, deleted. The search team was deleted, and made again under the same path.
ACCOUNTS = (
    ("acct_root", None, "acme", False),
    ("acct_old", "acct_root", "acme/search", True),
    ("acct_search", "acct_root", "acme/search", False),
    ("acct_rank", "acct_search", "acme/search/ranking", False),
    ("acct_ads", "acct_root", "acme/äds", False),
    ("acct_other", None, "other", False),
)
PATHS = {account: path for account, _, path, _ in ACCOUNTS}
PARENTS = {account: parent for account, parent, _, _ in ACCOUNTS}
KEYS = {
    "key_a": "acct_root",
    "key_b": "acct_search",
    "key_c": "acct_rank",
    "key_d": "acct_ads",
    "key_e": "acct_other",
    "key_old": "acct_old",
}
MODELS = (("openai", "gpt-4.1"), ("openai", "gpt-4.1-mini"), ("anthropic", "claude-sonnet-4.5"))
END_USERS = (None, None, "ann", "bob", "émile", "=cmd|' /C calc'!A0", "Zoë")
TAGS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"env": "prod"},
    {"env": "dev", "team": "a"},
    {"team": "b,c"},
    {"env": "ünïcode", "team": "a", "feature": "x=y"},
)
METERS = ("input", "output", "cache_read", "reasoning", "web_search")


@dataclass(frozen=True)
class Meter:
    """What a call consumed in one meter, and what that cost."""

    quantity: int
    cost: int
    list_cost: int


@dataclass(frozen=True)
class Entry:
    """One row of the ledger as plain values."""

    id: str
    at_us: int
    account: str
    key: str
    provider: str
    model: str
    end_user: str | None
    tags: Mapping[str, str]
    outcome: str = "done"
    meters: Mapping[str, Meter] = field(default_factory=dict)
    request_fee: int = 0
    corrects: str | None = None
    flags: tuple[str, ...] = ()
    usage_source: str = "provider"
    hold: int = 0

    @property
    def calls(self) -> int:
        return int(self.corrects is None and self.outcome != "void")

    @property
    def cost(self) -> int:
        return sum(meter.cost for meter in self.meters.values()) + self.request_fee

    @property
    def list_cost(self) -> int:
        return sum(meter.list_cost for meter in self.meters.values()) + self.request_fee

    def by_meter(self) -> Mapping[str, Meter]:
        """Every meter, requests too."""
        return {**self.meters, "requests": Meter(self.calls, self.request_fee, self.request_fee)}

    def dimension(self, name: str) -> str:
        """What a report shows for one of its dimensions, the meter apart."""
        if name.startswith("tag:"):
            return self.tags.get(name.removeprefix("tag:"), "")
        if name == "account":
            return PATHS[self.account]
        return {
            "key": self.key,
            "model": self.model,
            "provider": self.provider,
            "end_user": self.end_user or "",
        }[name]


def is_below(account: str | None, root: str) -> bool:
    """Whether an account is `root` or somewhere under it."""
    while account is not None:
        if account == root:
            return True
        account = PARENTS[account]
    return False


def instant(text: str) -> int:
    """Microseconds of an ISO instant."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def generate(count: int, seed: int, start_us: int, end_us: int) -> list[Entry]:
    """Calls of every kind over a period, many at the edges of quarter hours, some with corrections."""
    dice = random.Random(seed)
    entries: list[Entry] = []
    for number in range(count):
        entry = _call(dice, f"att_{number:06d}", start_us, end_us)
        entries.append(entry)
        if dice.random() < 0.05 and entry.outcome != "void":
            entries.append(_correction(dice, entry))
    return entries


def _call(dice: random.Random, name: str, start_us: int, end_us: int) -> Entry:
    at_us = dice.randrange(start_us, end_us)
    if dice.random() < 0.2:
        at_us = min(end_us - 1, max(start_us, at_us - at_us % (900 * SECOND_US) - dice.choice((0, 1))))
    key = dice.choice(tuple(KEYS))
    provider, model = dice.choice(MODELS)
    outcome = dice.choice(("done", "done", "done", "aborted", "interrupted", "void"))
    meters = {} if outcome == "void" else {each: _meter(dice) for each in METERS if dice.random() < 0.6}
    return Entry(
        id=name,
        at_us=at_us,
        account=KEYS[key],
        key=key,
        provider=provider,
        model=model,
        end_user=dice.choice(END_USERS),
        tags=dice.choice(TAGS),
        outcome=outcome,
        meters=meters,
        request_fee=dice.choice((0, 0, 7)) if outcome != "void" else 0,
        hold=dice.randrange(10**9),
    )


def _meter(dice: random.Random) -> Meter:
    # A quantity without a cost is a meter that nobody has priced.
    cost = dice.choice((0, dice.randrange(1, 10**10)))
    return Meter(dice.randrange(1, 10**6), cost, cost + dice.randrange(0, 10**6))


def _correction(dice: random.Random, entry: Entry) -> Entry:
    meters = {name: Meter(dice.randrange(-5, 6), dice.randrange(-1000, 1000), 0) for name in entry.meters}
    return Entry(
        **{
            **entry.__dict__,
            "id": entry.id.replace("att", "corr"),
            "corrects": entry.id,
            "meters": meters,
            "request_fee": 0,
            "hold": 0,
        }
    )


def lay_out(conn: Connection) -> None:
    """The accounts, keys and the one journal that the entries are of."""
    conn.execute(
        insert(accounts),
        [
            {
                "id": account,
                "parent": parent,
                "name": path.rsplit("/", 1)[-1],
                "path": path,
                "kind": "team",
                "cost_center": None,
                "timezone": "UTC",
                "metadata": {},
                "status": "active",
                "created_at": 0,
                "deleted_at": 1 if is_deleted else None,
                "revision": 1,
            }
            for account, parent, path, is_deleted in ACCOUNTS
        ],
    )
    conn.execute(insert(virtual_keys), [key_row(key, account) for key, account in KEYS.items()])
    register(conn, "jrnl_test", "data", "host", 0)


def key_row(key: str, account: str) -> dict[str, Any]:
    """A row of virtual_keys."""
    return {
        "id": key,
        "account": account,
        "name": key,
        "fingerprint": key.encode(),
        "hint": key,
        "models": None,
        "max_output_tokens": None,
        "on_over_cap": "clamp",
        "require_end_user": False,
        "sees_account": False,
        "tags": {},
        "metadata": {},
        "status": "active",
        "expires_at": None,
        "created_at": 0,
        "revoked_at": None,
        "rotated_to": None,
        "revision": 1,
    }


def book(conn: Connection, entries: Sequence[Entry]) -> None:
    """Post the entries the way a worker posts its journal."""
    for start in range(0, len(entries), 500):
        batch = entries[start : start + 500]
        posted = [Postable(seq, frame_of(seq, entry)) for seq, entry in enumerate(batch, start + 1)]
        post(conn, "jrnl_test", digest("jrnl_test", posted, {}), {}, 0)


def frame_of(
    seq: int,
    entry: Entry,
    *,
    price: str | None = None,
    price_pico: int = 1,
    parts: Sequence[tuple[int, int, int | None]] = (),
) -> bytes:
    """The journal record of an entry; its lines name `price`, and it is charged to the windows of `parts`."""
    facts = CallFacts(
        attempt=entry.corrects or entry.id,
        call=(entry.corrects or entry.id).replace("att", "call"),
        key=entry.key,
        account=entry.account,
        end_user=entry.end_user,
        tags=entry.tags,
        provider=entry.provider,
        upstream=entry.provider,
        model=entry.model,
        format="openai_chat",
        streamed=True,
        admitted_at_us=entry.at_us,
        hold_nano=entry.hold,
        usage={},
        charge_nano=0,
        tokens=0,
    )
    closing = _closing(entry, price, price_pico)
    if entry.corrects is None:
        return encode(seq, CLOSE, Close(facts, closing, entry.hold, parts))
    return encode(seq, CORRECT, Correct(entry.id, "correction", facts, closing, (), "a later report"))


def _closing(entry: Entry, price: str | None, price_pico: int) -> Closing:
    lines: list[Line] = [
        (name, meter.quantity, price or f"price_{name}", price_pico, meter.cost, meter.list_cost)
        for name, meter in entry.meters.items()
        if meter.cost or meter.list_cost
    ]
    if entry.request_fee:
        lines.append(("requests", 1, "price_requests", 1, entry.request_fee, entry.request_fee))
    return Closing(
        outcome=entry.outcome,
        status=200,
        served_model=entry.model,
        usage={name: meter.quantity for name, meter in entry.meters.items()},
        usage_source=entry.usage_source,
        raw_usage=None,
        lines=lines,
        flags=list(entry.flags),
        charge_nano=entry.cost,
        list_nano=entry.list_cost,
        tokens=0,
        closed_at_us=entry.at_us + 5 * SECOND_US,
        requests=entry.calls,
    )


def posted_book(engine: Engine, entries: Sequence[Entry]) -> None:
    """Lay the database out and post the entries, committed."""
    with engine.begin() as conn:
        lay_out(conn)
        book(conn, entries)


# The other way to the same figures: nothing but the calendar and plain sums.


def bucket_start(bucket: str | None, at_us: int, timezone: str, start_us: int) -> int:
    """The start of the local hour, day, week or month of an instant; the report's own start without one."""
    if bucket is None:
        return start_us
    local = (EPOCH + timedelta(microseconds=at_us)).astimezone(ZoneInfo(timezone))
    if bucket == "hour":
        # Every offset here is a whole number of quarter hours, so hours begin where the wall says :00.
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return at_us - into // timedelta(microseconds=1)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if bucket == "week":
        day -= timedelta(days=day.weekday())
    if bucket == "month":
        day = day.replace(day=1)
    return (day.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


Sums = dict[tuple[Any, ...], list[int]]


def sums_of(
    entries: Iterable[Entry],
    keys: Callable[[Entry, str], tuple[Any, ...]],
    measures: Callable[[Entry, str, Meter], Sequence[int]],
) -> Sums:
    """Sum `measures` of each meter of each entry under its key; groups of which nothing is left drop out."""
    found: Sums = defaultdict(lambda: [])
    for entry in entries:
        for name, meter in entry.by_meter().items():
            key = keys(entry, name)
            amounts = measures(entry, name, meter)
            known = found[key]
            found[key] = [a + b for a, b in zip(known, amounts, strict=True)] if known else list(amounts)
    return {key: amounts for key, amounts in found.items() if any(amounts)}
