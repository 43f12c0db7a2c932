"""What each cost centre is charged.

An account belongs to its own cost centre, or to the nearest one above it; accounts without any are the row
where the cost centre is empty. Cost centres are those of today, as paths are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from sqlalchemy import Connection

from gateway.reports.base import FILTERS, PERIOD, SLICES, Column, Query, Report, Row, Visible
from gateway.reports.sums import sums
from gateway.store.reading import Place, places

__all__ = ["REPORT"]

_MEASURES = ("calls", "cost", "list_cost")


def _columns(query: Query) -> tuple[Column, ...]:
    return (
        Column("bucket_start", "instant"),
        Column("cost_center", "text"),
        *(Column(group, "text") for group in query.group_by),
        Column("calls", "integer", is_summed=True),
        Column("cost", "money", is_summed=True),
        Column("list_cost", "money", is_summed=True),
        Column("currency", "currency"),
    )


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    """Sums by account are read as they come and added up by cost centre, a bucket at a time."""
    tree = places(conn)
    others = tuple(group for group in query.group_by if group != "account")
    found = sums(conn, query.by(("account", *others)), visible, _MEASURES, by_id=True)
    for bucket_us, rows in groupby(found, key=lambda each: each.bucket_start_us):
        totals: dict[tuple[str, ...], list[int]] = {}
        for row in rows:
            total = totals.setdefault(_key(row.group, query.group_by, tree), [0] * len(_MEASURES))
            for index, amount in enumerate(row.amounts):
                total[index] += amount
        for key, amounts in sorted(totals.items()):
            if any(amounts):
                yield (bucket_us, *key, *amounts, query.currency)


def _key(group: tuple[str, ...], wanted: tuple[str, ...], tree: Mapping[str, Place]) -> tuple[str, ...]:
    """The cost centre, and the wanted groups with the account by its path."""
    account, *others = group
    place = tree.get(account, Place(account, ""))
    rest = iter(others)
    return place.cost_center, *(place.path if name == "account" else next(rest) for name in wanted)


REPORT = Report(
    name="chargeback",
    title="Chargeback",
    sentence="What each cost centre is charged, and what it would be at list price.",
    parameters=PERIOD | SLICES | FILTERS,
    columns=_columns,
    rows=_rows,
    dated_by="bucket_start",
)
