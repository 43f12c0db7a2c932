"""Chat requests in Anthropic's words, and what cannot be said there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.domain.errors import BadRequest
from gateway.formats.anthropic_messages import FORMAT
from gateway.formats.translation.chat_to_anthropic import TRANSLATION
from tests.formats.translation.translating import translated

HI: Any = {"role": "user", "content": "hi"}


def said(*messages: Any, model: str = "claude-sonnet-4-5", **fields: Any) -> Any:
    made = translated(TRANSLATION, {"messages": list(messages) or [HI], **fields}, model)
    FORMAT.read(made.path, made.body)
    return msgspec.json.decode(made.body)


def refused(*messages: Any, **fields: Any) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as raised:
        said(*messages, **fields)
    return raised.value.code, raised.value.param


def call(id_: str, arguments: str = "{}") -> Any:
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": arguments}}


def test_turns_alternate_and_instructions_go_to_the_front() -> None:
    made = said(
        {"role": "system", "content": "One."},
        HI,
        {"role": "user", "content": [{"type": "text", "text": "there"}, {"type": "text", "text": ""}]},
        {"role": "assistant", "content": ""},
        {"role": "developer", "content": "Two."},
        {"role": "assistant", "content": "Hello "},
    )
    assert [block["text"] for block in made["system"]] == ["One.", "Two."]
    assert [turn["role"] for turn in made["messages"]] == ["user", "assistant"]
    assert [block["text"] for block in made["messages"][0]["content"]] == ["hi", "there"]
    assert made["messages"][1]["content"] == [{"type": "text", "text": "Hello"}]


def test_results_of_parallel_calls_stand_together_before_the_user() -> None:
    made = said(
        HI,
        {"role": "assistant", "content": None, "tool_calls": [call("a:1", '{"x": 1}'), call("b", "")]},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "tool", "tool_call_id": "a:1", "content": "sun"},
        {"role": "user", "content": "and?"},
    )
    assert [(block["id"], block["input"]) for block in made["messages"][1]["content"]] == [
        ("a_1", {"x": 1}),
        ("b", {}),
    ]
    assert [block["type"] for block in made["messages"][2]["content"]] == [
        "tool_result",
        "tool_result",
        "text",
    ]
    assert made["messages"][2]["content"][1]["tool_use_id"] == "a_1"


def test_media_are_sent_as_they_came() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,BBBB", "filename": "a.pdf"}},
    ]
    blocks = said({"role": "user", "content": parts})["messages"][0]["content"]
    assert [block["source"]["type"] for block in blocks] == ["base64", "url", "base64"]
    assert blocks[2]["title"] == "a.pdf"


def test_a_cap_is_always_named() -> None:
    assert said()["max_tokens"] == 2**31 - 1
    assert said(max_tokens=5)["max_tokens"] == 5
    assert said(max_completion_tokens=6, max_tokens=7)["max_tokens"] == 6
    made = translated(TRANSLATION, {"messages": [HI]}, "m")
    intent = FORMAT.read(made.path, made.body)
    assert msgspec.json.decode(FORMAT.upstream_body(made.body, intent, "m", "", 64))["max_tokens"] == 64


@pytest.mark.parametrize(
    ("model", "fields", "thinking", "effort"),
    [
        ("claude-sonnet-4-5", {"reasoning_effort": "low"}, {"type": "enabled", "budget_tokens": 1024}, None),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "high", "max_completion_tokens": 4096},
            {"type": "enabled", "budget_tokens": 2048},
            None,
        ),
        (
            "claude-opus-4-20250514",
            {"reasoning_effort": "max"},
            {"type": "enabled", "budget_tokens": 31999},
            None,
        ),
        ("claude-sonnet-4-6", {"reasoning_effort": "medium"}, {"type": "adaptive"}, "medium"),
        ("claude-sonnet-5", {"reasoning_effort": "minimal"}, {"type": "adaptive"}, "low"),
        ("claude-sonnet-5", {"reasoning_effort": "none"}, {"type": "disabled"}, None),
    ],
)
def test_effort_is_a_budget_or_an_effort(model: str, fields: Any, thinking: Any, effort: str | None) -> None:
    made = said(model=model, **fields)
    assert made["thinking"] == thinking
    assert made.get("output_config", {}).get("effort") == effort


def test_tools_and_their_choice() -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "strict": True}}
    made = said(tools=[tool], tool_choice="required", parallel_tool_calls=False)
    assert made["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}, "strict": True}
    ]
    assert made["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    named = {"type": "function", "function": {"name": "f"}}
    assert said(tools=[tool], tool_choice=named)["tool_choice"] == {"type": "tool", "name": "f"}
    assert said(tools=[tool], tool_choice="none")["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in said(tool_choice="auto")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"seed": 1}, "seed"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {"x": 1}}, "web_search_options"),
        ({"verbosity": "low"}, "verbosity"),
        ({"store": True}, "store"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"temperature": 1.2}, "temperature"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"brand_new": 1}, "brand_new"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].custom"),
        ({"reasoning_effort": "low", "max_tokens": 1000}, "reasoning_effort"),
        ({"reasoning_effort": "low", "temperature": 0.2}, "temperature"),
        ({"reasoning_effort": "much"}, "reasoning_effort"),
    ],
)
def test_what_cannot_be_said_is_named(fields: Any, param: str) -> None:
    assert refused(**fields) == ("unsupported_field", param)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, "type"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file.file_id"),
        ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "https://x/y", "detail": "low"}}, "image_url.detail"),
        ({"type": "text", "text": "x", "prompt_cache_breakpoint": {}}, "prompt_cache_breakpoint"),
    ],
)
def test_a_part_that_cannot_be_said_is_named(part: Any, param: str) -> None:
    code, where = refused({"role": "user", "content": [part]})
    assert code == "unsupported_field"
    assert (where or "").replace("[...]", "[0]") == f"messages[0].content[0].{param}"


def test_what_asks_for_nothing_is_left_out() -> None:
    made = said(
        n=1,
        logprobs=False,
        store=False,
        metadata={"a": "b"},
        user="u",
        logit_bias={},
        modalities=["text"],
        presence_penalty=0,
        parallel_tool_calls=True,
        prompt_cache_key="k",
        verbosity="medium",
        response_format={"type": "text"},
    )
    assert made == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 2**31 - 1,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "metadata": {"user_id": "u"},
    }
