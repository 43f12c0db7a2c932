"""Local time: what a clock on the wall of a zone reads, and when it first reads a given value.

Instants are microseconds since the epoch. A "wall" value is what the zone's clock reads, as microseconds
since 1970-01-01 00:00 on that clock, so that calendar arithmetic is integer arithmetic and only the offset
between the two comes from the IANA database.
"""

from __future__ import annotations

import difflib
import functools
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateway.domain.errors import BadRequest

__all__ = ["check_timezone", "first_instant", "offset_change", "offset_us", "zone"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US: Final = 1_000_000
# Names in the database that are no place: the machine's own zone, and the placeholder for none set.
_UNFIT: Final = frozenset({"Factory", "localtime", "posixrules"})
_LONGEST_NAME: Final = 64


# ZoneInfo itself keeps only eight zones for certain, and reading a file during a call is too slow.
@functools.lru_cache(maxsize=1024)
def zone(timezone: str) -> ZoneInfo:
    """The zone of a name that `check_timezone` has passed."""
    return ZoneInfo(timezone)


def offset_us(place: ZoneInfo, at_us: int) -> int:
    """How far the wall is ahead of UTC at an instant."""
    return _offset((EPOCH + timedelta(microseconds=at_us)).astimezone(place))


def first_instant(place: ZoneInfo, wall_us: int) -> int:
    """The first instant at which the wall reads `wall_us` or later."""
    reading = (EPOCH + timedelta(microseconds=wall_us)).replace(tzinfo=place)
    # PEP 495: with fold=0 a repeated reading is its first time; a skipped one goes by the offset before
    # the jump, which puts it after the jump, and with fold=1 before it.
    instant_us = wall_us - _offset(reading)
    if instant_us + offset_us(place, instant_us) == wall_us:
        return instant_us
    return offset_change(place, wall_us - _offset(reading.replace(fold=1)), instant_us)


def offset_change(place: ZoneInfo, before_us: int, after_us: int) -> int:
    """The instant after `before_us`, up to `after_us`, from which another offset holds.

    There must be exactly one. Clocks change at whole seconds.
    """
    old_us = offset_us(place, before_us)
    low, high = before_us // SECOND_US, -(-after_us // SECOND_US)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_us(place, middle * SECOND_US) == old_us:
            low = middle
        else:
            high = middle
    return high * SECOND_US


def _offset(reading: datetime) -> int:
    offset = reading.utcoffset()
    assert offset is not None, "a reading carries its zone"
    return offset // timedelta(microseconds=1)


def check_timezone(timezone: str, *, param: str = "timezone") -> None:
    """Raise BadRequest for anything but a name in the IANA database; the hint has the likeliest one meant."""
    names = _names()
    if names.get(timezone.lower()) == timezone:
        return
    meant = difflib.get_close_matches(timezone[:_LONGEST_NAME].lower(), names, n=1)
    hint = (
        f"Did you mean {names[meant[0]]!r}?"
        if meant
        else "Give an IANA name such as 'Europe/Berlin' or 'UTC'."
    )
    raise BadRequest(
        "invalid_value", f"{timezone[:_LONGEST_NAME]!r} is no time zone.", hint=hint, param=param
    )


@functools.lru_cache(maxsize=1)
def _names() -> Mapping[str, str]:
    """The database's names by their lower-case spelling. Listing them walks a folder: once is enough."""
    return {name.lower(): name for name in sorted(zoneinfo.available_timezones() - _UNFIT)}
