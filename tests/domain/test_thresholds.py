"""Thresholds: each crossed once on the way up, however the way is cut into moves."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.thresholds import crossed

amounts = st.integers(0, 10**19)
caps = st.integers(1, 10**18)
percents = st.lists(st.integers(1, 1000), max_size=8)


@given(before=amounts, after=amounts, cap=caps, thresholds=percents)
def test_a_threshold_is_crossed_when_its_part_of_the_cap_is_reached(
    before: int, after: int, cap: int, thresholds: list[int]
) -> None:
    expected = {percent for percent in thresholds if before < Fraction(percent * cap, 100) <= after}
    assert crossed(before, after, cap, thresholds) == tuple(sorted(expected))


@given(path=st.lists(amounts, min_size=2, max_size=12), cap=st.integers(0, 10**18), thresholds=percents)
def test_a_way_cut_into_moves_crosses_what_the_whole_way_does(
    path: list[int], cap: int, thresholds: list[int]
) -> None:
    path = sorted(path)
    steps = [percent for a, b in itertools.pairwise(path) for percent in crossed(a, b, cap, thresholds)]
    assert sorted(steps) == list(crossed(path[0], path[-1], cap, thresholds))


@given(after=amounts, by=st.integers(0, 10**18), cap=st.integers(0, 10**18), thresholds=percents)
def test_a_correction_downwards_crosses_nothing(after: int, by: int, cap: int, thresholds: list[int]) -> None:
    assert crossed(after + by, after, cap, thresholds) == ()


@pytest.mark.parametrize(
    ("before", "after", "cap", "expected"),
    [
        (0, 10, 10, (50, 80, 100)),
        (0, 9, 10, (50, 80)),
        (8, 10, 10, (100,)),
        (0, 7, 9, (50,)),  # 80 % of 9 is 7.2
        (0, 8, 9, (50, 80)),
        (10, 20, 10, ()),
        (0, 0, 0, ()),
        (0, 1, 0, (50, 80, 100)),
        (1, 2, 0, ()),
        (-5, 0, 0, ()),
        (-5, 1, 0, (50, 80, 100)),
    ],
)
def test_known_moves(before: int, after: int, cap: int, expected: tuple[int, ...]) -> None:
    assert crossed(before, after, cap, (100, 80, 50, 80)) == expected
