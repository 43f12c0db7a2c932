"""One row per bucket and group, from whichever source has the figures.

    start ...  slot | slot | ... | slot  ... end
    entries    sums kept by quarter hour  entries

Whole quarter hours come from the sums kept with the ledger, what is cut off at either end from the ledger's
entries. Groups and filters that go beyond one end user or one tag come from the entries alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain, groupby
from typing import NamedTuple

from sqlalchemy import Connection

from gateway.domain.periods import SLOT_US
from gateway.reports import entries, rollups
from gateway.reports.base import Query, Visible
from gateway.reports.rollups import Run
from gateway.reports.wanted import SumRow, Wanted

__all__ = ["Sum", "runs", "sums"]


class Sum(NamedTuple):
    """One bucket and group. `by_meter` has the amounts of the measures for each meter, or for "" alone."""

    bucket_start_us: int
    group: tuple[str, ...]
    by_meter: dict[str, list[int]]

    @property
    def amounts(self) -> list[int]:
        """The amounts of the measures over all meters."""
        return [sum(column) for column in zip(*self.by_meter.values(), strict=True)]


def sums(
    conn: Connection,
    query: Query,
    visible: Visible,
    measures: tuple[str, ...],
    *,
    by_meter: bool = False,
    by_id: bool = False,
) -> Iterator[Sum]:
    """The sums of a query's measures in the order of bucket and group, read as they are taken.

    Accounts are shown by path, or `by_id`.
    """
    wanted = Wanted.of(query, visible, measures, by_meter=by_meter, by_id=by_id)
    rows = _rows(conn, query, wanted)
    for (bucket, group), parts in groupby(rows, key=lambda row: (row.bucket, row.group)):
        yield Sum(query.edges_us[bucket], group, _by_meter(parts))


def _by_meter(parts: Iterator[SumRow]) -> dict[str, list[int]]:
    """One meter may come from several sources: whole quarter hours, and what was cut off at the ends."""
    found: dict[str, list[int]] = {}
    for part in parts:
        known = found.setdefault(part.meter, [0] * len(part.amounts))
        for index, amount in enumerate(part.amounts):
            known[index] += amount
    return found


def _rows(conn: Connection, query: Query, wanted: Wanted) -> Iterator[SumRow]:
    first_slot, last_slot = -(-query.start_us // SLOT_US) * SLOT_US, query.end_us // SLOT_US * SLOT_US
    if len(wanted.named) > 1 or first_slot >= last_slot:
        return iter(entries.read(conn, wanted, query.edges_us, query.start_us, query.end_us))
    # The cut-off ends are at most a quarter of an hour each, so they fit in memory.
    ends = [
        entries.read(conn, wanted, query.edges_us, start_us, end_us)
        for start_us, end_us in ((query.start_us, first_slot), (last_slot, query.end_us))
        if start_us < end_us
    ]
    whole = (rollups.read(conn, wanted, run) for run in runs(query.edges_us, first_slot, last_slot))
    return heapq.merge(chain.from_iterable(whole), *ends)


def runs(edges_us: tuple[int, ...], start_us: int, end_us: int) -> Iterator[Run]:
    """`[start_us, end_us)` cut into runs of buckets of one width: a month of days is one, or three where
    the clock changes. One statement reads a run, so that the database does the summing."""
    first = 0
    for index in range(1, len(edges_us)):
        width_us = edges_us[first + 1] - edges_us[first]
        is_last = index == len(edges_us) - 1
        if is_last or edges_us[index + 1] - edges_us[index] != width_us:
            low_us, high_us = max(edges_us[first], start_us), min(edges_us[index], end_us)
            if low_us < high_us:
                yield Run(first, edges_us[first], width_us, low_us, high_us)
            first = index
