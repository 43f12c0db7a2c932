"""Months of UTC, and where what belongs to a closed one goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.months import month_named, month_of, open_from
from gateway.domain.periods import window


@given(st.integers(0, 7_258_118_400_000_000 - 1))
def test_a_month_is_the_window_of_its_instants(at_us: int) -> None:
    month = month_of(at_us)
    assert month[1:] == (window("month", at_us, "UTC").start_us, window("month", at_us, "UTC").end_us)
    assert month_named(month.name) == month


@pytest.mark.parametrize("text", ["2026-13", "2026-0", "2026-00", "10-2026", "2026-10-01", "", "٢٠٢٦-10"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        month_named(text)


def test_the_next_open_month() -> None:
    closed = [(30, 40), (10, 20), (20, 30)]
    assert [open_from(at, closed) for at in (9, 10, 19, 35, 40, 99)] == [9, 40, 40, 40, 40, 99]
