"""Costs: one line a meter, the sum of the lines, and nothing that is silently free."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.costing import NEGATIVE, UNPRICED, Charge, Line, cost
from gateway.domain.money import line_cost
from gateway.domain.prices import UNPRICED_TIER, PriceRow, RateCard, with_id
from gateway.domain.usage import METERS

NOW = 1_764_000_000_000_000


def row(meter: str, pico: int, **fields: Any) -> PriceRow:
    return with_id(PriceRow("", "openai", "gpt-4.1", meter, pico, **fields))


def card(*rows: PriceRow) -> RateCard:
    return RateCard("openai", "gpt-4.1", rows)


GPT = card(row("input", 2_000_000), row("cache_read", 500_000), row("output", 8_000_000))


def test_a_charge_names_the_rows_it_is_made_of() -> None:
    charge = cost({"input": 100, "cache_read": 1024, "output": 7}, GPT, NOW)
    ids = {each.meter: each.id for each in GPT.rows}
    assert charge == Charge(
        lines=(
            Line("input", 100, ids["input"], 2_000_000, 200_000, 200_000),
            Line("cache_read", 1024, ids["cache_read"], 500_000, 512_000, 512_000),
            Line("output", 7, ids["output"], 8_000_000, 56_000, 56_000),
        ),
        total_nano=768_000,
        list_nano=768_000,
        flags=(),
    )


def test_a_meter_that_pays_anothers_price_has_its_own_line() -> None:
    charge = cost({"output": 1, "reasoning": 2}, GPT, NOW)
    assert [(line.meter, line.price_id, line.cost_nano) for line in charge.lines] == [
        ("output", GPT.rows[2].id, 8_000),
        ("reasoning", GPT.rows[2].id, 16_000),
    ]


def test_what_was_not_consumed_has_no_line_and_no_flag() -> None:
    assert cost({"input": 0, "web_search": 0}, GPT, NOW) == Charge((), 0, 0, ())
    assert cost({}, GPT, NOW) == Charge((), 0, 0, ())


def test_what_nobody_priced_is_flagged() -> None:
    charge = cost({"input": 1, "web_search": 2, "parsecs": 3}, GPT, NOW)
    assert charge.total_nano == 2_000
    assert charge.flags == (UNPRICED + "web_search", UNPRICED + "parsecs")


def test_a_price_of_zero_is_a_price() -> None:
    charge = cost({"input": 5}, card(row("input", 0)), NOW)
    assert [(line.price_pico, line.cost_nano) for line in charge.lines] == [(0, 0)]
    assert charge.flags == ()


def test_a_negative_quantity_takes_nothing_off_and_is_flagged() -> None:
    charge = cost({"input": 10, "output": -3}, GPT, NOW)
    assert (charge.total_nano, charge.flags) == (20_000, (NEGATIVE + "output",))


def test_a_context_tier_is_decided_by_all_input_cached_or_not() -> None:
    tiered = card(row("input", 2_000), row("cache_read", 1_000), row("input", 4_000, context_over=100))
    assert cost({"input": 50, "cache_read": 50}, tiered, NOW).total_nano == 150
    assert cost({"input": 50, "cache_read": 51}, tiered, NOW).total_nano == 251


def test_the_served_tier_decides_the_rate() -> None:
    tiers = card(row("output", 8_000), row("output", 4_000, service_tier="flex"))
    assert [cost({"output": 1}, tiers, NOW, tier).total_nano for tier in (None, "default", "flex")] == [
        8,
        8,
        4,
    ]
    charge = cost({"output": 1}, tiers, NOW, "scale")
    assert (charge.total_nano, charge.flags) == (8, (UNPRICED_TIER,))


def test_a_call_is_one_request_where_requests_have_a_fee() -> None:
    sonar = card(row("input", 1_000), row("requests", 5_000_000))
    assert cost({"input": 1}, sonar, NOW).total_nano == 5_001
    assert cost({"input": 1, "requests": 2}, sonar, NOW).total_nano == 10_001
    assert cost({}, sonar, NOW).total_nano == 0
    assert cost({"input": 1, "requests": 1}, GPT, NOW).flags == ()


def test_a_contracted_price_keeps_the_list_price_beside_it() -> None:
    cards = card(
        row("input", 2_000_000),
        row("output", 8_000_000),
        row("output", 6_000_000, account="acct_team"),
        row("web_search", 10_000_000_000, account="acct_team"),
    )
    charge = cost({"input": 10, "output": 10, "web_search": 1}, cards.for_accounts(["acct_team"]), NOW)
    assert [(line.meter, line.cost_nano, line.list_nano) for line in charge.lines] == [
        ("input", 20_000, 20_000),
        ("output", 60_000, 80_000),
        ("web_search", 10_000_000, 0),
    ]
    assert (charge.total_nano, charge.list_nano) == (10_080_000, 100_000)


@given(
    st.dictionaries(st.sampled_from(METERS), st.integers(0, 10**9), max_size=8),
    st.dictionaries(st.sampled_from(METERS), st.integers(0, 10**9), max_size=8),
)
def test_a_charge_is_the_sum_of_its_lines_and_each_line_is_rounded_once(
    usage: dict[str, int], prices: dict[str, int]
) -> None:
    charge = cost(usage, card(*(row(meter, pico) for meter, pico in prices.items())), NOW)
    assert charge.total_nano == sum(line.cost_nano for line in charge.lines)
    assert charge.list_nano == charge.total_nano
    assert all(line.cost_nano == line_cost(line.quantity, line.price_pico) for line in charge.lines)
    priced = {line.meter for line in charge.lines}
    flagged = {flag.removeprefix(UNPRICED) for flag in charge.flags}
    consumed = {meter for meter, quantity in usage.items() if quantity}
    assert priced.isdisjoint(flagged)
    assert consumed - {"requests"} <= priced | flagged
