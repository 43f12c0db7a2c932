"""What an import adds to the prices there are. Rows are only ever added, so a change is a later row.

A source such as genai-prices says what prices are, not when they became so. What it says of a slot is
compared with what is stored, from now on: where the two differ, a row is added that counts from the import,
or from the date the source gives for it. What it says of the past is left alone: past calls were charged by
the rows there were, and re-rating them is somebody's decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gateway.domain.prices import PriceRow, with_id

__all__ = ["Merge", "changes", "follow", "slot_of"]

Slot = tuple[object, ...]


class Merge(NamedTuple):
    """The rows to add, how many of the source's are there already, and what could not be said, in words."""

    added: list[PriceRow]
    unchanged: int
    conflicts: list[str]


def slot_of(row: PriceRow) -> Slot:
    """What a row is a price of: rows of one slot replace one another."""
    return (row.provider, row.model, row.meter, row.service_tier, row.context_over, row.hours, row.account)


def follow(stored: Iterable[PriceRow], wanted: Iterable[PriceRow], now_us: int) -> Merge:
    """Rows that make `stored` say what `wanted` says from now on. Both are of one source.

    A model that is not stored at all is taken as it is, its past included.
    """
    known = list(stored)
    ids = {row.id for row in known}
    models = {(row.provider, row.model) for row in known}
    held = _by_slot(known)
    merge = Merge([], 0, [])
    unchanged = 0
    for slot, rows in _by_slot(wanted).items():
        there = held.pop(slot, [])
        if (rows[0].provider, rows[0].model) not in models:
            merge.added.extend(rows)
        elif {row.id for row in there} == {row.id for row in rows}:
            unchanged += len(rows)
        else:
            unchanged += sum(row.id in ids for row in rows)
            merge.added.extend(_later(there, rows, now_us, merge.conflicts))
    gone = (_at(rows, now_us) for rows in held.values())
    merge.conflicts.extend(_ended(row) for row in gone if row is not None)
    return merge._replace(unchanged=unchanged)


def changes(
    there: Iterable[PriceRow], added: Iterable[PriceRow], now_us: int
) -> list[tuple[PriceRow, PriceRow]]:
    """Pairs of a row that counted and the added one that says something else from its own date on.

    Rows recorded only now are no history: an import may bring a price and its correction at once.
    """
    held = _by_slot(row for row in there if row.recorded_at_us < now_us)
    found = []
    for row in added:
        counted = _at(held.get(slot_of(row), ()), row.effective_from_us)
        if counted is not None and counted.rank <= row.rank and counted.price_pico != row.price_pico:
            found.append((counted, row))
    return found


def _later(
    there: list[PriceRow], wanted: list[PriceRow], now_us: int, conflicts: list[str]
) -> Iterator[PriceRow]:
    """The rows to add to one slot: at now and at each later change, wherever the two sides differ."""
    known = list(there)
    for instant in _instants((*there, *wanted), now_us):
        price, held = _at(wanted, instant), _at(known, instant)
        if price is None:
            if held is not None:
                conflicts.append(_ended(held))
            continue
        if held is not None and held.price_pico == price.price_pico:
            continue
        # A date of the source's own is kept if it makes the row the one that counts.
        earliest = held.effective_from_us if held is not None else 0
        start = price.effective_from_us if price.effective_from_us > earliest else instant
        row = with_id(price._replace(effective_from_us=start, recorded_at_us=now_us))
        if any(row.id == each.id for each in known):
            row = with_id(row, now_us)
        known.append(row)
        yield row


def _instants(rows: Iterable[PriceRow], now_us: int) -> list[int]:
    found = {now_us}
    for row in rows:
        found.update(at for at in (row.effective_from_us, row.effective_to_us) if at is not None)
    return sorted(at for at in found if at >= now_us)


def _at(rows: Sequence[PriceRow], at_us: int) -> PriceRow | None:
    """The row of one slot that counts at an instant, its hours aside."""
    in_force = (row for row in rows if row._replace(hours=None).in_force(at_us))
    return max(in_force, key=lambda row: (row.effective_from_us, row.recorded_at_us), default=None)


def _by_slot(rows: Iterable[PriceRow]) -> dict[Slot, list[PriceRow]]:
    slots: dict[Slot, list[PriceRow]] = {}
    for row in rows:
        slots.setdefault(slot_of(row), []).append(row)
    return slots


def _ended(row: PriceRow) -> str:
    tier = f" at tier {row.service_tier}" if row.service_tier else ""
    return (
        f"{row.provider}/{row.model}: {row.source} has no price for {row.meter}{tier} any more; "
        f"{row.id} stays in force"
    )
