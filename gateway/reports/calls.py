"""The ledger, one row per entry, newest first: what a receipt says, as far as it fits in a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select
from sqlalchemy import Row as SqlRow

from gateway.domain.errors import BadRequest
from gateway.reports.base import FILTERS, PAGE, PERIOD, Column, Query, Report, Row, Visible
from gateway.reports.usage import METER_COLUMNS, by_column
from gateway.reports.wanted import TAG, selection_of
from gateway.store.reading import path_of, stream, with_path
from gateway.store.tables import ledger

__all__ = ["REPORT"]

_MAP: Final = msgspec.json.Decoder(dict[str, Any])

COLUMNS: Final = (
    Column("id", "text"),
    Column("admitted_at", "instant"),
    Column("closed_at", "instant"),
    Column("late_for", "instant"),
    Column("kind", "text"),
    Column("call", "text"),
    Column("attempt", "text"),
    Column("account", "text"),
    Column("key", "text"),
    Column("end_user", "text"),
    Column("tags", "json"),
    Column("provider", "text"),
    Column("upstream", "text"),
    Column("model", "text"),
    Column("served_model", "text"),
    Column("format", "text"),
    Column("streamed", "flag"),
    Column("status", "integer"),
    Column("outcome", "text"),
    *(Column(meter, "integer", is_summed=True) for meter in METER_COLUMNS),
    Column("usage_source", "text"),
    Column("flags", "json"),
    Column("cost", "money", is_summed=True),
    Column("list_cost", "money", is_summed=True),
    Column("currency", "currency"),
    Column("hold", "money"),
    Column("overrun", "money", is_summed=True),
    Column("reason", "text"),
)


def _columns(query: Query) -> tuple[Column, ...]:
    return COLUMNS


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    """One row more than the limit where there are more, so that a page can say so."""
    tags = {name.removeprefix(TAG): value for name, value in query.filters.items() if name.startswith(TAG)}
    statement = _statement(conn, query, visible)
    most = None if query.limit is None else query.limit + 1
    if not tags:
        statement = statement.limit(most)
    rows = stream(conn, statement)
    return islice((_shown(row, query) for row in rows if not tags or _has_tags(row, tags)), most)


def _statement(conn: Connection, query: Query, visible: Visible) -> Select[Any]:
    columns = ledger.c
    mine = selection_of(query, visible).condition(columns)
    tests = and_(columns.admitted_at >= query.start_us, columns.admitted_at < query.end_us, mine)
    if "end_user" in query.filters:
        tests &= func.coalesce(columns.end_user, "") == query.filters["end_user"]
    if query.after is not None:
        tests &= _older_than(conn, query.after, mine)
    shown = select(ledger, path_of(columns.account).label("path"))
    joined = shown.select_from(with_path(ledger, columns.account)).where(tests)
    return joined.order_by(columns.admitted_at.desc(), columns.id.desc())


def _older_than(conn: Connection, after: str, mine: ColumnElement[bool]) -> ColumnElement[bool]:
    """The entries that come after the entry `after` in the order of the report."""
    columns = ledger.c
    at_us = conn.execute(select(columns.admitted_at).where(columns.id == after, mine)).scalar()
    if at_us is None:
        raise BadRequest(
            "invalid_value",
            f"{after[:64]!r} is no row of this report.",
            hint="Give the `next` of the page before, with the same filters.",
            param="after",
        )
    # The first half alone lets the index on the time be used; the second settles entries of one instant.
    return and_(columns.admitted_at <= at_us, or_(columns.admitted_at < at_us, columns.id < after))


def _has_tags(row: SqlRow[Any], wanted: Mapping[str, str]) -> bool:
    tags = _MAP.decode(row.tags)
    return all(tags.get(name, "") == value for name, value in wanted.items())


def _shown(row: SqlRow[Any], query: Query) -> Row:
    values = row._mapping
    meters = dict(zip(METER_COLUMNS, by_column(_MAP.decode(row.usage)), strict=True))
    special = {
        "account": row.path,
        "currency": query.currency,
        "cost": row.charge,
        "list_cost": row.list_charge,
    }
    known = {**values, **meters, **special}
    return tuple([known[column.name] for column in COLUMNS])


REPORT = Report(
    name="calls",
    title="Calls",
    sentence="The ledger, newest first: one row for each attempt of a call and each correction.",
    parameters=PERIOD | FILTERS | PAGE,
    columns=_columns,
    rows=_rows,
    cursor="id",
    dated_by="admitted_at",
)
