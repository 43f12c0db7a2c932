"""The FOCUS Cost and Usage export of a month: from the ledger, a day at a time, written as CSV or Parquet.

Memory holds the rows of one day, however many calls a month has. The month is that of the ledger: late
entries of a closed month are corrections in the month they were booked in, at their original dates.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, Protocol

import msgspec
from sqlalchemy import Connection, Row, select

from gateway.domain.errors import BadRequest
from gateway.domain.months import Month, month_named
from gateway.domain.periods import DAY_US
from gateway.domain.terms import list_price_id
from gateway.domain.zones import EPOCH
from gateway.reports.delivery import MEMORY_BYTES
from gateway.reports.focus_rows import VERSIONS, Key, Listed, Place, Sums, columns, purchase, usage
from gateway.reports.parquet import ParquetWriter, is_installed
from gateway.store.reading import stream
from gateway.store.tables import accounts, budgets, grants, ledger, prices, windows

__all__ = ["FORMATS", "Wanted", "export", "wanted"]

FORMATS: Final = ("csv", "parquet")
_PARAMETERS: Final = ("version", "period", "format")
_USAGE: Final = msgspec.json.Decoder(dict[str, int])
_LINES: Final = msgspec.json.Decoder(list[tuple[str, int, str | None, int, int, int]])
_WINDOWS: Final = msgspec.json.Decoder(list[tuple[int, int, int | None]])


class Wanted(msgspec.Struct, frozen=True):
    """Which export: a version of the specification, a month, a format."""

    version: str
    month: Month
    format: str


def wanted(given: Mapping[str, str]) -> Wanted:
    """The export that the parameters of a request ask for; BadRequest names the one that is wrong."""
    for name in given:
        if name not in _PARAMETERS:
            raise BadRequest(
                "unsupported_field",
                f"The FOCUS export has no parameter {name[:64]!a}.",
                hint=f"It takes {', '.join(_PARAMETERS)}.",
                param=name[:64],
            )
    version = _one_of("version", given.get("version", VERSIONS[0]), VERSIONS)
    form = _one_of("format", given.get("format", "csv"), FORMATS)
    if form == "parquet" and not is_installed():
        raise _invalid(
            "format", "pyarrow is not installed", "Install tollgate-gateway[parquet], or ask for CSV."
        )
    return Wanted(version, month_named(given.get("period", "")), form)


def export(conn: Connection, asked: Wanted) -> tuple[IO[bytes], int]:
    """The whole export in a file that memory does not bound, to be read and closed, and its length."""
    writer: _Writer = _Csv(asked) if asked.format == "csv" else _Parquet(asked)
    file = SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - whoever sends it closes it
    try:
        for cells in _rows(conn, asked.month):
            file.write(writer.row(cells))
        file.write(writer.end())
        length = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, length


def _rows(conn: Connection, month: Month) -> Iterator[list[Any]]:
    places, pools = _places(conn), _pools(conn)
    listed: dict[str, Listed] = {}
    period = (_day(month.start_us), _day(month.end_us))
    for grant in _grants(conn, month):
        start_us = grant.created_at - grant.created_at % DAY_US
        days = (_day(start_us), _day(start_us + DAY_US))
        yield purchase(grant, places[grant.account], period, days)
    # A day is read to its end before the next is begun: many small results, one day of sums.
    for start_us in range(month.start_us, month.end_us, DAY_US):
        for key, sums in sorted(_sums(conn, start_us, pools).items(), key=lambda each: _order(each[0])):
            base = list_price_id(key.price)
            if base not in listed:
                listed[base] = _listed(conn, base)
            place = places.get(key.account) or _nowhere(key.account)
            days = (_day(key.start_us), _day(key.end_us))
            yield usage(key, Sums(*sums), listed[base], place, period, days)


def _sums(conn: Connection, start_us: int, pools: Mapping[int, str]) -> dict[Key, list[int]]:
    """What a day's entries come to, by what a row is about."""
    found: dict[Key, list[int]] = {}
    for row in stream(conn, _statement(start_us)):
        pool = _pool(row, pools)
        rest = [row.charge, row.list_charge]
        usage_left = _USAGE.decode(row.usage)
        for meter, quantity, price, pico, cost, at_list in _LINES.decode(row.lines):
            usage_left.pop(meter, None)
            _add(found, _key(row, meter, price or "", pico, pool), quantity, cost, at_list)
            rest[0] -= cost
            rest[1] -= at_list
        for meter, quantity in usage_left.items():
            if meter != "requests":
                _add(found, _key(row, meter, "", 0, pool), quantity, 0, 0)
        if rest[0] or rest[1]:
            _add(found, _key(row, "requests", "", None, pool), 0, *rest)
    return {key: sums for key, sums in found.items() if any(sums)}


def _add(found: dict[Key, list[int]], key: Key, *amounts: int) -> None:
    sums = found.setdefault(key, [0, 0, 0])
    for index, amount in enumerate(amounts):
        sums[index] += amount


