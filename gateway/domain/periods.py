"""Periods and their windows: half-open intervals on the local calendar or clock of a zone.

A window is computed from the instant alone, so nothing has to be reset and two workers never disagree.

Calendar periods (day and longer) begin at a local midnight: the first instant at which the wall reads that
midnight or later. A day may therefore have 23 or 25 hours, a midnight that does not exist is replaced by
the instant the clock jumps, one that exists twice counts from its first time, and a day that a zone
skipped (Pacific/Apia, 2011-12-30) has no window. Clock periods (minute, hour) begin whenever the wall
reads a whole minute or hour: a repeated hour is an hour of its own, and where the clock moves by half an
hour (Australia/Lord_Howe) one window of the year has 90 minutes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from gateway.domain.errors import BadRequest
from gateway.domain.zones import (
    EPOCH,
    SECOND_US,
    check_timezone,
    first_instant,
    offset_change,
    offset_us,
    zone,
)

__all__ = [
    "BUCKETS",
    "DAY_US",
    "EARLIEST_US",
    "HOUR_US",
    "LATEST_US",
    "MINUTE_US",
    "PERIODS",
    "SLOT_US",
    "Buckets",
    "Period",
    "Window",
    "buckets",
    "next_window",
    "slot_of",
    "validate",
    "window",
]

MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
# The storage grain of sums. Since 1979 (Pacific/Kiritimati) every zone is a whole number of quarter hours
# from UTC.
SLOT_US: Final = 15 * MINUTE_US

_EPOCH_ORDINAL: Final = EPOCH.toordinal()
# What the calendar of the standard library can express, with room for the window around either end.
EARLIEST_US: Final = (datetime(2, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
LATEST_US: Final = (datetime(9998, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """One concrete `[start_us, end_us)` of a period; `end_us` is None for a lifetime."""

    start_us: int
    end_us: int | None

    def contains(self, at_us: int) -> bool:
        """Whether the instant lies in it: the caller's fast path before asking `window` again."""
        return self.start_us <= at_us and (self.end_us is None or at_us < self.end_us)


