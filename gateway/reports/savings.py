"""What negotiated prices save: list price against what was charged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from gateway.reports.base import FILTERS, PERIOD, SLICES, Column, Query, Report, Row, Visible
from gateway.reports.percentages import percentage
from gateway.reports.sums import sums

__all__ = ["REPORT"]

# Prices are negotiated by model, so without a wish the report is by model.
BY_MODEL: Final = ("provider", "model")


def _groups(query: Query) -> tuple[str, ...]:
    return query.group_by or BY_MODEL


def _columns(query: Query) -> tuple[Column, ...]:
    return (
        Column("bucket_start", "instant"),
        *(Column(group, "text") for group in _groups(query)),
        Column("calls", "integer", is_summed=True),
        Column("list_cost", "money", is_summed=True),
        Column("cost", "money", is_summed=True),
        Column("savings", "money", is_summed=True, remainder_of=("list_cost", "cost")),
        Column("percentage", "decimal"),
        Column("currency", "currency"),
    )


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    grouped = query.by(_groups(query))
    for found in sums(conn, grouped, visible, ("calls", "list_cost", "cost")):
        calls, at_list, cost = found.amounts
        if calls or at_list or cost:
            saved = at_list - cost
            share = percentage(saved, at_list)
            yield (
                found.bucket_start_us, *found.group, calls, at_list, cost, saved, share, query.currency
            )  # fmt: skip


REPORT = Report(
    name="savings",
    title="Savings",
    sentence="List price against what was charged, by model or any group.",
    parameters=PERIOD | SLICES | FILTERS,
    columns=_columns,
    rows=_rows,
    dated_by="bucket_start",
)
