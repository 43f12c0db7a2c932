"""Quotes: never below a cost within their bounds, never above what one could be; and their inverse."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.costing import UNPRICED, cost
from gateway.domain.prices import UNPRICED_TIER, PriceRow, RateCard, with_id
from gateway.domain.quotes import (
    UNKNOWN_CONTEXT,
    UNKNOWN_CONTEXT_TOKENS,
    Asked,
    Quote,
    affordable_output,
    quote,
)
from gateway.domain.usage import INPUT_METERS, OUTPUT_METERS, UNIT_OF

NOW = 1_764_000_000_000_000


@dataclass(frozen=True)
class Call:
    """The plainest thing that satisfies `Asked`."""

    input_bound: int = 100
    unseen_input: bool = False
    loops: int = 1
    choices: int = 1
    output_extra: int = 0
    fees: Mapping[str, int] = field(default_factory=dict)
    service_tier: str | None = None
    prices_apart: frozenset[str] = frozenset()


def row(meter: str, pico: int, **fields: Any) -> PriceRow:
    return with_id(PriceRow("", "openai", "gpt-4.1", meter, pico, **fields))


def card(*rows: PriceRow) -> RateCard:
    return RateCard("openai", "gpt-4.1", rows)


GPT = card(row("input", 2_000_000), row("cache_read", 500_000), row("output", 8_000_000))


def test_a_plain_call_is_quoted_at_its_bound_and_its_cap() -> None:
    asked: Asked = Call(input_bound=100)
    assert quote(GPT, asked, 50, None, NOW) == Quote(100, 50, 100 * 2_000 + 50 * 8_000)
    assert quote(GPT, asked, 50, None, NOW).tokens == 150


def test_output_counts_for_every_choice_and_loops_repeat_the_input() -> None:
    asked = Call(input_bound=100, loops=3, choices=2, output_extra=5)
    assert quote(GPT, asked, 50, None, NOW) == Quote(300, 110, 300 * 2_000 + 110 * 8_000)


def test_unseen_input_is_quoted_at_the_context_window() -> None:
    asked = Call(input_bound=100, unseen_input=True)
    assert quote(GPT, asked, 0, 128_000, NOW).input_tokens == 128_000
    assert quote(GPT, asked, 0, 90, NOW).input_tokens == 100
    unknown = quote(GPT, asked, 0, None, NOW)
    assert (unknown.input_tokens, unknown.flags) == (UNKNOWN_CONTEXT_TOKENS, (UNKNOWN_CONTEXT,))


def test_the_dearest_tier_that_the_input_can_reach_counts() -> None:
    tiered = card(row("input", 2_000), row("output", 8_000), row("input", 4_000, context_over=100))
    assert [quote(tiered, Call(bound), 10, None, NOW).cost_nano for bound in (100, 101)] == [280, 484]


def test_a_lower_tier_that_costs_more_counts_too() -> None:
    odd = card(row("input", 9_000), row("output", 8_000), row("input", 1_000, context_over=100))
    assert quote(odd, Call(101), 0, None, NOW).cost_nano == 900


def test_a_cache_write_is_expected_and_an_hour_of_it_only_when_asked_for() -> None:
    claude = card(
        row("input", 3_000), row("cache_write_5m", 3_750), row("cache_write_1h", 6_000), row("output", 15_000)
    )
    assert quote(claude, Call(100), 0, None, NOW).cost_nano == 375
    asked = Call(100, prices_apart=frozenset({"cache_write_1h"}))
    assert quote(claude, asked, 0, None, NOW).cost_nano == 600


def test_audio_is_quoted_where_the_call_may_use_it() -> None:
    audio = card(row("input", 2_000), row("output", 8_000), row("audio_output", 64_000))
    assert quote(audio, Call(0), 10, None, NOW).cost_nano == 80
    assert quote(audio, Call(0, prices_apart=frozenset({"audio_output"})), 10, None, NOW).cost_nano == 640


def test_another_tier_is_quoted_at_the_dearer_of_it_and_the_standard_one() -> None:
    tiers = card(
        row("output", 8_000),
        row("output", 4_000, service_tier="flex"),
        row("output", 14_000, service_tier="priority"),
    )
    quotes = [
        quote(tiers, Call(0, service_tier=tier), 10, None, NOW)
        for tier in ("auto", "flex", "priority", "scale")
    ]
    assert [each.cost_nano for each in quotes] == [80, 80, 140, 80]
    assert [each.flags for each in quotes] == [(), (), (), (UNPRICED_TIER,)]


def test_fees_are_quoted_and_an_unpriced_one_is_flagged() -> None:
    search = card(row("input", 2_000), row("output", 8_000), row("web_search", 10_000_000_000))
    assert quote(search, Call(0, fees={"web_search": 6}), 0, None, NOW).cost_nano == 60_000_000
    worst = quote(GPT, Call(fees={"web_search": 6, "file_search": 0}), 0, None, NOW)
    assert worst.flags == (UNPRICED + "web_search",)


@pytest.mark.parametrize("meter", ["web_search", "requests"])
def test_a_fee_that_is_no_whole_nano_usd_is_quoted_as_it_may_be_rounded(meter: str) -> None:
    fees = card(row("input", 1_000), row("output", 1_000), row(meter, 1_500))
    call = Call(0, fees={"web_search": 1} if meter == "web_search" else {})
    assert quote(fees, call, 0, None, NOW).cost_nano == 2
    assert cost({meter: 1}, fees, NOW).total_nano == 2


def test_what_is_affordable_counts_the_fraction_that_a_quote_drops() -> None:
    odd = card(row("input", 0), row("output", 1_500), row("reasoning", 1_000))
    assert [quote(odd, Call(0), cap, None, NOW).cost_nano for cap in (1, 2, 3)] == [2, 3, 5]
    assert [affordable_output(odd, Call(0), headroom, 9, None, NOW) for headroom in (2, 3, 4)] == [1, 2, 2]


def test_a_fee_for_the_call_itself_is_quoted_once() -> None:
    sonar = card(row("input", 1_000), row("output", 1_000), row("requests", 5_000_000))
    assert quote(sonar, Call(0), 0, None, NOW).cost_nano == 5_000


def test_a_free_model_is_quoted_at_nothing_and_affords_everything() -> None:
    free = card(row("input", 0), row("output", 0))
    assert quote(free, Call(10**6), 10**6, None, NOW) == Quote(10**6, 10**6, 0)
    assert affordable_output(free, Call(10**6), 0, 4096, None, NOW) == 4096


def test_an_unpriced_direction_is_flagged_only_when_it_is_used() -> None:
    embeddings = card(row("input", 20_000))
    assert quote(embeddings, Call(10), 0, None, NOW).flags == ()
    assert quote(embeddings, Call(10), 1, None, NOW).flags == (UNPRICED + "output",)
    assert quote(card(), Call(10), 1, None, NOW).flags == (UNPRICED + "input", UNPRICED + "output")


@pytest.mark.parametrize(
    ("headroom", "cap"), [(200_000, 0), (207_999, 0), (208_000, 1), (599_999, 49), (10**9, 64)]
)
def test_what_a_headroom_affords(headroom: int, cap: int) -> None:
    assert affordable_output(GPT, Call(100), headroom, 64, None, NOW) == cap


def test_nothing_is_affordable_when_the_input_alone_is_not() -> None:
    assert affordable_output(GPT, Call(100), 199_999, 64, None, NOW) == 0


@pytest.mark.parametrize(
    ("call", "cap", "priced"),
    [
        (Call(unseen_input=True), 10, True),
        (Call(service_tier="scale"), 10, False),
        (Call(fees={"web_search": 1}), 10, False),
        (Call(fees={"web_search": 0}), 10, True),
    ],
)
def test_a_quote_says_whether_everything_has_a_price(call: Call, cap: int, priced: bool) -> None:
    assert quote(GPT, call, cap, None, NOW).is_priced is priced


# Properties.


picos = st.one_of(st.integers(0, 50_000), st.integers(1, 50).map(lambda nano: nano * 1000))
bounds = st.integers(0, 400)


@st.composite
def cards(draw: st.DrawFn) -> RateCard:
    """Cards with odd figures, tiers in any order of dearness, and holes."""
    rows = {}
    for meter, tier, over in itertools.product(
        (
            "input",
            "cache_read",
            "cache_write_5m",
            "cache_write_1h",
            "audio_input",
            "output",
            "reasoning",
            "audio_output",
        ),
        ("", "flex"),
        (0, 100, 250),
    ):
        if draw(st.booleans()):
            rows[meter, tier, over] = row(meter, draw(picos), service_tier=tier, context_over=over)
    for meter in ("web_search", "requests"):
        if draw(st.booleans()):
            rows[meter, "", 0] = row(meter, draw(picos))
    return card(*rows.values())


calls = st.builds(
    Call,
    input_bound=bounds,
    unseen_input=st.booleans(),
    loops=st.integers(1, 3),
    choices=st.integers(1, 3),
    output_extra=st.integers(0, 20),
    fees=st.dictionaries(st.just("web_search"), st.integers(0, 5)),
    service_tier=st.sampled_from([None, "default", "flex", "scale"]),
    prices_apart=st.frozensets(st.sampled_from(["cache_write_1h", "audio_input", "audio_output"])),
)


@given(st.data(), cards(), calls, st.integers(0, 300))
def test_no_usage_within_the_bounds_costs_more_than_the_quote(
    data: st.DataObject, rates: RateCard, call: Call, cap: int
) -> None:
    worst = quote(rates, call, cap, 300, NOW)
    usage: dict[str, int] = {}
    for meters, plain, most in (
        (INPUT_METERS, {"input", "cache_read", "cache_write_5m"}, worst.input_tokens),
        (OUTPUT_METERS, {"output", "reasoning"}, worst.output_tokens),
    ):
        left = most
        for meter in data.draw(st.permutations(sorted(plain | (call.prices_apart & set(meters))))):
            usage[meter] = data.draw(st.one_of(st.just(left), st.integers(0, left)))
            left -= usage[meter]
    usage.update({fee: data.draw(st.integers(0, most)) for fee, most in call.fees.items()})
    served = data.draw(st.sampled_from(["", call.service_tier]))
    assert cost(usage, rates, NOW, served).total_nano <= worst.cost_nano


@given(cards(), calls, st.integers(0, 30_000), st.integers(0, 300))
def test_the_affordable_output_is_the_largest_whose_quote_fits(
    rates: RateCard, call: Call, headroom: int, ceiling: int
) -> None:
    cap = affordable_output(rates, call, headroom, ceiling, 300, NOW)
    fits = [n for n in range(ceiling + 1) if quote(rates, call, n, 300, NOW).cost_nano <= headroom]
    assert cap == max(fits, default=0)


@given(cards(), calls, st.integers(0, 300))
def test_a_quote_grows_with_what_is_asked(rates: RateCard, call: Call, cap: int) -> None:
    worst = quote(rates, call, cap, 300, NOW).cost_nano
    assert quote(rates, call, cap + 1, 300, NOW).cost_nano >= worst
    assert quote(rates, replace(call, input_bound=call.input_bound + 1), cap, 300, NOW).cost_nano >= worst


def test_every_meter_has_a_unit() -> None:
    assert {*INPUT_METERS, *OUTPUT_METERS} == {meter for meter, unit in UNIT_OF.items() if unit == "tokens"}
