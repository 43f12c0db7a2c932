"""The catalogue: what names mean, whose prices count, which limits hold."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.catalogue import MODELS_OF_OTHERS, POSTED, Catalogue, ModelLimits, ModelRecord
from gateway.domain.prices import GENAI, PriceRow, with_id

NOW = 1_764_000_000_000_000


def model(
    provider: str, name: str, match: dict[str, Any] | None = None, position: int = 0, **other: Any
) -> ModelRecord:
    fields = {"context_window": None, "source": "genai-prices 1", **other}
    return ModelRecord(provider, name, match or {"equals": name}, position, **fields)


def price(provider: str, name: str, meter: str, pico: int, **fields: Any) -> PriceRow:
    return with_id(PriceRow("", provider, name, meter, pico, **{"rank": GENAI, **fields}))


def limits(provider: str, name: str, since: int = 0, **fields: Any) -> ModelLimits:
    values = {"context_window": None, "max_output": None, "cap_field": None, "source": "a page", **fields}
    return ModelLimits(provider, name, since, **values)


OPENAI = (
    model("openai", "gpt-4.1", {"or": [{"equals": "gpt-4.1"}, {"equals": "gpt-4.1-2025-04-14"}]}),
    model("openai", "gpt-4", {"starts_with": "gpt-4"}, position=1, context_window=8000),
)
PRICES = (
    price("openai", "gpt-4.1", "input", 2),
    price("openai", "gpt-4.1", "output", 8),
    price("openai", "gpt-4", "output", 60),
)


def name_of(catalogue: Catalogue, provider: str, name: str) -> str | None:
    entry = catalogue.resolve(provider, name)
    return None if entry is None else f"{entry.name} at {entry.card.provider}"


# Names.


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("gpt-4.1", "openai/gpt-4.1 at openai"),
        ("GPT-4.1", "openai/gpt-4.1 at openai"),
        ("gpt-4.1-2025-04-14", "openai/gpt-4.1 at openai"),
        ("gpt-4.1-20250414", "openai/gpt-4 at openai"),
        ("gpt-4", "openai/gpt-4 at openai"),
        ("gpt-4-0613", "openai/gpt-4 at openai"),
        ("gpt-5", None),
        ("", None),
        ("gpt-4" + "x" * 300, None),
    ],
)
def test_an_id_goes_first_then_the_expressions_in_their_order(name: str, meaning: str | None) -> None:
    assert name_of(Catalogue(OPENAI, PRICES), "openai", name) == meaning


def test_the_id_goes_before_an_earlier_expression() -> None:
    greedy = (model("p", "all", {"contains": "a"}), model("p", "aa", position=1))
    assert name_of(Catalogue(greedy, ()), "p", "aa") == "p/aa at p"


def test_a_compact_date_is_written_out_where_the_name_means_nothing_as_it_is() -> None:
    catalogue = Catalogue([model("openai", "gpt-5.2", {"equals": "gpt-5.2-2025-12-11"})], ())
    assert name_of(catalogue, "openai", "gpt-5.2-20251211") == "openai/gpt-5.2 at openai"
    assert name_of(catalogue, "openai", "gpt-5.2-20251311") is None


def test_a_name_means_nothing_at_a_provider_without_models() -> None:
    assert Catalogue(OPENAI, PRICES).resolve("nobody", "gpt-4.1") is None


def test_a_provider_that_serves_others_models_has_their_prices_under_its_own_name() -> None:
    catalogue = Catalogue([*OPENAI, model("azure_openai", "phi-4")], PRICES)
    assert name_of(catalogue, "azure_openai", "phi-4") == "azure_openai/phi-4 at azure_openai"
    assert name_of(catalogue, "azure_openai", "gpt-4.1-2025-04-14") == "azure_openai/gpt-4.1 at openai"
    assert name_of(catalogue, "openai", "phi-4") is None


def test_serving_others_models_is_one_step_only() -> None:
    assert "gemini" not in {other for others in MODELS_OF_OTHERS.values() for other in others}


def test_names_do_not_fill_the_memory() -> None:
    catalogue = Catalogue(OPENAI, PRICES)
    for number in range(20_000):
        catalogue.resolve("openai", f"nonsense-{number}")
    assert len(catalogue._meanings) <= 8192
    assert name_of(catalogue, "openai", "gpt-4.1") == "openai/gpt-4.1 at openai"


def test_one_model_is_one_entry_with_one_card() -> None:
    catalogue = Catalogue(OPENAI, PRICES)
    assert catalogue.resolve("openai", "gpt-4.1") is catalogue.resolve("openai", "gpt-4.1-2025-04-14")


def test_providers_of_a_name_are_those_that_price_it_in_the_order_asked_for() -> None:
    catalogue = Catalogue([*OPENAI, model("mistral", "gpt-4.1"), model("azure_openai", "phi-4")], PRICES)
    assert catalogue.providers_of("gpt-4.1") == ("azure_openai", "openai")
    assert catalogue.providers_of("gpt-4.1", ["mistral", "openai", "azure_openai"]) == (
        "openai",
        "azure_openai",
    )
    assert catalogue.providers_of("phi-4", ["openai"]) == ()


def test_aliases_name_a_provider_and_a_model() -> None:
    catalogue = Catalogue((), (), aliases={"fast": "groq/meta/llama-3"})
    assert catalogue.alias_of("fast") == ("groq", "meta/llama-3")
    assert catalogue.alias_of("slow") is None


def test_entries_of_a_provider_come_by_position() -> None:
    catalogue = Catalogue([*reversed(OPENAI), model("azure_openai", "phi-4")], PRICES)
    assert [entry.model for entry in catalogue.entries("openai")] == ["gpt-4.1", "gpt-4"]
    assert catalogue.providers == ("azure_openai", "openai")
    assert list(catalogue.entries("nobody")) == []


# Posted prices.


def test_a_posted_price_of_a_known_model_changes_that_meter_alone() -> None:
    entry = Catalogue(OPENAI, [*PRICES, price("openai", "gpt-4.1", "output", 5, rank=30)]).resolve(
        "openai", "gpt-4.1"
    )
    assert entry is not None
    rows = entry.card.rates(NOW).rows
    assert (rows["input"].price_pico, rows["output"].price_pico) == (2, 5)


def test_a_posted_model_inherits_what_its_name_meant_before() -> None:
    snapshot = model("openai", "gpt-4.1-2025-04-14", source=POSTED)
    catalogue = Catalogue(
        [*OPENAI, snapshot],
        [*PRICES, price("openai", "gpt-4.1-2025-04-14", "output", 5, rank=30)],
        [limits("openai", "gpt-4.1", max_output=32_768)],
    )
    entry = catalogue.resolve("openai", "gpt-4.1-2025-04-14")
    assert entry is not None
    assert entry.model == "gpt-4.1-2025-04-14"
    rows = entry.card.rates(NOW).rows
    assert (rows["input"].price_pico, rows["output"].price_pico) == (2, 5)
    assert [each.max_output for each in entry.limits] == [32_768]
    assert name_of(catalogue, "openai", "gpt-4.1") == "openai/gpt-4.1 at openai"


def test_a_model_posted_at_azure_inherits_openais_prices() -> None:
    catalogue = Catalogue(
        [*OPENAI, model("azure_openai", "gpt-4.1", source=POSTED)],
        [*PRICES, price("azure_openai", "gpt-4.1", "output", 9, rank=30)],
    )
    entry = catalogue.resolve("azure_openai", "gpt-4.1")
    assert entry is not None
    rows = entry.card.rates(NOW).rows
    assert (rows["input"].price_pico, rows["output"].price_pico) == (2, 9)
    assert name_of(catalogue, "azure_openai", "gpt-4.1-2025-04-14") == "azure_openai/gpt-4.1 at openai"


def test_a_posted_model_that_meant_nothing_has_its_own_prices_only() -> None:
    catalogue = Catalogue(
        [model("vllm", "house-7b", source=POSTED)], [price("vllm", "house-7b", "output", 1, rank=30)]
    )
    entry = catalogue.resolve("vllm", "house-7b")
    assert entry is not None
    assert entry.card.is_priced
    assert "input" not in entry.card.rates(NOW).rows


def test_a_posted_model_takes_no_other_names() -> None:
    greedy = ModelRecord("openai", "a", {"contains": "gpt"}, 0, None, POSTED)
    assert (
        name_of(Catalogue([greedy, *OPENAI], PRICES), "openai", "gpt-4.1-2025-04-14")
        == "openai/gpt-4.1 at openai"
    )


# Limits.


def test_limits_are_those_in_force_and_the_price_lists_window_stands_in() -> None:
    catalogue = Catalogue(
        OPENAI,
        PRICES,
        [
            limits("openai", "gpt-4.1", max_output=100, context_window=1_047_576),
            limits("openai", "gpt-4.1", since=NOW, max_output=200),
        ],
    )
    entry = catalogue.resolve("openai", "gpt-4.1")
    assert entry is not None
    assert [each and each.max_output for each in map(entry.limits_at, (-1, 0, NOW - 1, NOW))] == [
        None,
        100,
        100,
        200,
    ]
    assert (entry.context_window(0), entry.context_window(NOW)) == (1_047_576, None)
    other = catalogue.resolve("openai", "gpt-4")
    assert other is not None
    assert (other.limits_at(NOW), other.context_window(NOW)) == (None, 8000)


def test_a_name_may_have_limits_of_its_own() -> None:
    catalogue = Catalogue(
        OPENAI,
        PRICES,
        [limits("openai", "gpt-4", max_output=8192), limits("openai", "gpt-4-chat-latest", max_output=512)],
    )
    for provider in ("openai", "azure_openai"):
        found = [catalogue.resolve(provider, name) for name in ("gpt-4", "gpt-4-0613", "gpt-4-chat-latest")]
        assert [entry and entry.limits[0].max_output for entry in found] == [8192, 8192, 512]


# Explaining.


def test_an_explanation_says_how_a_name_was_found_and_what_it_pays() -> None:
    catalogue = Catalogue(
        OPENAI, [*PRICES, price("openai", "gpt-4.1", "output", 5, rank=30, account="acct_a")]
    )
    assert catalogue.explain("openai", "gpt-9", NOW) is None
    ways = []
    for provider, name in (
        ("openai", "GPT-4.1"),
        ("openai", "gpt-4.1-2025-04-14"),
        ("azure_openai", "gpt-4.1"),
    ):
        explanation = catalogue.explain(provider, name, NOW)
        assert explanation is not None
        assert [rate.row.price_pico for rate in explanation.rates if rate.meter == "output"] == [8]
        ways.append(explanation.how)
    assert ways == [
        "it has this id",
        "its match expression accepts the name",
        "azure_openai serves the model of openai",
    ]
    ours = catalogue.explain("openai", "gpt-4.1", NOW, ["acct_a"])
    assert ours is not None
    assert [rate.row.price_pico for rate in ours.rates if rate.meter == "output"] == [5]
