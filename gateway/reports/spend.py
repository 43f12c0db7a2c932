"""What calls cost, as charged and at list price, by time and by whatever they can be told apart by."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from gateway.reports.base import FILTERS, PERIOD, SLICES, Column, Query, Report, Row, Visible
from gateway.reports.sums import sums

__all__ = ["REPORT"]


def _columns(query: Query) -> tuple[Column, ...]:
    return (
        Column("bucket_start", "instant"),
        *(Column(group, "text") for group in query.group_by),
        Column("calls", "integer", is_summed=True),
        Column("cost", "money", is_summed=True),
        Column("list_cost", "money", is_summed=True),
        Column("currency", "currency"),
    )


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    """By meter, the calls stand in the row of the meter `requests`, so that the rows still add up."""
    for found in sums(conn, query, visible, ("calls", "cost", "list_cost")):
        amounts = found.amounts
        # A void attempt, or a call and its correction to nothing, leaves no trace in a sum.
        if any(amounts):
            yield (found.bucket_start_us, *found.group, *amounts, query.currency)


REPORT = Report(
    name="spend",
    title="Spend",
    sentence="Calls, what they cost, and what they would have cost at list price.",
    parameters=PERIOD | SLICES | FILTERS,
    columns=_columns,
    rows=_rows,
    dated_by="bucket_start",
)
