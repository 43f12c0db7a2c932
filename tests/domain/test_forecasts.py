"""When the money will be gone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.forecasts import runs_out_at


def test_half_the_money_after_a_quarter_of_the_time_lasts_for_half() -> None:
    assert runs_out_at(1_000, 2_000, 1_250, spent=50, cap=100) == 1_500


def test_nothing_is_said_too_early_too_late_or_when_it_lasts() -> None:
    assert runs_out_at(0, 1_000, 99, spent=99, cap=100) is None
    assert runs_out_at(0, 1_000, 500, spent=100, cap=100) is None
    assert runs_out_at(0, 1_000, 500, spent=0, cap=100) is None
    assert runs_out_at(0, 1_000, 500, spent=50, cap=100) is None
    assert runs_out_at(0, 1_000, 500, spent=51, cap=100) == 980


@given(st.integers(1, 10**16), st.integers(0, 10**16), st.integers(1, 10**18), st.integers(1, 10**18))
def test_the_end_lies_ahead_and_inside_the_window(length: int, past: int, spent: int, cap: int) -> None:
    now_us = past % (length + 1)
    at_us = runs_out_at(0, length, now_us, spent, cap)
    assert at_us is None or now_us <= at_us < length
