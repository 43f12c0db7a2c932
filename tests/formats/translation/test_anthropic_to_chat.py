"""Anthropic's requests in the words of chat completions, and what cannot be said there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.domain.errors import BadRequest
from gateway.formats.openai_chat import FORMAT
from gateway.formats.translation.anthropic_to_chat import TRANSLATION
from tests.formats.translation.translating import translated

HI: Any = {"role": "user", "content": "hi"}
TOOL: Any = {
    "name": "f",
    "description": "d",
    "input_schema": {"type": "object"},
    "cache_control": {"type": "ephemeral"},
}


def said(*messages: Any, model: str = "gpt-4.1", **fields: Any) -> Any:
    made = translated(TRANSLATION, {"messages": list(messages) or [HI], "max_tokens": 9, **fields}, model)
    FORMAT.read(made.path, made.body)
    return msgspec.json.decode(made.body)


def test_a_conversation_with_tools() -> None:
    text = {"type": "text", "text": "1"}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    made = said(
        HI,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "reasoning_content"},
                {"type": "thinking", "thinking": "Claude's", "signature": "c2ln"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [text, picture]},
                {"type": "tool_result", "tool_use_id": "b", "content": "no", "is_error": True},
                {"type": "text", "text": "and?", "cache_control": {"type": "ephemeral"}},
            ],
        },
        system=[{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}],
    )["messages"]
    assert made[0] == {"role": "system", "content": "One.\n\nTwo."}
    assert made[2]["content"] == "Let me see."
    assert made[2]["reasoning_content"] == "t"
    arguments = [call["function"]["arguments"] for call in made[2]["tool_calls"]]
    assert [msgspec.json.decode(each) for each in arguments] == [{"x": 1}, {}]
    assert made[3:5] == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: no"},
    ]
    assert [part["type"] for part in made[5]["content"]] == ["image_url", "text"]


def test_the_rest_of_a_request() -> None:
    made = said(
        tools=[TOOL],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["x"],
        temperature=0.5,
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        thinking={"type": "enabled", "budget_tokens": 8192},
        stream=True,
        metadata={"user_id": "u"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    )
    assert made["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    ]
    assert (made["tool_choice"], made["parallel_tool_calls"]) == ("required", False)
    assert made["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert made["reasoning_effort"] == "medium"
    assert made["stream_options"] == {"include_usage": True}
    assert "max_tokens" not in made
    assert "user" not in made


def test_the_cap_is_in_the_field_that_the_model_obeys() -> None:
    made = translated(TRANSLATION, {"messages": [HI], "max_tokens": 9}, "gpt-5")
    intent = msgspec.structs.replace(FORMAT.read(made.path, made.body), output_cap=9)
    for field in ("max_tokens", "max_completion_tokens"):
        body = FORMAT.upstream_body(made.body, intent, "gpt-5", field, 9)
        assert msgspec.json.decode(body)[field] == 9


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_k": 5}, "top_k"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]}, "tools[0].type"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"fallbacks": [{"model": "x"}]}, "fallbacks"),
        ({"speed": "fast"}, "speed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop_sequences": list("abcde")}, "stop_sequences[4]"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management.edits[0]"),
        ({"brand_new": 1}, "brand_new"),
    ],
)
def test_what_cannot_be_said_is_named(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        said(**fields)
    assert (raised.value.code, raised.value.param) == ("unsupported_field", param)


@pytest.mark.parametrize(
    ("block", "param"),
    [
        ({"type": "document", "source": {"type": "url", "url": "x"}}, "source.type"),
        ({"type": "image", "source": {"type": "file"}}, "source.type"),
        ({"type": "search_result"}, "type"),
        ({"type": "text", "text": "x", "brand_new": 1}, "brand_new"),
    ],
)
def test_a_block_that_cannot_be_said_is_named(block: Any, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        said({"role": "user", "content": [block]})
    assert raised.value.code == "unsupported_field"
    assert (raised.value.param or "").replace("[...]", "[0]") == f"messages[0].content[0].{param}"
