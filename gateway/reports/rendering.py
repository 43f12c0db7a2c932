"""Rows as bytes, piece by piece: JSON with a total, CSV, or Parquet (`reports.parquet`).

Money is written as decimal strings, exactly; the total is the sum of the rows that were written, taken as
they pass. CSV is RFC 4180: a header, CRLF, quotes where they are needed, UTF-8 without a byte order mark.
A spreadsheet would run a text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return as a formula
(https://owasp.org/www-community/attacks/CSV_Injection), so CSV puts a `'` before such a text, and before one
that begins with `'`: taking one leading `'` off gives every text back. Numbers are numbers and stay as they
are, negative ones too.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec

from gateway.domain.instants import rfc3339
from gateway.domain.money import format_usd
from gateway.domain.zones import EPOCH, zone
from gateway.reports.base import Column, Query, Report, Row, Value
from gateway.reports.parquet import ParquetRendering

__all__ = [
    "MEDIA_TYPES",
    "RENDERINGS",
    "CsvRendering",
    "JsonRendering",
    "Rendering",
    "file_name",
    "rendering",
]

ESCAPED: Final = ("=", "+", "-", "@", "\t", "\r", "'")

_encode: Final = msgspec.json.Encoder().encode


class Rendering(Protocol):
    """Writes one report: `begin` once, `rows` as they come, `end` once."""

    def begin(self) -> bytes: ...

    def rows(self, rows: Iterable[Row]) -> Iterator[bytes]: ...

    def end(self, as_of_us: int, *, has_more: bool) -> bytes:
        """`has_more`: a paged report goes on after the last row that was written."""


def file_name(report: Report, query: Query) -> str:
    """What a downloaded report is called: its name and the dates of its period, or today's, in its zone."""
    instants = (query.start_us, query.end_us) if "start" in report.parameters else (query.now_us,)
    place = zone(query.timezone)
    dates = [(EPOCH + timedelta(microseconds=at_us)).astimezone(place).date() for at_us in instants]
    return f"{report.name}-{'-'.join(date.isoformat() for date in dates)}.{query.format}"


class JsonRendering:
    """`{"report", "columns", "rows", "total", "as_of"}`; a paged report adds `has_more` and `next`."""

    def __init__(self, report: Report, query: Query) -> None:
        self._report = report
        self._columns = report.columns(query)
        self._names = [column.name for column in self._columns]
        self._writers = [_json_writer(column, query) for column in self._columns]
        self._total = _Total(self._columns, query)
        self._last: Row | None = None

    def begin(self) -> bytes:
        head = _encode({"report": self._report.name, "columns": self._names})
        return head[:-1] + b',"rows":['

    def rows(self, rows: Iterable[Row]) -> Iterator[bytes]:
        names, writers = self._names, self._writers
        for row in rows:
            separator = b"" if self._last is None else b","
            self._last = row
            self._total.add(row)
            cells = [
                value if write is None else write(value) for write, value in zip(writers, row, strict=True)
            ]
            yield separator + _encode(dict(zip(names, cells, strict=True)))

    def end(self, as_of_us: int, *, has_more: bool) -> bytes:
        tail: dict[str, Any] = {"total": self._total.shown(), "as_of": rfc3339(as_of_us)}
        if self._report.cursor is not None:
            at = self._names.index(self._report.cursor)
            tail["has_more"] = has_more
            tail["next"] = self._last[at] if has_more and self._last is not None else None
        return b"]," + _encode(tail)[1:]


class CsvRendering:
    """A header, and a line for each row."""

    def __init__(self, report: Report, query: Query) -> None:
        self._columns = report.columns(query)
        self._writers = [_csv_writer(column, query) for column in self._columns]

    def begin(self) -> bytes:
        return _line([_escaped(column.name) for column in self._columns])

    def rows(self, rows: Iterable[Row]) -> Iterator[bytes]:
        for row in rows:
            yield _line([write(value) for write, value in zip(self._writers, row, strict=True)])

    def end(self, as_of_us: int, *, has_more: bool) -> bytes:
        return b""


class _Total:
    """The sum of the rows that were written."""

    def __init__(self, columns: tuple[Column, ...], query: Query) -> None:
        self._columns = columns
        self._query = query
        self._sums = {index: 0 for index, column in enumerate(columns) if column.is_summed}

    def add(self, row: Row) -> None:
        sums = self._sums
        for index in sums:
            value = row[index]
            if isinstance(value, int):
                sums[index] += value

    def shown(self) -> dict[str, Value]:
        total: dict[str, Value] = {}
        for index, column in enumerate(self._columns):
            if column.kind == "currency":
                total[column.name] = self._query.currency
            elif column.is_summed:
                amount = self._sums[index]
                total[column.name] = format_usd(amount) if column.kind == "money" else amount
        return total


RENDERINGS: Final[Mapping[str, Callable[[Report, Query], Rendering]]] = {
    "json": JsonRendering,
    "csv": CsvRendering,
    "parquet": ParquetRendering,
}
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8; header=present",
    "parquet": "application/vnd.apache.parquet",
}


def rendering(report: Report, query: Query) -> Rendering:
    """The rendering that the query asks for."""
    return RENDERINGS[query.format](report, query)


def _json_writer(column: Column, query: Query) -> Callable[[Any], Any] | None:
    """How a cell of the column is changed for JSON; None where it is written as it is."""
    if column.kind == "money":
        return _or_null(format_usd)
    if column.kind == "instant":
        return _or_null(_instants(query.timezone))
    if column.kind == "json":
        return _or_null(lambda text: msgspec.Raw(text.encode()))
    return None


def _csv_writer(column: Column, query: Query) -> Callable[[Any], str]:
    """The text of a cell of the column; nothing for null."""
    if column.kind == "money":
        return _or_empty(format_usd)
    if column.kind == "instant":
        return _or_empty(_instants(query.timezone))
    if column.kind == "flag":
        return _or_empty(lambda value: "true" if value else "false")
    if column.kind in ("text", "json"):
        return _or_empty(_escaped)
    return _or_empty(str)


def _or_null(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else write(value)


def _or_empty(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "" if value is None else write(value)


def _instants(timezone: str) -> Callable[[int], str]:
    """Writes instants in the zone, with its offset; UTC as `Z`. Rows of a bucket share one, so it is kept."""
    place = zone(timezone)

    @functools.lru_cache(maxsize=256)
    def write(at_us: int) -> str:
        text = (EPOCH + timedelta(microseconds=at_us)).astimezone(place).isoformat()
        return text.replace("+00:00", "Z") if timezone == "UTC" else text

    return write


def _escaped(text: str) -> str:
    return f"'{text}" if text.startswith(ESCAPED) else text


def _line(cells: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()
