"""A report in another currency than USD: each row at the rate of its own day.

The rate of a row is the newest one dated on or before the row's last day (the day of its instant, where it
has one) in the report's zone. Each amount is rounded once, to a billionth of the currency's unit, and the
total is the sum of the rows that are printed: converting the total instead could differ by half a billionth
a row. `fx_rate` and `fx_date` say which rate it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

from sqlalchemy import Connection

from gateway.domain.errors import BadRequest
from gateway.domain.exchange import USD, Rate, converted, format_rate
from gateway.domain.zones import EPOCH, zone
from gateway.reports.base import Column, Query, Report, Row, Value, Visible
from gateway.store.fx import rates_of

__all__ = ["in_currency"]

_ADDED = (Column("fx_rate", "decimal"), Column("fx_date", "text"))


def in_currency(report: Report, query: Query) -> Report:
    """The report with its money in the query's currency; the report itself for USD."""
    if query.currency == USD:
        return report

    def columns(asked: Query) -> tuple[Column, ...]:
        return (*report.columns(asked), *_ADDED)

    def rows(conn: Connection, asked: Query, visible: Visible) -> Iterator[Row]:
        return _converted(conn, report, asked, visible)

    return replace(report, columns=columns, rows=rows)


def _converted(conn: Connection, report: Report, query: Query, visible: Visible) -> Iterator[Row]:
    columns = report.columns(query)
    money = [index for index, column in enumerate(columns) if column.kind == "money"]
    names = [column.name for column in columns]
    remainders = [
        (index, names.index(column.remainder_of[0]), names.index(column.remainder_of[1]))
        for index, column in enumerate(columns)
        if column.remainder_of is not None
    ]
    dated_by = None if report.dated_by is None else names.index(report.dated_by)
    rate_at = _rates_by_instant(rates_of(conn, query.currency), query)
    for row in report.rows(conn, query, visible):
        at_us = query.end_us - 1 if dated_by is None else _last_instant(query, report, row[dated_by])
        rate = rate_at(at_us)
        cells = list(row)
        for index in money:
            cells[index] = _cell(cells[index], rate)
        for index, whole, part in remainders:
            cells[index] = _difference(cells[whole], cells[part])
        yield (*cells, format_rate(rate.rate_nano), rate.day)


def _cell(value: Value, rate: Rate) -> Value:
    return converted(value, rate.rate_nano) if isinstance(value, int) else value


def _difference(whole: Value, part: Value) -> int:
    assert isinstance(whole, int), "amounts are integers"
    assert isinstance(part, int), "amounts are integers"
    return whole - part


def _last_instant(query: Query, report: Report, value: Value) -> int:
    """The last instant that a row is about: that of its bucket, or its own."""
    assert isinstance(value, int), "rows are dated by an instant"
    if report.dated_by != "bucket_start":
        return value
    edge = bisect_right(query.edges_us, value)
    return min(query.edges_us[edge], query.end_us) - 1


def _rates_by_instant(rates: list[Rate], query: Query) -> Callable[[int], Rate]:
    """The rate in force on the local day of an instant; BadRequest where there is none yet."""
    days = [rate.day for rate in rates]
    place = zone(query.timezone)
    if not rates:
        raise _no_rate(query.currency, f"There is no exchange rate for {query.currency!r}.")

    @lru_cache(maxsize=1024)
    def rate_at(at_us: int) -> Rate:
        day = (EPOCH + timedelta(microseconds=at_us)).astimezone(place).date().isoformat()
        index = bisect_right(days, day) - 1
        if index < 0:
            raise _no_rate(
                query.currency, f"There is no exchange rate for {query.currency!r} on {day} or before."
            )
        return rates[index]

    return rate_at


def _no_rate(currency: str, message: str) -> BadRequest:
    return BadRequest(
        "invalid_value",
        message,
        hint=f"Post one (POST /admin/fx) or import a file (`tollgate fx import`) that has {currency}.",
        param="currency",
    )
