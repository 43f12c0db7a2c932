"""A chat request becomes an intent that bounds what it may cost; a wrong one is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import BadRequest
from gateway.formats import allowances
from gateway.formats.base import Intent
from gateway.formats.openai_chat import FORMAT
from gateway.formats.tokens import TiktokenCounter

HELLO = [{"role": "user", "content": "Hello"}]
PIXEL = "data:image/png;base64," + "A" * 4_000


def body_of(**members: Any) -> bytes:
    return json.dumps({"model": "gpt-4.1", "messages": HELLO, **members}).encode()


def read(**members: Any) -> Intent:
    return FORMAT.read("/v1/chat/completions", body_of(**members))


def part(**members: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, members]}]


def test_the_smallest_call() -> None:
    intent = read()
    assert (intent.model, intent.stream, intent.choices) == ("gpt-4.1", False, 1)
    assert (intent.output_cap, intent.end_user, intent.service_tier) == (None, None, None)
    assert not intent.unseen_input
    assert not intent.wants_usage
    assert (intent.fees, intent.loops, intent.output_extra, intent.prices_apart) == ({}, 1, 0, frozenset())
    assert intent.allowance == allowances.BASE_TOKENS + allowances.MESSAGE_TOKENS
    assert intent.input_bound == len(body_of()) + intent.allowance


def test_nulls_are_as_good_as_absent() -> None:
    nulls = dict.fromkeys(
        ("stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools", "functions", "user")
    )
    more = dict.fromkeys(
        (
            "response_format",
            "modalities",
            "prediction",
            "web_search_options",
            "service_tier",
            "safety_identifier",
        )
    )
    intent = read(**nulls, **more)
    assert intent.output_cap is None
    assert (intent.choices, intent.fees, intent.allowance) == (1, {}, read().allowance)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"model": "gpt\n4"}, "model"),
        ({"model": 4}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [{"content": "Hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"text": "x"}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": part(type="image_url", image_url={})}, "messages[0].content[1].image_url.url"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 100.0}, "max_tokens"),
        ({"max_tokens": "100"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"max_tokens": 10**400}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_completion_tokens": []}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": -2}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": 1025}, "n"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools[0]"),
        ({"functions": "x"}, "functions"),
        ({"response_format": "json"}, "response_format"),
        ({"modalities": "audio"}, "modalities"),
        ({"prediction": "x"}, "prediction"),
        ({"web_search_options": True}, "web_search_options"),
        ({"service_tier": 1}, "service_tier"),
        ({"user": 7}, "user"),
        ({"user": "a\u0000b"}, "user"),
        ({"safety_identifier": "a\u0000b"}, "safety_identifier"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_cannot_be_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**members)
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


@pytest.mark.parametrize(
    "key", ["model", "stream", "max_tokens", "max_completion_tokens", "n", "stream_options"]
)
def test_a_deciding_member_stands_once(key: str) -> None:
    given = {
        "model": "m",
        "messages": HELLO,
        "stream": True,
        "max_tokens": 5,
        "max_completion_tokens": 5,
        "n": 1,
    }
    given["stream_options"] = {"include_usage": True}
    text = json.dumps(given)
    for name in (f'"{key}"', f'"\\u{ord(key[0]):04x}{key[1:]}"'):
        twice = text[:-1] + f", {name}: {json.dumps(given[key])}}}"
        with pytest.raises(BadRequest) as caught:
            FORMAT.read("", twice.encode())
        assert caught.value.param == key


def test_the_wish_for_usage_stands_once() -> None:
    twice = b'{"include_usage":true,"include_usage":false}'
    body = b'{"model":"m","messages":[{"role":"user"}],"stream":true,"stream_options":' + twice + b"}"
    with pytest.raises(BadRequest) as caught:
        FORMAT.read("", body)
    assert caught.value.param == "stream_options.include_usage"


def test_the_smaller_of_both_caps_counts() -> None:
    assert read(max_tokens=7).output_cap == 7
    assert read(max_completion_tokens=0).output_cap == 0
    assert read(max_tokens=7, max_completion_tokens=9).output_cap == 7
    assert read(max_tokens=9, max_completion_tokens=7).output_cap == 7


def test_usage_is_wanted_only_of_a_stream() -> None:
    asked = {"include_usage": True}
    assert read(stream=True, stream_options=asked).wants_usage
    assert not read(stream=False, stream_options=asked).wants_usage
    assert not read(stream=True, stream_options={"include_usage": False}).wants_usage
    assert not read(stream=True, stream_options={"include_obfuscation": False}).wants_usage


def test_who_asks() -> None:
    assert read(user="ada").end_user == "ada"
    assert read(user="ada", safety_identifier="u-7").end_user == "u-7"
    assert read(user="ada", safety_identifier="").end_user == "ada"
    assert read(user="").end_user is None
    assert read(service_tier="flex").service_tier == "flex"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "gpt-4o-mini", "an-alias"])
@pytest.mark.parametrize("detail", [None, "low", "high"])
def test_an_image_costs_its_rule_and_not_its_bytes(model: str, detail: str | None) -> None:
    for url in ("https://example.com/pier.png", PIXEL):
        messages = part(type="image_url", image_url={"url": url, "detail": detail})
        intent = read(model=model, messages=messages)
        image = allowances.image_tokens_max(model, detail)
        assert not intent.unseen_input
        assert intent.allowance == read(model=model).allowance + image
        text = len(body_of(model=model, messages=messages)) - (len(url) if url is PIXEL else 0)
        assert intent.input_bound == text + intent.allowance


def test_a_bare_image_url_is_an_image_too() -> None:
    intent = read(model="pixtral", messages=part(type="image_url", image_url=PIXEL))
    assert intent.allowance == read().allowance + allowances.image_tokens_max("pixtral", None)
    assert intent.input_bound < 4_000 + intent.allowance


def test_audio_is_bounded_by_its_length_and_priced_apart() -> None:
    intent = read(messages=part(type="input_audio", input_audio={"data": "A" * 3_200, "format": "wav"}))
    assert intent.prices_apart == {"audio_input"}
    assert intent.allowance == read().allowance + allowances.audio_tokens_max(3_200)
    assert intent.input_bound < 3_200
    spoken = read(modalities=["text", "audio"], audio={"voice": "ash", "format": "wav"})
    assert spoken.prices_apart == {"audio_output"}
    assert read(modalities=["text"]).prices_apart == frozenset()


@pytest.mark.parametrize(
    "members",
    [
        {"messages": part(type="file", file={"file_id": "file-1"})},
        {"messages": part(type="file", file={"file_data": "data:application/pdf;base64,JVBERi0="})},
        {"messages": part(type="video_url", video_url={"url": "https://example.com/v.mp4"})},
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}, *HELLO]},
        {"web_search_options": {}},
        {"model": "gpt-4o-search-preview"},
        {"tools": [{"type": "web_search"}]},
        {"data_sources": [{"type": "azure_search"}]},
        {"search_parameters": {"mode": "on"}},
        {"plugins": [{"id": "web"}]},
    ],
    ids=lambda members: json.dumps(members)[:50],
)
def test_what_the_gateway_cannot_see_is_said(members: dict[str, Any]) -> None:
    assert read(**members).unseen_input


def test_searching_models_cost_a_fee() -> None:
    assert read(model="gpt-4o-search-preview").fees == {"web_search": 1}
    assert read(model="gpt-5-search-api-2025-10-14").fees == {"web_search": 1}
    assert read(web_search_options={"search_context_size": "low"}).fees == {"web_search": 1}


def test_tools_and_schemas_add_hidden_text() -> None:
    tool = {"type": "function", "function": {"name": "tide", "parameters": {}}}
    added = read(tools=[tool, tool]).allowance - read().allowance
    assert added == allowances.TOOLS_TOKENS + 2 * allowances.TOOL_TOKENS
    assert read(functions=[tool["function"]]).allowance > read().allowance
    assert read(tools=[]).allowance == read().allowance
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    assert read(response_format=schema).allowance == read().allowance + allowances.SCHEMA_TOKENS


def test_predicted_text_may_be_billed_beyond_the_cap() -> None:
    assert read(prediction={"type": "content", "content": "x" * 100}).output_extra == 102


def test_choices_multiply_the_output_not_the_input() -> None:
    assert read(n=3).choices == 3
    assert read(n=3).allowance == read().allowance


def test_the_prompt_is_counted_as_openais_cookbook_does(counters: dict[str, TiktokenCounter]) -> None:
    counter = counters["o200k_base"]
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "ada",
            "content": [{"type": "text", "text": "Hello 港"}, {"type": "image_url", "image_url": PIXEL}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "4 m"},
    ]
    texts = ["system", "Be brief.", "user", "ada", "Hello 港", "assistant", "tool", "4 m"]
    call = '[{"id":"c","type":"function","function":{"name":"t","arguments":"{}"}}]'
    expected = 3 + 4 * 3 + sum(counter.count(text) for text in [*texts, call])
    body = body_of(messages=messages)
    assert FORMAT.prompt_tokens(body, counter) == expected
    assert FORMAT.prompt_text(body).split("\n") == [*texts[:6], call, *texts[6:]]
    with_tools = body_of(messages=messages, tools=[{"type": "function"}])
    assert FORMAT.prompt_tokens(with_tools, counter) > expected


def test_a_prompt_nested_to_the_limit_is_counted_all_the_same(counters: dict[str, TiktokenCounter]) -> None:
    """The depth that can be read depends on the stack it is read from."""
    deepest = b""
    for depth in range(100, 1_000):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        body = body_of()[:-1] + b',"tools":[{"x":' + deep + b"}]}"
        try:
            FORMAT.read("", body)
        except BadRequest:
            break
        deepest = body
        assert FORMAT.prompt_tokens(body, counters["o200k_base"]) > depth
    assert deepest


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]},
        {"role": "user", "content": [{"type": "file", "file_id": "file_1"}]},
        {"role": "assistant", "audio": {"id": "file_1"}},
    ],
)
def test_what_is_kept_at_the_provider_is_named(message: dict[str, Any]) -> None:
    intent = FORMAT.read("", json.dumps({"model": "m", "messages": [message]}).encode())
    assert intent.stored == ("file_1",)
    assert intent.unseen_input
