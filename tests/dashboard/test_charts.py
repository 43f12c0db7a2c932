from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.charts import MOST_SERIES, OTHERS, burn_down, ceiling, meter, share, stacked

amounts = st.decimals(min_value=0, max_value=10**9, places=6)


@given(amounts)
def test_an_axis_ends_at_a_round_figure_not_far_above(value: Decimal) -> None:
    top = ceiling(value)
    assert top >= value
    assert value == 0 or top <= 2 * value


@given(st.dictionaries(st.tuples(st.sampled_from("abcde"), st.text(max_size=3)), amounts, max_size=40))
def test_bars_are_as_high_as_what_they_show(figures: dict[tuple[str, str], Decimal]) -> None:
    chart = stacked(figures, list("abcde"))
    whole = sum(figures.values())
    drawn = sum(bar.height for bar in chart.bars)
    most = max((sum(v for (b, _), v in figures.items() if b == bucket) for bucket in "abcde"), default=0)
    top = float(ceiling(Decimal(most)))
    usable = chart.bottom - chart.rows[-1].at
    assert abs(drawn * top / usable - float(whole)) <= 1e-6 * top
    assert all(bar.y >= chart.rows[-1].at - 1e-6 for bar in chart.bars)
    assert len(chart.series) <= MOST_SERIES


def test_what_is_beyond_the_colours_is_one_series() -> None:
    figures = {("mon", f"model-{number}"): Decimal(number) for number in range(1, 12)}
    chart = stacked(figures, ["mon"])
    assert chart.series[:2] == ["model-11", "model-10"]
    assert chart.series[-1] == OTHERS
    assert len(chart.bars) == MOST_SERIES


def test_a_meter_holds_spent_and_held_in_one_bar() -> None:
    assert meter(Decimal(30), Decimal(20), Decimal(100)).held == 20.0
    assert meter(Decimal(90), Decimal(20), Decimal(100)).held == 10.0
    assert meter(Decimal(80), Decimal(0), Decimal(100)).is_near
    assert meter(Decimal(120), Decimal(0), Decimal(100)).is_over
    assert meter(Decimal(0), Decimal(0), Decimal(0)).spent == 0.0
    assert meter(Decimal(1), Decimal(0), Decimal(0)).is_over
    assert not share(Decimal(1), Decimal(1)).is_over


def test_a_burn_down_reaches_what_was_spent() -> None:
    chart = burn_down([("2026-11-01", Decimal(10)), ("2026-11-02", Decimal(15))], Decimal(100), 30)
    assert len(chart.line.split()) == 3
    assert chart.cap_at == chart.rows[-1].at
    assert len(chart.pace.split()) == 2
