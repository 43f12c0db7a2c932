from __future__ import annotations

import pytest

from gateway.dashboard.wording import amount, moment, money, number


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0", "$0.00"),
        ("0.000000001", "< $0.0001"),
        ("0.0688", "$0.0688"),
        ("0.5", "$0.50"),
        ("47.705", "$47.71"),
        ("1234567.891", "$1,234,567.89"),
        ("-2.5", "-$2.50"),
    ],
)
def test_money_is_short_and_never_zero_for_what_is_not(value: str, said: str) -> None:
    assert money(value) == said


def test_other_currencies_carry_their_names() -> None:
    assert money("3", "EUR") == "€3.00"
    assert money("3", "CHF") == "CHF 3.00"


def test_amounts_follow_their_unit() -> None:
    assert amount("1500000", "tokens") == "1,500,000"
    assert amount("2.5", "usd") == "$2.50"
    assert amount(None, "usd") == money(None) == number(None) == moment(None) == ""


def test_instants_are_shown_in_their_zone() -> None:
    assert moment("2026-10-31T23:00:00Z", "Europe/Berlin") == "2026-11-01 00:00"
