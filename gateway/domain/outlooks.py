"""Forecasts: what a window will have cost at its end, and when a cap is reached, in integers alone.

The past is a row of complete local days; those before the first spend are no past. From 28 days on, a day to
come costs what its weekday cost on average; before, what all days did. Days to come count by the part of them
that lies ahead. The interval is the one that four windows in five would end in if days scattered as those of
the past did, independently:

    forecast ± 1.2816 * sqrt(variance of a day around its average * days ahead)

with the variance over n - 1 days (n - 7 by weekday), and never below what is spent already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isqrt
from typing import Final, NamedTuple

from gateway.domain.periods import DAY_US

__all__ = ["BY_WEEKDAY_DAYS", "Ahead", "Day", "Habit", "Outlook", "habit_of", "outlook"]

BY_WEEKDAY_DAYS: Final = 28
LEAST_DAYS: Final = 2
# The 90th percentile of the normal distribution, in ten-thousandths: one in ten lies above, one below.
_SPREAD: Final = 12_816
_SPREAD_UNIT: Final = 10_000


class Day(NamedTuple):
    """A complete local day: its weekday (Monday is 0) and what it cost in nano-USD."""

    weekday: int
    cost_nano: int


class Ahead(NamedTuple):
    """A local day to come, or what is left of it: `[start_us, end_us)` of a day of `whole_us`."""

    weekday: int
    start_us: int
    end_us: int
    whole_us: int


class Habit(NamedTuple):
    """What days cost: by weekday, in nano-USD, and the sum of squared deviations over `freedom` days."""

    by_weekday: tuple[int, ...]
    squares: int
    freedom: int
    days: int


class Outlook(NamedTuple):
    """What a window will have cost at its end, within which bounds, and when the cap is reached in it."""

    end_nano: int
    low_nano: int
    high_nano: int
    cap_reached_us: int | None


def habit_of(days: Sequence[Day]) -> Habit | None:
    """What the past teaches, oldest day first; None where it is shorter than LEAST_DAYS."""
    first = next((index for index, day in enumerate(days) if day.cost_nano), len(days))
    past = days[first:]
    if len(past) < LEAST_DAYS:
        return None
    by_weekday = len(past) >= BY_WEEKDAY_DAYS
    means = tuple(
        _mean([day.cost_nano for day in past if not by_weekday or day.weekday == weekday])
        for weekday in range(7)
    )
    squares = sum((day.cost_nano - means[day.weekday]) ** 2 for day in past)
    return Habit(means, squares, len(past) - (7 if by_weekday else 1), len(past))


def outlook(spent_nano: int, habit: Habit, ahead: Iterable[Ahead], cap_nano: int | None) -> Outlook:
    """The end of a window of which `spent_nano` is spent and the days `ahead` are left, in order."""
    expected, ahead_us = spent_nano, 0
    reached_us = None
    for day in ahead:
        length_us = day.end_us - day.start_us
        cost = habit.by_weekday[day.weekday] * length_us // day.whole_us
        if cap_nano is not None and reached_us is None and expected + cost >= cap_nano:
            missing = max(0, cap_nano - expected)
            reached_us = day.start_us + (missing * length_us // cost if cost else 0)
        expected += cost
        ahead_us += length_us
    reach = isqrt(habit.squares * _SPREAD**2 * ahead_us // (habit.freedom * DAY_US)) // _SPREAD_UNIT
    return Outlook(expected, max(spent_nano, expected - reach), expected + reach, reached_us)


def _mean(costs: Sequence[int]) -> int:
    """The average, rounded down."""
    return sum(costs) // len(costs) if costs else 0
