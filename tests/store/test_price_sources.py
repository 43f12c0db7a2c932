"""genai-prices as rows: nothing lost, and the same cost as genai-prices computes itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseAnd,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
    Usage,
)

from gateway.domain.costing import UNPRICED, cost
from gateway.domain.prices import GENAI, PriceRow, RateCard
from gateway.domain.usage import METERS, input_total, output_total
from gateway.store.price_sources import PROVIDER_NAMES, UNITS, Conversion, convert_genai, genai_prices


@pytest.fixture(scope="module")
def conversion() -> Conversion:
    return genai_prices()


@pytest.fixture(scope="module")
def cards(conversion: Conversion) -> dict[tuple[str, str], RateCard]:
    rows: dict[tuple[str, str], list[PriceRow]] = {}
    for row in conversion.rows:
        rows.setdefault((row.provider, row.model), []).append(row)
    return {key: RateCard(*key, those) for key, those in rows.items()}


def test_every_model_is_there_and_nothing_was_skipped(conversion: Conversion) -> None:
    assert conversion.skipped == []
    assert len(conversion.models) == sum(len(provider.models) for provider in providers)
    assert {model.provider for model in conversion.models} >= {"openai", "anthropic", "gemini", "deepseek"}
    assert not {"google", "azure"} & {model.provider for model in conversion.models}


def test_every_unit_is_for_as_many_as_the_source_says() -> None:
    per = {unit["price_key"]: unit["per"] for unit in unit_data.values()}
    assert {key: per[key] for key in UNITS} == {key: count for key, (_, count) in UNITS.items()}


def test_units_the_gateway_does_not_meter_are_kept_under_names_of_their_own(conversion: Conversion) -> None:
    unmetered = {row.meter for row in conversion.rows} - set(METERS)
    assert unmetered <= {
        *("citation_tokens", "characters", "text_messages", "audio_seconds", "audio_input_seconds"),
        *("document_pages", "annotated_pages", "video_output"),
    }


def test_ids_are_unique_and_the_same_every_time(conversion: Conversion) -> None:
    again = genai_prices()
    assert [row.id for row in again.rows] == [row.id for row in conversion.rows]
    assert len({row.id for row in conversion.rows}) == len(conversion.rows)


def test_a_newer_release_with_the_same_prices_has_the_same_ids(conversion: Conversion) -> None:
    newer = convert_genai(providers, "genai-prices 9.9.9")
    assert [row.id for row in newer.rows] == [row.id for row in conversion.rows]


def test_rows_keep_the_source_and_its_text(conversion: Conversion) -> None:
    rows = {
        (row.model, row.meter): row
        for row in conversion.rows
        if row.provider == "openai" and row.service_tier == "" and row.context_over == 0
    }
    output = rows["gpt-4.1", "output"]
    assert (output.source_text, output.price_pico, output.rank) == ("8", 8_000_000, GENAI)
    assert output.source.startswith("genai-prices ")
    search = rows["gpt-4.1", "web_search"]
    assert (search.source_text, search.price_pico) == ("10 per 1000", 10_000_000_000)


# --- The oracle: what genai-prices itself computes ---------------------------------------------------


def oracle_usage(usage: dict[str, int]) -> Usage:
    """The usage as genai-prices wants it: totals that include their parts."""
    got = usage.get
    return Usage(
        input_tokens=input_total(usage),
        cache_read_tokens=got("cache_read", 0) + got("audio_cache_read", 0) + got("image_cache_read", 0),
        cache_write_tokens=got("cache_write_5m", 0) + got("cache_write_1h", 0),
        cache_write_1h_tokens=got("cache_write_1h", 0),
        input_audio_tokens=got("audio_input", 0) + got("audio_cache_read", 0),
        cache_audio_read_tokens=got("audio_cache_read", 0),
        input_image_tokens=got("image_input", 0) + got("image_cache_read", 0),
        cache_image_read_tokens=got("image_cache_read", 0),
        input_video_tokens=got("video_input", 0),
        output_tokens=output_total(usage),
        output_reasoning_tokens=got("reasoning", 0),
        output_audio_tokens=got("audio_output", 0),
        output_image_tokens=got("image_output", 0),
        output_video_tokens=got("video_output", 0),
        web_searches=got("web_search", 0),
        storage_searches=got("file_search", 0),
        code_executions=got("code_interpreter", 0),
    )


def moments(model: ModelInfo) -> list[datetime]:
    """Times that matter to a model: both sides of each date and hour it depends on, and some others."""
    found = [datetime(2024, 2, 29, 12, tzinfo=UTC), datetime(2026, 11, 25, 3, 59, 59, 999_999, tzinfo=UTC)]
    conditions: list[Any] = list(model.prices) if isinstance(model.prices, list) else []
    for each in (*conditions, *(model.price_variants or ())):
        match each.constraint:
            case StartDateConstraint(start_date=start):
                midnight = datetime.combine(start, time(), tzinfo=UTC)
                found += [midnight - timedelta(microseconds=1), midnight, midnight + timedelta(hours=2)]
            case TimeOfDateConstraint(start_time=start_time, end_time=end_time):
                for moment in (start_time, end_time):
                    instant = datetime.combine(date(2026, 10, 30), moment)
                    found += [instant - timedelta(microseconds=1), instant]
    return found


def contexts(model: ModelInfo) -> list[tuple[str, dict[str, str] | None]]:
    """Our tier and their context, for every one the model has variants for."""
    found: list[tuple[str, dict[str, str] | None]] = [("", None)]
    for variant in model.price_variants or ():
        [(key, value)] = variant.when.items()
        tier = value if key in ("service_tier", "processing", "speed") else f"{key}:{value}"
        found.append((tier, dict(variant.when)))
    return found


def usages(dice: random.Random, model: ModelInfo) -> Iterator[dict[str, int]]:
    """A plain usage, one with every meter, and one on each side of each context threshold."""
    yield {"input": dice.randrange(1, 5000), "output": dice.randrange(1, 5000)}
    every = [meter for meter in METERS if meter not in ("requests", "web_fetch", "image_generation")]
    yield {meter: dice.randrange(1, 900) for meter in every}
    yield {meter: dice.randrange(1, 300_000) for meter in dice.sample(every, 4)}
    text = repr(model.prices)
    for threshold in (32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288):
        if str(threshold) in text:
            cached = dice.randrange(1, 30_000)
            for total in (threshold, threshold + 1):
                yield {"input": total - cached, "cache_read": cached, "output": dice.randrange(1, 2000)}


def samples(dice: random.Random) -> Iterator[tuple[Provider, ModelInfo, dict[str, int], datetime, Any]]:
    for provider in providers:
        for model in provider.models:
            for usage in usages(dice, model):
                for moment in moments(model):
                    for context in contexts(model):
                        yield provider, model, usage, moment, context


def differences(cards: dict[tuple[str, str], RateCard]) -> Iterator[str]:
    """Every sample where the two costs differ by more than rounding, in words."""
    for provider, model, usage, moment, (tier, context) in samples(random.Random(20_261_125)):
        name = (PROVIDER_NAMES.get(provider.id, provider.id), model.id)
        at_us = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
        if name not in cards:
            ours = cost(usage, RateCard(*name, ()), at_us, tier)
        else:
            ours = cost(usage, cards[name], at_us, tier)
        theirs = model.calc_price(
            oracle_usage(usage), provider, genai_request_timestamp=moment, price_context=context
        ).total_price
        # Half a nano-USD for each line, and half a pico-USD for each unit whose price was rounded.
        slack = Decimal(len(ours.lines)) / 2 + Decimal(sum(usage.values())) / 2000
        if abs(ours.total_nano - theirs * 10**9) > slack:
            yield f"{name} {usage} {moment} {tier!r}: {ours.total_nano} nano-USD, not {theirs * 10**9}"


def test_costs_equal_those_of_genai_prices(cards: dict[tuple[str, str], RateCard]) -> None:
    assert list(differences(cards)) == []


def test_only_what_nobody_priced_is_left_out_of_a_cost(cards: dict[tuple[str, str], RateCard]) -> None:
    """genai-prices charges nothing for what it does not price; we charge nothing either, but say so."""
    charge = cost({"input": 1, "output": 1, "web_search": 1}, cards["deepseek", "deepseek-v4-pro"], 2**50)
    assert charge.flags == (UNPRICED + "web_search",)


# --- Shapes that the installed release does not have ------------------------------------------------


def provider_with(prices: Any, variants: list[PriceVariant] | None = None, match: Any = None) -> Any:
    model = ModelInfo(id="m", match=match or ClauseEquals("m"), prices=prices, price_variants=variants)
    return SimpleNamespace(id="p", models=[model])


def price(**prices: Any) -> ModelPrice:
    return ModelPrice(
        **{key: Decimal(value) if isinstance(value, str) else value for key, value in prices.items()}
    )


def test_a_price_that_a_later_set_does_not_have_ends() -> None:
    [model] = [
        provider_with(
            [
                ConditionalPrice(None, prices=price(input_mtok="1", cache_read_mtok="0.1", output_mtok="2")),
                ConditionalPrice(
                    StartDateConstraint(date(2026, 1, 1)), prices=price(input_mtok="1", output_mtok="3")
                ),
            ]
        )
    ]
    rows = {(row.meter, row.price_pico): row for row in convert_genai([model], "s").rows}
    newyear = 1_767_225_600_000_000
    assert rows["cache_read", 100_000].effective_to_us == newyear
    assert rows["output", 2_000_000].effective_to_us == newyear
    assert rows["output", 3_000_000].effective_to_us is None
    assert rows["output", 3_000_000].effective_from_us == newyear
    assert len(rows) == 4
    card = RateCard("p", "m", rows.values())
    assert cost({"cache_read": 1000}, card, newyear).total_nano == 1_000_000


def test_an_earlier_date_later_in_the_list_wins() -> None:
    provider = provider_with(
        [
            ConditionalPrice(StartDateConstraint(date(2026, 6, 1)), prices=price(output_mtok="5")),
            ConditionalPrice(StartDateConstraint(date(2026, 1, 1)), prices=price(output_mtok="7")),
        ]
    )
    rows = convert_genai([provider], "s").rows
    assert [(row.price_pico, row.effective_from_us // 86_400_000_000) for row in rows] == [
        (5_000_000, 0),
        (7_000_000, 20_454),
    ]


def test_daily_hours_give_way_to_a_date_that_comes_after_them() -> None:
    span = TimeOfDateConstraint(time(23, 30, tzinfo=UTC), time(1, tzinfo=UTC))
    provider = provider_with(
        [
            ConditionalPrice(None, prices=price(output_mtok="2")),
            ConditionalPrice(span, prices=price(output_mtok="1")),
            ConditionalPrice(StartDateConstraint(date(2026, 1, 1)), prices=price(output_mtok="3")),
        ]
    )
    card = RateCard("p", "m", convert_genai([provider], "s").rows)
    midnight = 1_767_225_600_000_000
    nights = [
        cost({"output": 10}, card, at_us).total_nano
        for at_us in (midnight - 3_600_000_000, midnight - 1, midnight, midnight + 3_600_000_000)
    ]
    assert nights == [20_000, 10_000, 30_000, 30_000]


@pytest.mark.parametrize(
    ("prices", "variants", "reason"),
    [
        (price(input_parsec="1"), None, "input_parsec"),
        (price(input_mtok=TieredPrices(Decimal(1), [Tier(0, Decimal(2))])), None, "tier begins at nothing"),
        (
            [ConditionalPrice(TimeOfDateConstraint(time(1), time(2)), prices=price(input_mtok="1"))],
            None,
            "some hours of the day only",
        ),
        (
            [
                ConditionalPrice(None, prices=price(input_mtok="1", output_mtok="1")),
                ConditionalPrice(TimeOfDateConstraint(time(1), time(2)), prices=price(input_mtok="2")),
            ],
            None,
            "fewer prices",
        ),
        (
            [
                ConditionalPrice(None, prices=price(input_mtok="1")),
                ConditionalPrice(TimeOfDateConstraint(time(1), time(3)), prices=price(input_mtok="2")),
                ConditionalPrice(TimeOfDateConstraint(time(2), time(4)), prices=price(input_mtok="3")),
            ],
            None,
            "overlap",
        ),
        (
            [
                ConditionalPrice(None, prices=price(input_mtok="1")),
                ConditionalPrice(TimeOfDateConstraint(time(1, 0, 1), time(3)), prices=price(input_mtok="2")),
            ],
            None,
            "full minute",
        ),
        (
            price(input_mtok="1"),
            [PriceVariant({"service_tier": "flex", "region": "eu"}, price(input_mtok="2"))],
            "region and service_tier",
        ),
        (
            price(input_mtok="1"),
            [
                PriceVariant(
                    {"service_tier": "flex"}, price(input_mtok="2"), TimeOfDateConstraint(time(1), time(2))
                )
            ],
            "depends on the hour",
        ),
        (
            price(input_mtok="1"),
            [PriceVariant({"service_tier": "default"}, price(input_mtok="2"))],
            "standard tier",
        ),
    ],
)
def test_a_price_that_rows_cannot_say_leaves_its_model_out_and_says_so(
    prices: Any, variants: list[PriceVariant] | None, reason: str
) -> None:
    conversion = convert_genai([provider_with(prices, variants)], "s")
    assert (conversion.models, conversion.rows) == ([], [])
    [skipped] = conversion.skipped
    assert skipped.startswith("p/m: ")
    assert reason in skipped


def test_a_model_without_prices_is_known_and_has_no_rows() -> None:
    shapes: tuple[Any, ...] = (price(), [])
    for prices in shapes:
        conversion = convert_genai([provider_with(prices)], "s")
        assert ([model.model for model in conversion.models], conversion.rows) == (["m"], [])


def test_the_first_price_counts_before_any_date() -> None:
    provider = provider_with(
        [
            ConditionalPrice(StartDateConstraint(date(2026, 6, 1)), prices=price(output_mtok="5")),
            ConditionalPrice(StartDateConstraint(date(2026, 1, 1)), prices=price(output_mtok="7")),
            ConditionalPrice(TimeOfDateConstraint(time(1), time(2)), prices=price(output_mtok="9")),
        ]
    )
    card = RateCard("p", "m", convert_genai([provider], "s").rows)
    assert [cost({"output": 1}, card, at_us).total_nano for at_us in (0, 3_600_000_000)] == [5_000, 9_000]


def test_match_expressions_become_data() -> None:
    match = ClauseOr([ClauseEquals("A"), ClauseAnd([ClauseRegex("^b"), ClauseEquals("c")])])
    [model] = convert_genai([provider_with(price(), match=match)], "s").models
    assert model.match == {"or": [{"equals": "A"}, {"and": [{"regex": "^b"}, {"equals": "c"}]}]}
