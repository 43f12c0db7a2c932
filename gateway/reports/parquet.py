"""Rows as Apache Parquet, a row group at a time, for warehouses. Needs the extra `parquet` (pyarrow).

Types keep what the figures are: money is decimal128(38, 9), counts are int64, instants are timestamps in UTC
whose zone is the report's. Figures whose unit differs by row, and JSON, are text, as they are elsewhere.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from gateway.reports.base import Column, Query, Report, Row

__all__ = ["ROWS_PER_GROUP", "ParquetRendering", "ParquetWriter", "is_installed"]

# What is kept in memory before it is written out.
ROWS_PER_GROUP: Final = 10_000


def is_installed() -> bool:
    """Whether the extra `parquet` is there."""
    return find_spec("pyarrow") is not None


class ParquetWriter:
    """Makes a file of columns `(name, kind)`, handing out its bytes as they come.

    Kinds are those of reports' columns, and `number`: a Decimal of at most twelve places.
    """

    def __init__(self, columns: Sequence[tuple[str, str]], timezone: str) -> None:
        # Loading it costs 40 MB and a tenth of a second, which no worker should pay that writes none.
        self._arrow: Any = import_module("pyarrow")
        types = {
            "integer": self._arrow.int64(),
            "money": self._arrow.decimal128(38, 9),
            "number": self._arrow.decimal128(38, 12),
            "instant": self._arrow.timestamp("us", tz=timezone),
            "flag": self._arrow.bool_(),
        }
        fields = [(name, types.get(kind, self._arrow.string())) for name, kind in columns]
        self._schema = self._arrow.schema(fields)
        self._money = [kind == "money" for _, kind in columns]
        self._rows: list[Sequence[Any]] = []
        self._sink = _Sink()
        parquet: Any = import_module("pyarrow.parquet")
        self._writer = parquet.ParquetWriter(self._sink, self._schema)

    def add(self, row: Sequence[Any]) -> bytes:
        """Take a row; bytes when a row group is full."""
        self._rows.append(row)
        return self._write() if len(self._rows) >= ROWS_PER_GROUP else b""

    def end(self) -> bytes:
        """The last rows and the footer."""
        written = self._write() if self._rows else b""
        self._writer.close()
        return written + self._sink.take()

    def _write(self) -> bytes:
        columns = [list(cells) for cells in zip(*self._rows, strict=True)]
        self._rows = []
        arrays = [
            self._arrow.array([_usd(value) for value in values] if is_money else values, field.type)
            for values, field, is_money in zip(columns, self._schema, self._money, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        return self._sink.take()


class ParquetRendering:
    """A file with the rows and no total."""

    def __init__(self, report: Report, query: Query) -> None:
        columns: tuple[Column, ...] = report.columns(query)
        self._writer = ParquetWriter([(each.name, each.kind) for each in columns], query.timezone)

    def begin(self) -> bytes:
        return b""

    def rows(self, rows: Iterable[Row]) -> Iterator[bytes]:
        for row in rows:
            written = self._writer.add(row)
            if written:
                yield written

    def end(self, as_of_us: int, *, has_more: bool) -> bytes:
        return self._writer.end()


class _Sink(io.RawIOBase):
    """Where pyarrow writes: it hands its bytes on and remembers only how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts = []
        return taken


def _usd(nano: int | None) -> Decimal | None:
    return None if nano is None else Decimal(nano).scaleb(-9)