# From a local day (days since 1970-01-01) and the anchors to the first day of the window it is in and the
# first day after it.
_Days = Callable[[int, int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Period:
    """One kind of window. Exactly one of `clock_us` and `days` is set, neither for a lifetime.

    `anchor_days` is the largest `anchor_day` that has a meaning, 1 when it has none.
    """

    name: str
    clock_us: int | None = None
    days: _Days | None = None
    anchor_days: int = 1
    takes_month: bool = False


def _week(day: int, anchor_day: int, _: int) -> tuple[int, int]:
    # 1970-01-01 was a Thursday, three days after a Monday.
    first = day - (day + 3 - (anchor_day - 1)) % 7
    return first, first + 7


def _months(count: int) -> _Days:
    def days(day: int, anchor_day: int, anchor_month: int) -> tuple[int, int]:
        local = date.fromordinal(day + _EPOCH_ORDINAL)
        month = local.year * 12 + local.month - 1
        if local.day < anchor_day:
            month -= 1
        month -= (month - (anchor_month - 1)) % count
        return _month_day(month, anchor_day), _month_day(month + count, anchor_day)

    return days


def _month_day(month: int, day: int) -> int:
    year, month_of_year = divmod(month, 12)
    return date(year, month_of_year + 1, day).toordinal() - _EPOCH_ORDINAL


PERIODS: Final[Mapping[str, Period]] = {
    period.name: period
    for period in (
        Period("minute", clock_us=MINUTE_US),
        Period("hour", clock_us=HOUR_US),
        Period("day", days=lambda day, anchor_day, anchor_month: (day, day + 1)),
        Period("week", days=_week, anchor_days=7),
        Period("month", days=_months(1), anchor_days=28),
        Period("quarter", days=_months(3), anchor_days=28, takes_month=True),
        Period("year", days=_months(12), anchor_days=28, takes_month=True),
        Period("lifetime"),
    )
}
BUCKETS: Final = ("hour", "day", "week", "month")
# A year of hours, and some.
MOST_BUCKETS: Final = 10_000


def window(period: str, at_us: int, timezone: str, anchor_day: int = 1, anchor_month: int = 1) -> Window:
    """The window of a valid period that the instant lies in.

    `anchor_day` is the day of the month on which months and longer begin (1-28), or of the week (1-7,
    Monday is 1); `anchor_month` the month in which a year begins, quarters counting from it. A lifetime
    begins at the epoch, before any call. Callers keep the window and ask again only past its end.
    """
    assert EARLIEST_US <= at_us < LATEST_US, "instants come from a clock, or through `buckets`"
    kind = PERIODS[period]
    if kind.clock_us is not None:
        return _clock_window(zone(timezone), at_us, kind.clock_us)
    if kind.days is not None:
        return _calendar_window(zone(timezone), at_us, kind.days, anchor_day, anchor_month)
    return Window(0, None)


def next_window(
    period: str, current: Window, timezone: str, anchor_day: int = 1, anchor_month: int = 1
) -> Window | None:
    """The window that begins where this one ends; None after a lifetime."""
    if current.end_us is None:
        return None
    return window(period, current.end_us, timezone, anchor_day, anchor_month)


def _calendar_window(place: ZoneInfo, at_us: int, days: _Days, anchor_day: int, anchor_month: int) -> Window:
    wall_day = (at_us + offset_us(place, at_us)) // DAY_US
    first, after = days(wall_day, anchor_day, anchor_month)
    end_us = first_instant(place, after * DAY_US)
    # A clock set back over midnight reads the old day again, when the new one has already begun.
    while end_us <= at_us:
        first, after = days(after, anchor_day, anchor_month)
        end_us = first_instant(place, after * DAY_US)
    return Window(first_instant(place, first * DAY_US), end_us)


def _clock_window(place: ZoneInfo, at_us: int, step_us: int) -> Window:
    return Window(_clock_start(place, at_us, step_us), _clock_end(place, at_us, step_us))


def _clock_start(place: ZoneInfo, at_us: int, step_us: int) -> int:
    """The last instant up to this one at which the wall read a multiple of the step."""
    ahead_us = offset_us(place, at_us)
    start_us = at_us - (at_us + ahead_us) % step_us
    if offset_us(place, start_us) == ahead_us:
        return start_us
    change_us = offset_change(place, start_us, at_us)
    if (change_us + ahead_us) % step_us == 0:
        return change_us
    return _clock_start(place, change_us - 1, step_us)


def _clock_end(place: ZoneInfo, at_us: int, step_us: int) -> int:
    """The first instant after this one at which the wall reads a multiple of the step."""
    ahead_us = offset_us(place, at_us)
    end_us = at_us + step_us - (at_us + ahead_us) % step_us
    if offset_us(place, end_us) == ahead_us:
        return end_us
    change_us = offset_change(place, at_us, end_us)
    if (change_us + offset_us(place, change_us)) % step_us == 0:
        return change_us
    return _clock_end(place, change_us, step_us)


def validate(period: str, timezone: str, anchor_day: int = 1, anchor_month: int = 1) -> None:
    """Raise BadRequest for an unknown period or zone, or for an anchor that the period has no use for."""
    kind = PERIODS.get(period)
    if kind is None:
        raise _invalid("period", f"{period!r} is no period", f"Use one of {', '.join(PERIODS)}.")
    check_timezone(timezone)
    if not 1 <= anchor_day <= kind.anchor_days:
        raise _invalid(
            "anchor_day", f"{anchor_day} is no anchor day of a {period}", _ANCHOR_HINTS[kind.anchor_days]
        )
    if not 1 <= anchor_month <= (12 if kind.takes_month else 1):
        hint = "Give 1-12, the month in which the year begins." if kind.takes_month else "Leave it at 1."
        raise _invalid("anchor_month", f"{anchor_month} is no anchor month of a {period}", hint)


_ANCHOR_HINTS: Final = {
    1: "Leave it at 1.",
    7: "Give 1-7, Monday is 1.",
    28: "Give 1-28, days that every month has.",
}


def _invalid(param: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{problem}.", hint=hint, param=param)


def slot_of(at_us: int) -> int:
    """The start of the quarter hour, in UTC, that sums are stored under."""
    return at_us - at_us % SLOT_US


@dataclass(frozen=True, slots=True)
class Buckets:
    """The windows a report's rows are grouped by, in order and without a gap."""

    windows: tuple[Window, ...]
    _starts: tuple[int, ...]

    def start_of(self, at_us: int) -> int:
        """The start of the bucket that an instant, such as the start of a slot, lies in.

        A slot belongs to the bucket its start is in. No zone's hour or day begins inside a slot since 1980.
        """
        index = bisect_right(self._starts, at_us) - 1
        assert index >= 0, "the instant lies before the report"
        return self._starts[index]


def buckets(bucket: str, start_us: int, end_us: int, timezone: str) -> Buckets:
    """The hours, days, weeks (from Monday) or months of a zone that `[start_us, end_us)` touches.

    They are whole: the first may begin before `start_us`, the last end after `end_us`. Raises BadRequest for
    an unknown bucket or zone, for years out of reach, and for more buckets than a report may have.
    """
    if bucket not in BUCKETS:
        raise _invalid("bucket", f"{bucket!r} is no bucket", f"Use one of {', '.join(BUCKETS)}.")
    check_timezone(timezone)
    if start_us < EARLIEST_US or end_us > LATEST_US:
        raise _invalid("start", "The report reaches beyond the calendar", "Give years from 2 to 9997.")
    windows = tuple(islice(_windows(bucket, start_us, end_us, timezone), MOST_BUCKETS + 1))
    if len(windows) > MOST_BUCKETS:
        raise _invalid(
            "bucket",
            f"The report would have more than {MOST_BUCKETS} buckets",
            f"Ask for a shorter time, or for a bucket longer than the {bucket}.",
        )
    return Buckets(windows, tuple(each.start_us for each in windows))


def _windows(period: str, start_us: int, end_us: int, timezone: str) -> Iterator[Window]:
    while start_us < end_us:
        current = window(period, start_us, timezone)
        yield current
        assert current.end_us is not None, "a bucket ends"
        start_us = current.end_us
