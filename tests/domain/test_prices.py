"""Rate cards: which row a meter pays, by every rule of precedence, and that memory changes no answer."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.prices import GENAI, MANUAL, SEED, UNPRICED_TIER, Hours, PriceRow, RateCard, with_id

HOUR = 3_600_000_000
DAY = 24 * HOUR


def row(meter: str, pico: int, **fields: Any) -> PriceRow:
    return with_id(PriceRow("", "openai", "gpt-4.1", meter, pico, **fields))


def card(*rows: PriceRow, **others: Any) -> RateCard:
    return RateCard("openai", "gpt-4.1", rows, **others)


def pico(cards: RateCard, meter: str, at_us: int = DAY, tier: str | None = "", total: int = 0) -> int | None:
    found = cards.rates(at_us, tier, total).rows.get(meter)
    return None if found is None else found.price_pico


# Dates and hours.


def test_a_row_counts_from_its_instant_until_its_end() -> None:
    cards = card(row("output", 5, effective_from_us=10, effective_to_us=20))
    assert [pico(cards, "output", at) for at in (9, 10, 19, 20)] == [None, 5, 5, None]


def test_the_later_price_counts_and_the_earlier_one_before_it() -> None:
    cards = card(row("output", 5), row("output", 7, effective_from_us=100))
    assert [pico(cards, "output", at) for at in (99, 100, 99)] == [5, 7, 5]


def test_of_two_rows_of_one_instant_the_later_recorded_counts() -> None:
    cards = card(row("output", 5, recorded_at_us=1), row("output", 7, recorded_at_us=2))
    assert pico(cards, "output") == 7


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        (Hours(60, 240, "UTC"), (1 * HOUR, 4 * HOUR - 1), (1 * HOUR - 1, 4 * HOUR)),
        (Hours(1380, 60, "UTC"), (23 * HOUR, 25 * HOUR - 1), (23 * HOUR - 1, 25 * HOUR)),
        (Hours(0, 0, "UTC"), (), (0, 12 * HOUR)),
        # 09:00 in Shanghai is 01:00 UTC, all year.
        (Hours(540, 720, "Asia/Shanghai"), (1 * HOUR, 4 * HOUR - 1), (1 * HOUR - 1, 4 * HOUR)),
    ],
)
def test_hours_are_those_of_the_zones_clock(
    hours: Hours, inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    cards = card(row("output", 5), row("output", 7, hours=hours))
    assert [pico(cards, "output", at) for at in inside] == [7] * len(inside)
    assert [pico(cards, "output", at) for at in outside] == [5] * len(outside)


def test_hours_follow_daylight_saving_time() -> None:
    cards = card(row("output", 5), row("output", 7, hours=Hours(480, 540, "Europe/Berlin")))
    winter, summer = 1_768_000_000_000_000 // DAY * DAY, 1_784_000_000_000_000 // DAY * DAY
    assert [pico(cards, "output", winter + hour * HOUR) for hour in (6, 7, 8)] == [5, 7, 5]
    assert [pico(cards, "output", summer + hour * HOUR) for hour in (5, 6, 7)] == [5, 7, 5]


# Whose word counts.


def test_what_a_human_wrote_goes_before_an_import_however_late_that_comes() -> None:
    imported = row("output", 5, rank=GENAI, effective_from_us=500, recorded_at_us=500)
    cited = row("output", 6, rank=SEED)
    posted = row("output", 7, rank=MANUAL, effective_from_us=200)
    cards = card(imported, cited, posted)
    assert [pico(cards, "output", at) for at in (100, 199, 200, 600)] == [6, 6, 7, 7]


def test_a_posted_price_goes_before_imported_hours() -> None:
    cards = card(row("output", 5, rank=GENAI, hours=Hours(0, 1440, "UTC")), row("output", 7))
    assert pico(cards, "output") == 7


def test_an_accounts_own_price_goes_before_its_parents_and_that_before_the_list() -> None:
    cards = card(
        row("output", 9, effective_from_us=50),
        row("output", 7, account="acct_root", effective_from_us=20),
        row("output", 5, account="acct_team"),
        row("output", 1, account="acct_other"),
    )
    assert pico(cards, "output") == 9
    assert pico(cards.for_accounts(["acct_team", "acct_root"]), "output") == 5
    assert pico(cards.for_accounts(["acct_key", "acct_root"]), "output") == 7
    assert pico(cards.for_accounts(["acct_nobody"]), "output") == 9


def test_an_account_without_a_price_of_its_own_has_the_list_card() -> None:
    cards = card(row("output", 9), row("output", 5, account="acct_team"))
    assert cards.for_accounts(["acct_x"]) is cards
    assert cards.list_card is cards
    theirs = cards.for_accounts(["acct_team"])
    assert theirs.list_card is cards
    assert cards.for_accounts(["acct_y", "acct_team"]) is theirs


def test_an_own_price_goes_before_an_inherited_one_whatever_its_rank() -> None:
    inherited = [row("output", 9, rank=MANUAL, effective_from_us=50), row("input", 3)]
    cards = card(row("output", 5, rank=GENAI), inherited=inherited)
    assert (pico(cards, "output"), pico(cards, "input")) == (5, 3)


# Tiers.


def test_a_context_tier_applies_once_the_input_exceeds_it() -> None:
    cards = card(
        row("input", 2), row("input", 4, context_over=200_000), row("input", 8, context_over=500_000)
    )
    totals = (0, 200_000, 200_001, 500_000, 500_001)
    assert [pico(cards, "input", total=total) for total in totals] == [2, 2, 4, 4, 8]


def test_a_meter_without_the_tier_keeps_its_base() -> None:
    cards = card(row("input", 2), row("input", 4, context_over=200_000), row("cache_read", 1))
    assert pico(cards, "cache_read", total=300_000) == 1


def test_a_posted_base_price_leaves_the_context_tier_alone() -> None:
    cards = card(row("input", 2, rank=GENAI), row("input", 4, rank=GENAI, context_over=9), row("input", 1))
    assert [pico(cards, "input", total=total) for total in (9, 10)] == [1, 4]


@pytest.mark.parametrize("tier", ["", None, "auto", "default", "standard", "Standard", "ON_DEMAND"])
def test_every_name_of_the_standard_tier_means_it(tier: str | None) -> None:
    cards = card(row("input", 2), row("input", 1, service_tier="flex"))
    assert pico(cards, "input", tier=tier) == 2
    assert cards.rates(DAY, tier).flags == ()


@pytest.mark.parametrize("tier", ["flex", "FLEX"])
def test_a_service_tier_has_prices_of_its_own_and_the_standard_ones_for_the_rest(tier: str) -> None:
    cards = card(row("input", 2), row("output", 8), row("input", 1, service_tier="flex"))
    assert (pico(cards, "input", tier=tier), pico(cards, "output", tier=tier)) == (1, 8)
    assert cards.rates(DAY, tier).flags == ()


def test_a_service_tiers_flat_price_goes_before_the_standard_context_tier() -> None:
    cards = card(row("input", 2), row("input", 4, context_over=9), row("input", 5, service_tier="priority"))
    assert pico(cards, "input", tier="priority", total=10) == 5


def test_an_unpriced_service_tier_pays_the_standard_price_and_is_flagged() -> None:
    cards = card(row("input", 2), row("input", 1, service_tier="flex", effective_from_us=DAY))
    for tier, at_us in (("scale", DAY), ("flex", DAY - 1)):
        rates = cards.rates(at_us, tier)
        assert rates.rows["input"].price_pico == 2
        assert rates.flags == (UNPRICED_TIER,)


# Fallbacks.


@pytest.mark.parametrize(
    ("priced", "expected"),
    [
        (
            {"input": 2, "output": 8},
            {"cache_read": 2, "cache_write_1h": 2, "audio_cache_read": 2, "reasoning": 8},
        ),
        ({"input": 2, "cache_write_5m": 3}, {"cache_write_1h": 3, "video_input": 2, "output": None}),
        ({"input": 2, "cache_read": 1}, {"audio_cache_read": 1, "image_cache_read": 1, "audio_input": 2}),
        ({"input": 2, "cache_read": 1, "audio_input": 30}, {"audio_cache_read": 30, "image_cache_read": 1}),
        (
            {"output": 8, "reasoning": 3},
            {"reasoning": 3, "audio_output": 8, "image_output": 8, "input": None},
        ),
        ({"input": 2, "output": 8}, {"web_search": None, "requests": None, "file_search": None}),
    ],
)
def test_a_meter_without_a_price_pays_that_of_its_nearest_relative(
    priced: dict[str, int], expected: dict[str, int | None]
) -> None:
    cards = card(*(row(meter, price) for meter, price in priced.items()))
    assert {meter: pico(cards, meter) for meter in expected} == expected


def test_the_meters_own_standard_price_goes_before_a_relatives_price_at_the_tier() -> None:
    cards = card(row("input", 4), row("cache_read", 2), row("input", 3, service_tier="batch"))
    assert pico(cards, "cache_read", tier="batch") == 2
    assert pico(cards, "cache_write_5m", tier="batch") == 3


def test_a_card_without_rows_prices_nothing() -> None:
    assert not card().is_priced
    assert card().rates(DAY).rows == {}
    assert card(inherited=[row("input", 1)]).is_priced


def test_a_flat_card_has_one_price_for_every_token_and_none_for_uses() -> None:
    flat = RateCard.flat("unpriced", 30_000_000)
    assert flat.is_priced
    meters = ("input", "cache_read", "cache_write_1h", "audio_input", "output", "reasoning", "web_search")
    assert [pico(flat, meter) for meter in meters] == [30_000_000] * 6 + [None]
    assert pico(RateCard.flat("unpriced", 0), "output") == 0


# Memory.


rows_of_a_card = st.builds(
    row,
    st.sampled_from(["input", "cache_read", "output", "reasoning"]),
    st.integers(1, 10**9),
    service_tier=st.sampled_from(["", "flex"]),
    context_over=st.sampled_from([0, 100, 200]),
    hours=st.sampled_from([None, None, Hours(60, 240, "UTC"), Hours(1380, 60, "Asia/Shanghai")]),
    effective_from_us=st.sampled_from([0, DAY, 2 * DAY]),
    effective_to_us=st.sampled_from([None, None, 3 * DAY]),
    rank=st.sampled_from([GENAI, SEED, MANUAL]),
    recorded_at_us=st.integers(0, 10**6),
)


@given(st.lists(rows_of_a_card, max_size=12), st.randoms(use_true_random=False))
def test_a_remembered_answer_is_the_one_a_fresh_card_gives(rows: list[PriceRow], dice: random.Random) -> None:
    cards = card(*rows)
    for _ in range(30):
        at_us = dice.randrange(-HOUR, 4 * DAY)
        tier = dice.choice(["", "default", "flex", "scale", "FLEX"])
        total = dice.choice([0, 100, 101, 200, 201])
        remembered, fresh = cards.rates(at_us, tier, total), card(*rows).rates(at_us, tier, total)
        assert (remembered.rows, remembered.flags) == (fresh.rows, fresh.flags)


@given(st.lists(rows_of_a_card, min_size=1, max_size=8))
def test_the_order_of_the_rows_does_not_matter_unless_they_are_equal_in_rank(rows: list[PriceRow]) -> None:
    places = {(each[3:4], each[5:9], each.rank, each.recorded_at_us) for each in rows}
    if len(places) == len(rows):
        assert card(*rows).rates(DAY).rows == card(*reversed(rows)).rates(DAY).rows


def test_names_of_tiers_do_not_fill_the_memory() -> None:
    cards = card(row("input", 2), row("input", 1, service_tier="flex"))
    for number in range(1000):
        cards.rates(DAY, f"tier-{number}")
        cards.rates(DAY, "flex")
    assert len(cards._spans) + len(cards._answers) <= 4


# Ids.


def test_an_id_says_price_slot_date_and_rank_and_nothing_else() -> None:
    one = row("output", 5)
    same = row("output", 5, source="elsewhere", source_text="5e-6", recorded_at_us=7, effective_to_us=9)
    assert one.id == same.id
    assert one.id.startswith("price_")
    assert len(one.id) <= 40
    others = [
        row("input", 5),
        row("output", 6),
        row("output", 5, service_tier="flex"),
        row("output", 5, context_over=1),
        row("output", 5, hours=Hours(0, 60, "UTC")),
        row("output", 5, effective_from_us=1),
        row("output", 5, account="acct_a"),
        row("output", 5, rank=SEED),
    ]
    assert len({one.id, *(other.id for other in others)}) == 9
