"""Exchange rates in SQL: one per currency and day, added and never changed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from gateway.domain.errors import BadRequest
from gateway.domain.exchange import USD, Rate, check_currency, format_rate, parse_day, parse_rate
from gateway.store.sql import many, run

__all__ = ["Imported", "add_rates", "describe", "list_rates", "rates_of", "read_rates", "stated_rate"]

COLUMNS = ("date", "currency", "rate")


class Imported(NamedTuple):
    """How many rates were added and how many were there, and those that say something else than is there."""

    added: int
    unchanged: int
    conflicts: tuple[tuple[Rate, Rate], ...]


def stated_rate(currency: str, day: str, rate: str, source: str) -> Rate:
    """A rate as somebody writes it; BadRequest names the field that is wrong."""
    check_currency(currency)
    if currency == USD:
        raise BadRequest(
            "invalid_value", "One USD is one USD.", hint="Give another currency.", param="currency"
        )
    return Rate(currency, parse_day(day), parse_rate(rate), source)


def read_rates(text: str, name: str) -> list[Rate]:
    """The rates of a CSV file with the columns `date`, `currency` and `rate`; BadRequest names the line."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    return list(_rates(reader, name))


def _rates(reader: csv.DictReader[str], name: str) -> Iterator[Rate]:
    try:
        for row in reader:
            if set(row) - {None} < set(COLUMNS) or None in row.values():
                raise BadRequest(
                    "invalid_value", "a column is missing", hint=f"The columns are {', '.join(COLUMNS)}."
                )
            yield stated_rate(row["currency"], row["date"], row["rate"], f"file {name}")
    except csv.Error as problem:
        raise BadRequest("invalid_value", f"line {reader.line_num}: {problem}.", param="file") from None
    except BadRequest as refusal:
        raise BadRequest(
            refusal.code, f"line {reader.line_num}: {refusal.message}", hint=refusal.hint, param="file"
        ) from None


def add_rates(conn: Connection, rates: Sequence[Rate], now_us: int) -> Imported:
    """Add those that are new. A day that has another rate keeps it, and is reported."""
    there = {(each.currency, each.day): each for each in list_rates(conn)}
    new: dict[tuple[str, str], Rate] = {}
    conflicts = []
    for rate in rates:
        key = (rate.currency, rate.day)
        known = there.get(key) or new.setdefault(key, rate)
        if known.rate_nano != rate.rate_nano:
            conflicts.append((rate, known))
    many(
        conn,
        "INSERT INTO fx (currency, day, rate_nano, source, created_at) VALUES (?, ?, ?, ?, ?)",
        [(*rate, now_us) for _, rate in sorted(new.items())],
    )
    return Imported(len(new), len(rates) - len(new) - len(conflicts), tuple(conflicts))


def list_rates(
    conn: Connection, *, currency: str | None = None, before: str | None = None, limit: int | None = None
) -> list[Rate]:
    """Rates, the latest day first; of one currency, or older than the row `before` (`day:currency`)."""
    day, _, code = (before or "").partition(":")
    tests, values = ["1 = 1"], []
    if currency is not None:
        tests.append("currency = ?")
        values.append(currency)
    if before is not None:
        tests.append("(day < ? OR (day = ? AND currency > ?))")
        values += [day, day, code]
    end = "" if limit is None else f" LIMIT {limit}"
    rows = run(
        conn,
        f"SELECT currency, day, rate_nano, source FROM fx WHERE {' AND '.join(tests)}"
        f" ORDER BY day DESC, currency{end}",
        values,
    )
    return [Rate(*row) for row in rows]


def rates_of(conn: Connection, currency: str) -> list[Rate]:
    """All rates of a currency, the earliest day first."""
    return list_rates(conn, currency=currency)[::-1]


def describe(rate: Rate, there: Rate) -> str:
    """In words, that a day has another rate."""
    return (
        f"{there.currency} is {format_rate(there.rate_nano)} on {there.day} by {there.source}, "
        f"not {format_rate(rate.rate_nano)}"
    )
