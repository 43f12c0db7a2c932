"""What calls consumed: a column for each meter, or a row for each with `group_by=meter`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Connection

from gateway.domain.usage import METERS
from gateway.reports.base import FILTERS, PERIOD, SLICES, Column, Query, Report, Row, Visible
from gateway.reports.sums import sums
from gateway.reports.wanted import CALLS

__all__ = ["METER_COLUMNS", "REPORT", "by_column"]

# Requests have the column `calls`.
METER_COLUMNS: Final = tuple(meter for meter in METERS if meter != CALLS)


def _columns(query: Query) -> tuple[Column, ...]:
    names = ("quantity",) if "meter" in query.group_by else ("calls", *METER_COLUMNS)
    return (
        Column("bucket_start", "instant"),
        *(Column(group, "text") for group in query.group_by),
        *(Column(name, "integer", is_summed=True) for name in names),
    )


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    for found in sums(conn, query, visible, ("quantity",), by_meter=True):
        quantities = {meter: amounts[0] for meter, amounts in found.by_meter.items()}
        if "meter" in query.group_by:
            shown = tuple(quantities.values())
        else:
            shown = (quantities.get(CALLS, 0), *by_column(quantities))
        if any(shown):
            yield (found.bucket_start_us, *found.group, *shown)


def by_column(quantities: Mapping[str, int]) -> tuple[int, ...]:
    """A quantity for each of METER_COLUMNS. No unit may fall through: each meter has a column."""
    strangers = quantities.keys() - METERS
    assert not strangers, f"no column stands for {sorted(strangers)}"
    return tuple([quantities.get(meter, 0) for meter in METER_COLUMNS])


REPORT = Report(
    name="usage",
    title="Usage",
    sentence="Calls and the tokens and uses they consumed, by meter.",
    parameters=PERIOD | SLICES | FILTERS,
    columns=_columns,
    rows=_rows,
)
