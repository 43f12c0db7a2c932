"""Money: exact both ways, rounded once."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.money import format_price, format_usd, line_cost, parse_price, parse_usd, price_pico

nanos = st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)
decimals = st.decimals(min_value=0, max_value=9_000_000, places=11)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("-0", 0),
        ("25.00", 25_000_000_000),
        ("0.000000001", 1),
        ("+3.20", 3_200_000_000),
        ("1e-9", 1),
        ("1.5E3", 1_500_000_000_000),
        ("0.1000000000", 100_000_000),
        ("9223372036.854775807", 2**63 - 1),
    ],
)
def test_a_decimal_string_is_read_exactly(text: str, nano: int) -> None:
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "value",
    [
        *("", " 1", "1 ", "1.", ".5", "1,5", "1_000", "0x10", "NaN", "nan", "Infinity", "-inf", "$5", "٣"),
        *("0.0000000001", "1e-10", "1.0000000001", "9223372036.854775808", "1e99", "1e999", "1" * 10_000),
        *("-1", "-0.000000001", "1\n", "--1"),
        *(0.1, 1, None, True, float("nan"), b"1", Decimal("1.5")),
    ],
)
def test_what_is_no_exact_amount_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse_usd(value, param="cap")
    assert refusal.value.code == "invalid_value"
    assert refusal.value.param == "cap"
    assert refusal.value.hint


def test_a_negative_amount_is_read_where_it_is_allowed() -> None:
    assert parse_usd("-1.25", negative=True) == -1_250_000_000


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0"), (1, "0.000000001"), (25_000_000_000, "25"), (3_200_000_000, "3.2"), (-1_500_000_000, "-1.5")],
)
def test_an_amount_is_written_with_the_digits_it_needs(nano: int, text: str) -> None:
    assert format_usd(nano) == text


@given(nanos)
def test_an_amount_survives_writing_and_reading(nano: int) -> None:
    text = format_usd(nano)
    assert parse_usd(text, negative=True) == nano
    assert "e" not in text.lower()
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("0.0375", 37_500),
        ("8.00", 8_000_000),
        ("0", 0),
        ("0.0000005", 1),
        ("0.00000049", 0),
        ("15", 15_000_000),
    ],
)
def test_a_price_per_million_is_pico_per_unit(text: str, pico: int) -> None:
    assert parse_price(text) == pico


@given(st.integers(min_value=0, max_value=2**53))
def test_a_price_survives_writing_and_reading(pico: int) -> None:
    assert parse_price(format_price(pico)) == pico


@given(decimals, st.sampled_from([1, 1000, 3600, 1_000_000]))
def test_a_price_is_rounded_half_up(value: Decimal, per: int) -> None:
    with localcontext() as context:
        context.prec = 60
        exact = value * 10**12 / per
        expected = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    assert price_pico(f"{value:f}", per) == expected


@pytest.mark.parametrize("text", ["-1", "NaN", "1e99", "free", ""])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_price(text)


@given(st.integers(min_value=0, max_value=10**12), st.integers(min_value=0, max_value=10**15))
def test_a_line_is_rounded_half_up_once(quantity: int, pico: int) -> None:
    doubled = 2 * quantity * pico
    nano = line_cost(quantity, pico)
    assert doubled - 1000 < 2000 * nano <= doubled + 1000


def test_half_a_nano_is_rounded_up() -> None:
    assert (line_cost(1, 499), line_cost(1, 500), line_cost(3, 500)) == (0, 1, 2)
