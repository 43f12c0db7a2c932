"""Accounting months: calendar months in UTC, which is the calendar of invoices and of the FOCUS format."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from gateway.domain.errors import BadRequest
from gateway.domain.zones import EPOCH

__all__ = ["Month", "month_named", "month_of", "open_from"]

_MONTH: Final = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2200


class Month(NamedTuple):
    """A month by name (`2026-10`) and as instants `[start_us, end_us)`."""

    name: str
    start_us: int
    end_us: int


def month_named(text: str, *, param: str = "period") -> Month:
    """The month of a name; BadRequest for anything else."""
    found = _MONTH.fullmatch(text)
    if found is None or not 1 <= int(found[2]) <= 12 or not FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
        raise BadRequest("invalid_value", f"{text[:40]!a} is no month.", hint="Write 2026-10.", param=param)
    return _month(int(found[1]), int(found[2]))


def month_of(at_us: int) -> Month:
    """The month that an instant is in."""
    at = EPOCH + timedelta(microseconds=at_us)
    return _month(at.year, at.month)


def open_from(at_us: int, closed: Iterable[tuple[int, int]]) -> int:
    """The instant itself, or the start of the first month after it that is not closed.

    `closed` are `[start, end)` of closed months.
    """
    for start_us, end_us in sorted(closed):
        if start_us <= at_us < end_us:
            at_us = end_us
    return at_us


def _month(year: int, month: int) -> Month:
    after = (year + 1, 1) if month == 12 else (year, month + 1)
    return Month(f"{year:04d}-{month:02d}", _first(year, month), _first(*after))


def _first(year: int, month: int) -> int:
    return (datetime(year, month, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
