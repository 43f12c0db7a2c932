"""What a Messages request asks for: its cap, its turns, its tier, its helpers, what it names at Anthropic."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import BadRequest
from gateway.formats.anthropic_request import read_count, read_messages
from gateway.formats.anthropic_tools import TURNS_MAX
from gateway.formats.base import Intent

SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def body_of(**members: Any) -> bytes:
    asked = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "A pier"}],
    }
    return json.dumps({**asked, **members}).encode()


def read(**members: Any) -> Intent:
    return read_messages(body_of(**members))


def test_a_plain_request() -> None:
    intent = read(stream=True, metadata={"user_id": "ada"})
    assert (intent.output_cap, intent.choices, intent.loops) == (64, 1, 1)
    assert (intent.stream, intent.wants_usage, intent.end_user) == (True, True, "ada")
    assert intent.input_bound == len(body_of(stream=True, metadata={"user_id": "ada"})) + intent.allowance
    assert (intent.unseen_input, intent.fees, intent.others, intent.stored) == (False, {}, (), ())


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"model": "a\nb"}, "model"),
        ({"metadata": {"user_id": "a\0"}}, "metadata.user_id"),
        ({"fallbacks": 7}, "fallbacks"),
    ],
)
def test_what_is_no_request_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**members)
    assert refused.value.param == param


@pytest.mark.parametrize("key", ["max_tokens", "tools", "model", "container", "fallbacks", "speed"])
def test_what_decides_is_said_once(key: str) -> None:
    twice = body_of()[:-1] + b',"%b":null,"%b":null}' % (key.encode(), key.encode())
    with pytest.raises(BadRequest, match=f"`{key}` is in the body"):
        read_messages(twice)


@pytest.mark.parametrize(
    ("members", "tier"),
    [
        ({}, None),
        ({"service_tier": "standard_only"}, "standard_only"),
        ({"speed": "fast"}, "fast"),
        ({"speed": "standard", "service_tier": "auto"}, "auto"),
        ({"inference_geo": "us"}, "inference_geo:us"),
        ({"inference_geo": "global"}, None),
    ],
)
def test_what_of_it_decides_the_prices(members: dict[str, Any], tier: str | None) -> None:
    assert read(**members).service_tier == tier


def test_tools_that_anthropic_runs_read_the_prompt_again() -> None:
    bounded, free = read(tools=[{**SEARCH, "max_uses": 2}]), read(tools=[SEARCH])
    assert (bounded.loops, bounded.choices, bounded.fees) == (3, 3, {"web_search": 2})
    assert (free.loops, free.fees) == (TURNS_MAX, {"web_search": 30})
    assert bounded.unseen_input


def test_a_compaction_reads_it_once_more() -> None:
    assert read(context_management={"edits": [{"type": "compact_20260112"}]}).loops == 2
    assert read(context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}).loops == 1


def test_a_long_cache_has_a_price_of_its_own() -> None:
    text = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert read(system=[text]).prices_apart == {"cache_write_1h"}
    assert read(cache_control={"type": "ephemeral", "ttl": "5m"}).prices_apart == frozenset()


def test_each_helper_costs_what_its_own_model_costs() -> None:
    advisor = {
        "type": "advisor_20260301",
        "name": "a",
        "model": "claude-opus-4-8",
        "max_uses": 2,
        "max_tokens": 99,
    }
    intent = read(tools=[advisor], fallbacks=[{"model": "claude-haiku-4-5", "max_tokens": 10}])
    advised, fallen = intent.others
    assert (advised.model, advised.output_cap, advised.choices) == ("claude-opus-4-8", 99, 2)
    assert (fallen.model, fallen.output_cap) == ("claude-haiku-4-5", 10)
    assert advised.input_bound > intent.allowance


@pytest.mark.parametrize(
    ("members", "stored"),
    [
        ({"container": "container_1"}, ("container_1",)),
        ({"container": {"id": "container_1"}}, ("container_1",)),
        ({"container": {"skills": [{"type": "anthropic", "skill_id": "pdf"}]}}, ()),
        ({"container": {"skills": [{"type": "custom", "skill_id": "skill_1"}]}}, ("skill_1",)),
        ({"thread": {"previous_message_id": "msg_1"}}, ("msg_1",)),
    ],
)
def test_what_it_goes_on_from_is_named_and_out_of_sight(
    members: dict[str, Any], stored: tuple[str, ...]
) -> None:
    intent = read(**members)
    assert intent.stored == stored
    assert intent.unseen_input


def file_block(kind: str) -> dict[str, Any]:
    return {"type": kind, "source": {"type": "file", "file_id": "file_1"}}


@pytest.mark.parametrize(
    "block",
    [
        file_block("document"),
        file_block("image"),
        {"type": "container_upload", "file_id": "file_1"},
        {"type": "tool_result", "tool_use_id": "t", "content": [file_block("document")]},
    ],
)
def test_files_are_named_wherever_they_stand(block: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": [block]}]
    assert read(messages=messages).stored == ("file_1",)
    assert read_count(body_of(messages=messages)).stored == ("file_1",)


def test_a_count_is_free() -> None:
    intent = read_count(body_of(tools=[SEARCH]))
    assert (intent.input_bound, intent.output_cap, intent.fees, intent.loops) == (0, 0, {}, 1)
