"""Exchange: exact to the last digit, symmetric, and strict about what a rate and a day are."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.exchange import check_currency, converted, format_rate, parse_day, parse_rate

AMOUNTS = st.integers(-(2**63), 2**63)
RATES = st.integers(1, 10**15)


@given(nano=AMOUNTS, rate=RATES)
def test_an_amount_is_off_by_half_a_billionth_at_most(nano: int, rate: int) -> None:
    exact = Fraction(nano * rate, 10**9)
    assert abs(converted(nano, rate) - exact) <= Fraction(1, 2)


@given(nano=AMOUNTS, rate=RATES)
def test_what_is_taken_back_is_what_was_added(nano: int, rate: int) -> None:
    assert converted(-nano, rate) == -converted(nano, rate)


@given(nano=AMOUNTS)
def test_one_for_one_changes_nothing(nano: int) -> None:
    assert converted(nano, 10**9) == nano


def test_halves_go_away_from_zero() -> None:
    assert [converted(nano, 500_000_000) for nano in (1, 3, -1, -3, 0)] == [1, 2, -1, -2, 0]


def test_rates_are_read_and_written_exactly() -> None:
    assert parse_rate("0.9214") == 921_400_000
    assert format_rate(parse_rate("150.123456789")) == "150.123456789"


@pytest.mark.parametrize("text", ["0", "-1", "NaN", "1.0000000001", "", "1e400"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_rate(text)


@pytest.mark.parametrize("text", ["2026-02-30", "2026-1-1", "today", "2026-01-01T00:00:00Z"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_day(text)


@pytest.mark.parametrize("code", ["eur", "EURO", "E", "€", "EU1"])
def test_what_is_no_currency_is_refused(code: str) -> None:
    with pytest.raises(BadRequest):
        check_currency(code)
