"""Forecasts worked out by hand, and what must hold for any past."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.outlooks import Ahead, Day, habit_of, outlook
from gateway.domain.periods import DAY_US


def ahead(count: int, first: int = 0) -> list[Ahead]:
    return [Ahead((first + day) % 7, day * DAY_US, (day + 1) * DAY_US, DAY_US) for day in range(count)]


def test_a_past_of_one_day_is_none() -> None:
    assert habit_of([]) is None
    assert habit_of([Day(0, 5)]) is None
    assert habit_of([Day(0, 0), Day(1, 0), Day(2, 7)]) is None


def test_a_steady_past_goes_on_without_doubt() -> None:
    habit = habit_of([Day(day % 7, 100) for day in range(10)])
    assert habit is not None
    assert outlook(50, habit, ahead(3), None) == (350, 350, 350, None)


def test_weekdays_count_from_28_days_on() -> None:
    days = [Day(day % 7, 0 if day % 7 >= 5 else 100) for day in range(28)]
    habit = habit_of(days)
    assert habit is not None
    assert habit.by_weekday == (100, 100, 100, 100, 100, 0, 0)
    assert outlook(0, habit, ahead(7), None)[:3] == (500, 500, 500)
    shorter = habit_of(days[:21])
    assert shorter is not None
    assert set(shorter.by_weekday) == {1500 // 21}


def test_the_interval_is_the_one_that_is_documented() -> None:
    """Days of 90 and 110: a variance of 4 * 100 / 3, over 3 days ahead, is a reach of 1.2816 * 20."""
    habit = habit_of([Day(0, 90), Day(1, 110), Day(2, 90), Day(3, 110)])
    assert habit is not None
    assert outlook(1000, habit, ahead(3), None)[:3] == (1300, 1300 - 25, 1300 + 25)


def test_a_part_of_a_day_counts_as_that_part() -> None:
    habit = habit_of([Day(0, 100), Day(1, 100)])
    assert habit is not None
    half = [Ahead(0, DAY_US // 2, DAY_US, DAY_US), Ahead(1, DAY_US, 2 * DAY_US, DAY_US)]
    found = outlook(0, habit, half, 100)
    assert found.end_nano == 150
    assert found.cap_reached_us == DAY_US + DAY_US // 2


def test_a_cap_that_is_spent_is_reached_now() -> None:
    habit = habit_of([Day(0, 100), Day(1, 100)])
    assert habit is not None
    assert outlook(500, habit, ahead(2), 500).cap_reached_us == 0
    assert outlook(0, habit, ahead(2), 201).cap_reached_us is None


@given(
    costs=st.lists(st.integers(0, 10**15), min_size=2, max_size=60),
    spent=st.integers(0, 10**15),
    count=st.integers(1, 40),
    cap=st.integers(0, 10**16),
)
def test_bounds_hold_for_any_past(costs: list[int], spent: int, count: int, cap: int) -> None:
    habit = habit_of([Day(index % 7, cost) for index, cost in enumerate(costs)])
    if habit is None:
        return
    found = outlook(spent, habit, ahead(count), cap)
    assert spent <= found.low_nano <= found.end_nano <= found.high_nano
    assert (found.cap_reached_us is None) == (found.end_nano < cap)
    if found.cap_reached_us is not None:
        assert 0 <= found.cap_reached_us <= count * DAY_US
