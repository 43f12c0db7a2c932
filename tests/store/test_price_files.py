"""Posted prices, price files, and the seed that ships: what is read, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from genai_prices.data import providers

from gateway.domain.errors import BadRequest
from gateway.domain.prices import MANUAL, SEED
from gateway.store.price_files import (
    PostedPrice,
    posted_row,
    read_price_file,
    seed_aliases,
    seed_limits,
    seed_prices,
)
from gateway.store.price_sources import genai_prices

NOW = 1_764_000_000_000_000
NEWYEAR = 1_767_225_600_000_000
PLAIN: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4.1",
    "meter": "output",
    "usd_per_million": "8.00",
    "effective_from": "2026-01-01T00:00:00Z",
}


def posted(**fields: Any) -> PostedPrice:
    return msgspec.convert({**PLAIN, **fields}, PostedPrice)


def refusal(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        posted_row(posted(**fields), NOW)
    assert caught.value.hint
    return caught.value


def test_a_posted_price_becomes_a_row() -> None:
    row = posted_row(posted(), NOW)
    assert (row.provider, row.model, row.meter, row.price_pico) == ("openai", "gpt-4.1", "output", 8_000_000)
    assert (row.effective_from_us, row.effective_to_us, row.recorded_at_us) == (NEWYEAR, None, NOW)
    assert (row.source, row.source_text, row.rank) == ("manual", "8.00", MANUAL)
    assert (row.service_tier, row.context_over, row.hours, row.account) == ("", 0, None, None)


def test_the_same_price_in_other_digits_is_the_same_row() -> None:
    assert posted_row(posted(usd_per_million="8"), NOW).id == posted_row(posted(), NOW + 1).id


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("2026-01-01T00:00:00Z", NEWYEAR),
        ("2026-01-01T01:00:00+01:00", NEWYEAR),
        ("2026-01-01", NEWYEAR),
        (None, NOW),
    ],
)
def test_when_a_price_counts_from(text: str | None, at_us: int) -> None:
    assert posted_row(posted(effective_from=text), NOW).effective_from_us == at_us


@pytest.mark.parametrize("tier", ["", "standard", "default", "Auto"])
def test_the_standard_tier_has_one_name_inside(tier: str) -> None:
    assert posted_row(posted(service_tier=tier), NOW).service_tier == ""


def test_a_tier_an_account_and_a_threshold_are_kept() -> None:
    row = posted_row(
        posted(service_tier="Priority", account="acct_a", context_over=200_000, source="deal 7"), NOW
    )
    assert (row.service_tier, row.account, row.context_over, row.source) == (
        "priority",
        "acct_a",
        200_000,
        "deal 7",
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"meter": "tokens"}, "meter"),
        ({"usd_per_million": "-1"}, "usd_per_million"),
        ({"usd_per_million": "1e400"}, "usd_per_million"),
        ({"usd_per_million": "NaN"}, "usd_per_million"),
        ({"effective_from": "tomorrow"}, "effective_from"),
        ({"effective_from": "2026-01-01T00:00:00"}, "effective_from"),
        ({"effective_from": "2026-13-01"}, "effective_from"),
        ({"context_over": -1}, "context_over"),
        ({"context_over": 2**60}, "context_over"),
        ({"provider": ""}, "provider"),
        ({"provider": "p" * 65}, "provider"),
        ({"model": "gpt\n4"}, "model"),
        ({"model": "m" * 256}, "model"),
        ({"service_tier": "t" * 33}, "service_tier"),
        ({"source": "a\x00b"}, "source"),
    ],
)
def test_what_cannot_be_a_price_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


# Files.


def test_a_json_file_is_a_list_of_prices_or_an_object_with_one() -> None:
    expected = [posted_row(posted(source="file deal.json"), NOW)]
    for document in ([PLAIN], {"prices": [PLAIN]}, {"data": [PLAIN]}):
        assert read_price_file(json.dumps(document).encode(), NOW, name="deal.json") == expected


def test_a_csv_file_has_the_same_names_in_its_header() -> None:
    text = (
        "\ufeffprovider,model,meter,usd_per_million,effective_from,service_tier,context_over,source\r\n"
        'openai,gpt-4.1,output,8.00,2026-01-01,,,"a, b"\r\n'
        "openai,gpt-4.1,input,2.5,2026-01-01,flex,200000,\r\n"
    )
    first, second = read_price_file(text.encode(), NOW, name="deal.csv")
    assert (first.source, first.service_tier, first.context_over) == ("a, b", "", 0)
    assert (second.source, second.service_tier, second.context_over) == ("file deal.csv", "flex", 200_000)
    assert second.price_pico == 2_500_000


def test_an_empty_file_has_no_prices() -> None:
    assert read_price_file(b"[]", NOW, name="x") == []
    assert read_price_file(b"", NOW, name="x") == []
    assert read_price_file(b"provider,model\n", NOW, name="x") == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b"[{", "JSON"),
        (b'{"rows": []}', "list of prices"),
        (b'{"prices": 3}', "list of prices"),
        (json.dumps([PLAIN, {**PLAIN, "meter": "x"}]).encode(), "price 2: 'x' is no meter"),
        (json.dumps([{**PLAIN, "usd_per_million": 8.0}]).encode(), "price 1: Expected `str`"),
        (json.dumps([{**PLAIN, "price": "8"}]).encode(), "price 1: Object contains unknown field `price`"),
        (json.dumps([{**PLAIN, "effective_from": None}]).encode(), "price 1: effective_from is missing"),
        (b"[7]", "price 1: Expected `object`"),
        (
            b"provider,model,meter,usd_per_million\nopenai,gpt-4.1,output,8\n",
            "price 1: effective_from is missing",
        ),
        (b"provider,model,colour\nopenai,gpt-4.1,red\n", "price 1: Object"),
        (b"provider,model\nopenai,gpt-4.1,red\n", "price 1: Object"),
        (b'provider,model\nopenai,"gpt-4.1\n', "line"),
        (
            b"provider,model,meter,usd_per_million,effective_from,context_over\no,g,output,8,2026-01-01,1.5\n",
            "price 1: Expected `int`",
        ),
    ],
)
def test_a_bad_file_is_refused_with_the_place(data: bytes, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_price_file(data, NOW, name="x")
    assert words in caught.value.message


# The seed.


def test_the_seed_prices_are_those_of_the_field() -> None:
    rows = {(row.provider, row.model, row.meter): row for row in seed_prices()}
    assert {key: row.price_pico for key, row in rows.items() if key[2] != "code_interpreter"} == {
        ("openai", "gpt-4.1", "output"): 8_000_000,
        ("anthropic", "claude-sonnet-4-5", "output"): 15_000_000,
        ("gemini", "gemini-2.5-flash", "output"): 2_500_000,
        ("deepseek", "deepseek-v3.2", "output"): 420_000,
        ("deepseek", "deepseek-v3.2", "input"): 280_000,
        ("deepseek", "deepseek-v3.2", "cache_read"): 28_000,
    }
    for row in rows.values():
        assert row.rank == SEED
        assert row.effective_from_us == 0
        assert len(row.source) > 30, "each seed price says where it was read"


def test_containers_have_a_price_wherever_files_are_searched() -> None:
    """The models that run tools at OpenAI are those with a price for searches of files."""
    models = {
        row.model for row in genai_prices().rows if (row.provider, row.meter) == ("openai", "file_search")
    }
    seeded = {row.model: row.price_pico for row in seed_prices() if row.meter == "code_interpreter"}
    assert seeded == dict.fromkeys(models, 30_000_000_000)  # $0.03 for each GB of a session


def test_the_seed_limits_hold_together() -> None:
    limits = seed_limits()
    assert len({(each.provider, each.model) for each in limits}) == len(limits)
    for each in limits:
        assert each.source
        assert each.cap_field in ("max_tokens", "max_completion_tokens", None)
        # Speech is made of far more tokens than the text it is made from.
        if each.context_window and each.max_output and not each.model.endswith("-tts"):
            assert each.max_output <= each.context_window
        assert each.max_output is None or each.max_output > 0


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        (("openai", "gpt-4.1"), (1_047_576, 32_768, "max_tokens")),
        (("openai", "gpt-4o"), (128_000, 16_384, "max_tokens")),
        (("openai", "o3"), (200_000, 100_000, "max_completion_tokens")),
        (("openai", "gpt-5"), (400_000, 128_000, "max_completion_tokens")),
        (("openai", "gpt-5-chat-latest"), (128_000, 16_384, "max_completion_tokens")),
        (("openai", "text-embedding-3-small"), (8192, None, None)),
        (("anthropic", "claude-sonnet-4-5"), (1_000_000, 64_000, "max_tokens")),
        (("anthropic", "claude-3-haiku"), (200_000, 4096, "max_tokens")),
        (("gemini", "gemini-2.5-flash"), (1_048_576, 65_536, None)),
        (("deepseek", "deepseek-v4-pro"), (1_048_565, 384_000, "max_tokens")),
    ],
)
def test_a_seed_limit(name: tuple[str, str], figures: tuple[int, int, str]) -> None:
    [found] = [each for each in seed_limits() if (each.provider, each.model) == name]
    assert (found.context_window, found.max_output, found.cap_field) == figures


def test_reasoning_models_take_only_the_newer_cap() -> None:
    for each in seed_limits():
        if each.provider == "openai" and each.model.startswith(("o1", "o3", "o4", "gpt-5", "gpt-6")):
            assert each.cap_field == "max_completion_tokens", each.model


def test_seed_limits_are_of_models_there_are() -> None:
    ours = {"openai": "openai", "anthropic": "anthropic", "google": "gemini", "deepseek": "deepseek"}
    known = {(ours[each.id], model.id) for each in providers if each.id in ours for model in each.models}
    names = {(each.provider, each.model) for each in seed_limits()} - known
    assert all(name.endswith("-chat-latest") for _, name in names), "only names, with limits of their own"


def test_the_seed_aliases_are_the_fields_spellings() -> None:
    assert seed_aliases() == {
        "gpt-4.1": "openai/gpt-4.1",
        "claude-sonnet-4.5": "anthropic/claude-sonnet-4-5",
        "gemini-2.5-flash": "gemini/gemini-2.5-flash",
        "deepseek-v3.2": "deepseek/deepseek-v3.2",
    }
