"""Prices in SQL: read whole into a catalogue, only ever added to.

Every change takes the topic's next revision number first; its row lock makes changes queue, so that what
is found missing here stays missing until it is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from gateway.domain.catalogue import POSTED, Catalogue, ModelLimits, ModelRecord
from gateway.domain.errors import Conflict
from gateway.domain.instants import rfc3339
from gateway.domain.money import format_price
from gateway.domain.price_history import changes, follow, slot_of
from gateway.domain.prices import GENAI, Hours, PriceRow, with_id
from gateway.store.accounts import living_account
from gateway.store.notices import note_price_changes
from gateway.store.pages import page
from gateway.store.price_files import seed_aliases, seed_free, seed_limits, seed_prices
from gateway.store.price_sources import genai_prices
from gateway.store.rate_cards import all_terms
from gateway.store.revisions import next_number
from gateway.store.sql import many, placeholders, run
from gateway.store.tables import prices

__all__ = [
    "Difference",
    "ImportResult",
    "add_price",
    "differences",
    "fill",
    "import_rows",
    "import_shipped",
    "list_prices",
    "load_catalogue",
    "price_by_id",
]

_PRICE: Final = (
    "id, provider, model, meter, price_pico, service_tier, context_over, hours, effective_from, effective_to,"
    " account, source, source_text, rank, created_at"
)
_MODEL: Final = "provider, model, match, position, context_window, source"
_LIMITS: Final = "provider, model, effective_from, context_window, max_output, cap_field, source"


class ImportResult(NamedTuple):
    """How many rows were added, how many were there already, and what was left undone and why."""

    added: int
    unchanged: int
    conflicts: tuple[str, ...] = ()


class Difference(NamedTuple):
    """Sources that disagree on a price in force: the row that counts, and those it overrules."""

    counts: PriceRow
    overruled: tuple[PriceRow, ...]


# Reading.


def load_catalogue(conn: Connection, aliases: Mapping[str, str] | None = None) -> Catalogue:
    """Everything there is, as one snapshot. `aliases` are added to those of the seed."""
    models = [
        ModelRecord(provider, model, msgspec.json.decode(match), position, context_window, source)
        for provider, model, match, position, context_window, source in run(
            conn, f"SELECT {_MODEL} FROM models"
        )
    ]
    limits = [ModelLimits(*row) for row in run(conn, f"SELECT {_LIMITS} FROM model_limits")]
    return Catalogue(models, _rows(conn), limits, {**seed_aliases(), **(aliases or {})}, all_terms(conn))


def price_by_id(conn: Connection, price: str) -> PriceRow | None:
    """The row a charge names."""
    return next(_rows(conn, "WHERE id = ?", (price,)), None)


def list_prices(
    conn: Connection, *, equal: Mapping[str, str], after: str | None = None, limit: int = 100
) -> list[PriceRow]:
    """Rows in the order of their making; `equal` maps column names to the values they must have."""
    query = select(prices.c.id).where(*(prices.c[name] == value for name, value in equal.items()))
    ids = list(conn.execute(page(conn, query, prices, after=after, limit=limit)).scalars())
    if not ids:
        return []
    found = {row.id: row for row in _rows(conn, f"WHERE id IN ({placeholders(len(ids))})", ids)}
    return [found[each] for each in ids]


def differences(conn: Connection, at_us: int) -> list[Difference]:
    """Where sources disagree on the list price in force at the instant."""
    slots: dict[tuple[object, ...], dict[int, PriceRow]] = {}
    for row in sorted(_rows(conn, "WHERE account IS NULL"), key=_age):
        if row.in_force(at_us):
            slots.setdefault(slot_of(row._replace(hours=None)), {})[row.rank] = row
    found = []
    for by_rank in slots.values():
        counts, *others = (by_rank[rank] for rank in sorted(by_rank, reverse=True))
        overruled = tuple(row for row in others if row.price_pico != counts.price_pico)
        if overruled:
            found.append(Difference(counts, overruled))
    return sorted(found, key=lambda each: each.counts[1:7])


def _age(row: PriceRow) -> tuple[bool, int, int]:
    """Of two rows of one source and slot, the one that counts sorts last."""
    return row.hours is not None, row.effective_from_us, row.recorded_at_us


def _rows(conn: Connection, where: str = "", parameters: Sequence[Any] = ()) -> Iterator[PriceRow]:
    for values in run(conn, f"SELECT {_PRICE} FROM prices {where}", parameters):
        row = PriceRow._make(values)
        yield row if row.hours is None else row._replace(hours=_hours_of(values[7]))


def _hours_of(text: str) -> Hours:
    fields = msgspec.json.decode(text)
    return Hours(fields["start"], fields["end"], fields["timezone"])


# Writing.


def fill(conn: Connection, now_us: int) -> ImportResult | None:
    """Fill an empty table from genai-prices and the seed; None if there are prices already."""
    if _is_filled(conn):
        return None
    revision = next_number(conn, "prices")
    # Another process may have filled it while this one waited for its turn.
    return None if _is_filled(conn) else _import_shipped(conn, now_us, revision)


def import_shipped(conn: Connection, now_us: int) -> ImportResult:
    """Bring the table up to the installed genai-prices and to this release's seed.

    Prices that changed there count from now on, or from the date that the source gives for them.
    """
    return _import_shipped(conn, now_us, next_number(conn, "prices"))


def import_rows(conn: Connection, rows: Sequence[PriceRow], now_us: int) -> ImportResult:
    """Add the rows of a price file. A row whose place another price has is left out and reported.

    Raises NotFound for an account that there is not; nothing is added then.
    """
    for account in sorted({row.account for row in rows if row.account is not None}):
        living_account(conn, account, param="account")
    return _import_dated(conn, _canonical(conn, rows), now_us, next_number(conn, "prices"))


def add_price(conn: Connection, row: PriceRow, now_us: int) -> tuple[PriceRow, bool]:
    """Add one price; the row, and whether it is new.

    An identical price is the row there is. Raises Conflict where the slot has another price of the same
    rank and date, and NotFound for an account that there is not.
    """
    [row] = _canonical(conn, [row])
    there = price_by_id(conn, row.id)
    if there is not None:
        return there, False
    if row.account is not None:
        living_account(conn, row.account, param="account")
    revision = next_number(conn, "prices")
    [conflict], added = _sorted_out(conn, [row])
    if conflict is not None:
        raise Conflict(
            "conflict",
            f"{conflict.id} says {format_price(conflict.price_pico)} USD per million from the same instant.",
            hint="A price is never overwritten: give another effective_from.",
            param="effective_from",
            fields={"price": conflict.id, "usd_per_million": format_price(conflict.price_pico)},
        )
    _insert(conn, added, now_us, revision)
    return (row._replace(recorded_at_us=now_us) if added else row), bool(added)


def _canonical(conn: Connection, rows: Sequence[PriceRow]) -> list[PriceRow]:
    """The rows under the ids that the catalogue knows their models by, letter case and seed aliases aside."""
    ids = {
        (provider, model.lower()): model
        for provider, model in run(conn, "SELECT provider, model FROM models")
    }
    for alias, target in seed_aliases().items():
        provider, _, model = target.partition("/")
        ids.setdefault((provider, alias), model)
    named = []
    for row in rows:
        model = ids.get((row.provider, row.model.lower()), row.model)
        named.append(row if model == row.model else with_id(row._replace(model=model)))
    return named


def _is_filled(conn: Connection) -> bool:
    return run(conn, "SELECT 1 FROM models LIMIT 1").first() is not None


def _import_shipped(conn: Connection, now_us: int, revision: int) -> ImportResult:
    conversion = genai_prices()
    _write_models(conn, conversion.models, revision)
    stored = _rows(conn, "WHERE rank = ?", (GENAI,))
    merge = follow(stored, conversion.rows, now_us)
    _insert(conn, merge.added, now_us, revision)
    _write_limits(conn, seed_limits(), revision)
    seed = [*seed_prices(), *seed_free(conversion.models)]
    seeded = _import_dated(conn, seed, now_us, revision)
    return ImportResult(
        len(merge.added) + seeded.added,
        merge.unchanged + seeded.unchanged,
        (*conversion.skipped, *merge.conflicts, *seeded.conflicts),
    )


def _import_dated(conn: Connection, rows: Sequence[PriceRow], now_us: int, revision: int) -> ImportResult:
    """Add rows that say themselves from when they count."""
    conflicts, added = _sorted_out(conn, rows)
    _insert(conn, added, now_us, revision)
    words = [
        f"{row.provider}/{row.model}: {row.meter} from {rfc3339(row.effective_from_us)} is "
        f"{format_price(there.price_pico)} USD per million by {there.id}, not {row.source_text}"
        for row, there in zip(rows, conflicts, strict=True)
        if there is not None
    ]
    return ImportResult(len(added), len(rows) - len(added) - len(words), tuple(words))


def _sorted_out(conn: Connection, rows: Sequence[PriceRow]) -> tuple[list[PriceRow | None], list[PriceRow]]:
    """For each row the one of another price that has its place, if any; and the rows that are new."""
    places = {_place(row): row for row in _of_same_models(conn, rows)}
    conflicts: list[PriceRow | None] = []
    added = []
    for row in rows:
        there = places.setdefault(_place(row), row)
        conflicts.append(there if there.price_pico != row.price_pico else None)
        if there is row:
            added.append(row)
    return conflicts, added


def _place(row: PriceRow) -> tuple[object, ...]:
    """Where a row stands: its slot, its date and whose word it is."""
    return (*slot_of(row), row.effective_from_us, row.rank)


def _of_same_models(conn: Connection, rows: Iterable[PriceRow]) -> Iterator[PriceRow]:
    for provider, model in sorted({(row.provider, row.model) for row in rows}):
        yield from _rows(conn, "WHERE provider = ? AND model = ?", (provider, model))


def _insert(conn: Connection, rows: Sequence[PriceRow], now_us: int, revision: int) -> None:
    """Add rows; a model that nobody has heard of is known from now on."""
    known = set(map(tuple, run(conn, "SELECT provider, model FROM models").all()))
    new = sorted({(row.provider, row.model) for row in rows} - known)
    records = [ModelRecord(provider, model, {"equals": model}, 0, None, POSTED) for provider, model in new]
    _write_models(conn, records, revision)
    note_price_changes(conn, changes(_of_same_models(conn, rows), rows, now_us), now_us)
    many(
        conn,
        f"INSERT INTO prices ({_PRICE}, revision) VALUES ({placeholders(16)})",
        [(*_values(row), now_us, revision) for row in rows],
    )


def _values(row: PriceRow) -> tuple[Any, ...]:
    hours = None if row.hours is None else msgspec.json.encode(row.hours._asdict()).decode()
    return (*row[:7], hours, *row[8:14])


def _write_models(conn: Connection, models: Iterable[ModelRecord], revision: int) -> None:
    """Add models, and bring those up to date whose description has changed."""
    described = {(row[0], row[1]): tuple(row[2:]) for row in run(conn, f"SELECT {_MODEL} FROM models")}
    changed = []
    for each in models:
        description = (msgspec.json.encode(each.match, order="sorted").decode(), *each[3:])
        if described.get((each.provider, each.model)) != description:
            changed.append((each.provider, each.model, *description, revision))
    many(
        conn,
        f"INSERT INTO models ({_MODEL}, revision) VALUES ({placeholders(7)})"
        " ON CONFLICT (provider, model) DO UPDATE SET match = excluded.match, position = excluded.position,"
        " context_window = excluded.context_window, source = excluded.source, revision = excluded.revision",
        changed,
    )


def _write_limits(conn: Connection, limits: Iterable[ModelLimits], revision: int) -> None:
    many(
        conn,
        f"INSERT INTO model_limits ({_LIMITS}, revision) VALUES ({placeholders(8)})"
        " ON CONFLICT (provider, model, effective_from) DO UPDATE SET"
        " context_window = excluded.context_window, max_output = excluded.max_output,"
        " cap_field = excluded.cap_field, source = excluded.source, revision = excluded.revision",
        [(*each, revision) for each in limits],
    )