def _key(row: Row[Any], meter: str, price: str, pico: int | None, pool: str | None) -> Key:
    """Charges keep their original day: that of the admission, however late they were booked."""
    at_us = row.admitted_at if row.late_for is None else row.late_for
    start_us = at_us - at_us % DAY_US
    return Key(
        start_us, start_us + DAY_US, row.account, row.key, row.provider, row.model, meter, price, pico,
        row.tags, pool, row.late_for is not None,
    )  # fmt: skip


def _order(key: Key) -> tuple[Any, ...]:
    return (*key[:8], key.price_pico is None, key.price_pico or 0, key.tags, key.pool or "", key.is_late)


def _statement(start_us: int) -> Any:
    of_day = (ledger.c.admitted_at >= start_us) & (ledger.c.admitted_at < start_us + DAY_US)
    figures = (ledger.c.usage, ledger.c.lines, ledger.c.charge, ledger.c.list_charge, ledger.c.windows)
    names = (ledger.c.account, ledger.c.key, ledger.c.provider, ledger.c.model, ledger.c.tags)
    return select(ledger.c.admitted_at, ledger.c.late_for, *names, *figures).where(of_day)


def _pool(row: Row[Any], pools: Mapping[int, str]) -> str | None:
    """The credit that an entry was charged to."""
    if not pools:
        return None
    return next((pools[window] for window, _, _ in _WINDOWS.decode(row.windows) if window in pools), None)


def _pools(conn: Connection) -> dict[int, str]:
    """The windows that are an account's credit in USD, and their budgets."""
    query = (
        select(windows.c.id, windows.c.budget)
        .join(budgets, budgets.c.id == windows.c.budget)
        .where(budgets.c.unit == "usd", windows.c.id.in_(select(grants.c.win)))
    )
    return {row.id: row.budget for row in conn.execute(query)}


def _grants(conn: Connection, month: Month) -> Iterator[Row[Any]]:
    query = (
        select(grants, windows.c.budget)
        .join(windows, windows.c.id == grants.c.win)
        .where(grants.c.unit == "usd")
        .where(grants.c.created_at >= month.start_us, grants.c.created_at < month.end_us)
        .order_by(grants.c.created_at, grants.c.id)
    )
    return stream(conn, query)


def _listed(conn: Connection, price: str) -> Listed:
    """The list price that a line names; an account's own price is none, and nobody's neither."""
    row = conn.execute(select(prices).where(prices.c.id == price)).one_or_none()
    if row is None:
        return Listed(None, "", 0)
    return Listed(None if row.account else row.price_pico, row.service_tier, row.context_over)


def _places(conn: Connection) -> dict[str, Place]:
    rows = {row.id: row for row in conn.execute(select(accounts))}
    found = {}
    for account, row in rows.items():
        root, center = row, row.cost_center
        while root.parent is not None:
            root = rows[root.parent]
            center = center or root.cost_center
        found[account] = Place(root.id, root.name, account, row.path, row.kind, center or "")
    return found


def _nowhere(account: str) -> Place:
    return Place(account, account, account, account, "account", "")


def _day(at_us: int) -> str:
    return (EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Writer(Protocol):
    def row(self, cells: list[Any]) -> bytes: ...

    def end(self) -> bytes: ...


class _Csv:
    """Null is nothing between two commas; a number always has its point, so that no reader takes it for one
    of another kind."""

    def __init__(self, asked: Wanted) -> None:
        self._kinds = [kind for _, kind in columns(asked.version)]
        self._buffer = io.StringIO()
        self._lines = csv.writer(self._buffer, lineterminator="\r\n")
        self._lines.writerow([name for name, _ in columns(asked.version)])

    def row(self, cells: list[Any]) -> bytes:
        self._lines.writerow(
            ["" if cell is None else _number(cell) if kind == "number" else cell
             for cell, kind in zip(cells, self._kinds, strict=True)]
        )  # fmt: skip
        return self._take()

    def end(self) -> bytes:
        return self._take()

    def _take(self) -> bytes:
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return text.encode()


class _Parquet:
    def __init__(self, asked: Wanted) -> None:
        self._kinds = [kind for _, kind in columns(asked.version)]
        self._writer = ParquetWriter(columns(asked.version), "UTC")

    def row(self, cells: list[Any]) -> bytes:
        return self._writer.add(
            [Decimal(cell).scaleb(-12) if kind == "number" and cell is not None else cell
             for cell, kind in zip(cells, self._kinds, strict=True)]
        )  # fmt: skip

    def end(self) -> bytes:
        return self._writer.end()


def _number(pico: int) -> str:
    """Trillionths as a decimal, exactly, with at least one digit behind the point."""
    whole, fraction = divmod(abs(pico), 10**12)
    text = f"{whole}.{f'{fraction:012d}'.rstrip('0') or '0'}"
    return f"-{text}" if pico < 0 else text


def _one_of(param: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise _invalid(param, f"{value[:40]!a} is no {param} here", f"Use {' or '.join(known)}.")
    return value


def _invalid(param: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{problem}.", hint=hint, param=param)
