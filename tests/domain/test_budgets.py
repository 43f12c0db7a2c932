"""What a unit counts, and how its amounts are written."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.budgets import CAP_MAX, UNITS, Budget, Unit, amount, cap_from_text, cap_to_text, need
from gateway.domain.errors import BadRequest

units = st.sampled_from(UNITS).map(lambda name: cast(Unit, name))
counts = st.integers(0, 10**15)


@pytest.mark.parametrize(
    ("unit", "needed", "spent"),
    [("usd", 700, 700), ("tokens", 30, 30), ("requests", 1, 1), ("concurrent", 1, 0)],
)
def test_what_a_call_holds_and_spends(unit: Unit, needed: int, spent: int) -> None:
    assert need(unit, cost_nano=700, tokens=30) == needed
    assert amount(unit, cost_nano=700, tokens=30) == spent
    assert amount(unit, cost_nano=700, tokens=30, is_void=True) == 0


@given(unit=units, held=st.tuples(counts, counts), used=st.tuples(counts, counts), is_void=st.booleans())
def test_a_call_within_its_quote_spends_no_more_than_it_held(
    unit: Unit, held: tuple[int, int], used: tuple[int, int], is_void: bool
) -> None:
    """What makes a hold of every unit safe to settle."""
    cost, tokens = min(held[0], used[0]), min(held[1], used[1])
    assert 0 <= amount(unit, cost, tokens, is_void) <= need(unit, *held)


@given(unit=units, value=st.integers(0, CAP_MAX))
def test_a_cap_is_read_back_as_it_was_written(unit: Unit, value: int) -> None:
    assert cap_from_text(unit, cap_to_text(unit, value)) == value


@pytest.mark.parametrize(
    ("unit", "text", "value"),
    [
        ("usd", "25.00", 25_000_000_000),
        ("usd", "0.000000001", 1),
        ("usd", "1000000000", CAP_MAX),
        ("tokens", "100000", 100_000),
        ("requests", "0", 0),
        ("concurrent", "64", 64),
    ],
)
def test_known_caps(unit: Unit, text: str, value: int) -> None:
    assert cap_from_text(unit, text) == value


@pytest.mark.parametrize("value", [-1, -2_500_000_000])
@pytest.mark.parametrize("unit", UNITS)
def test_a_headroom_after_an_overrun_is_written_with_its_sign(unit: Unit, value: int) -> None:
    assert cap_to_text(unit, value) == "-" + cap_to_text(unit, -value)


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        *(
            ("usd", text)
            for text in ("", "-1", "1,5", "NaN", "0.0000000001", "1000000000.000000001", "9" * 99)
        ),
        *(("tokens", text) for text in ("", "-1", "1.5", "1e6", " 1", "1_000", "٣", "9" * 19, "9" * 100_000)),
        *(("requests", text) for text in ("ten", "0x10", "+5")),
        *(("concurrent", cast(str, value)) for value in (5, 5.0, None, True)),
    ],
)
def test_other_texts_are_refused(unit: Unit, text: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        cap_from_text(unit, text, param="amount")
    assert refusal.value.code == "invalid_value"
    assert refusal.value.param == "amount"
    assert refusal.value.hint
    assert len(refusal.value.message) < 150


@pytest.mark.parametrize(
    ("period", "is_rate"), [("minute", True), ("hour", True), ("day", False), ("lifetime", False)]
)
def test_rates_are_by_the_minute_or_hour(period: str, is_rate: bool) -> None:
    assert Budget(id="bud_1", name="b", unit="tokens", cap=1, period=period).is_rate is is_rate
