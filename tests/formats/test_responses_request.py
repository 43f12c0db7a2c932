"""What a Responses request asks for: its bounds, what is out of sight, what it names at the provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import BadRequest
from gateway.formats import allowances
from gateway.formats.base import Intent
from gateway.formats.responses_request import read_responses
from gateway.formats.responses_tools import IMAGE_MODEL, TOOL_CALLS_MAX


def read(**members: Any) -> Intent:
    return read_responses(json.dumps({"model": "gpt-5.2", "input": "A pier", **members}).encode())


def item(**members: Any) -> Intent:
    return read(input=[members])


def part(**members: Any) -> Intent:
    return item(role="user", content=[members])


def test_a_plain_request() -> None:
    body = b'{"model":"gpt-5.2","input":"A pier","max_output_tokens":64,"service_tier":"flex","user":"ada"}'
    intent = read_responses(body)
    assert intent.input_bound == len(body) + intent.allowance
    assert (intent.output_cap, intent.choices, intent.loops, intent.stream) == (64, 1, 1, False)
    assert (intent.service_tier, intent.end_user, intent.unseen_input) == ("flex", "ada", False)
    assert (intent.stored, intent.others) == ((), ())
    assert intent.fees == {}


def test_a_stream_always_tells_its_usage() -> None:
    assert read(stream=True).wants_usage


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"input": 7}, "input"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"max_tool_calls": 5000}, "max_tool_calls"),
        ({"safety_identifier": "a\0b"}, "safety_identifier"),
        ({"instructions": ["be brief"]}, "instructions"),
    ],
)
def test_what_is_no_request_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**members)
    assert refused.value.param == param


@pytest.mark.parametrize("key", ["previous_response_id", "max_output_tokens", "tools", "store"])
def test_what_decides_is_said_once(key: str) -> None:
    with pytest.raises(BadRequest, match="2 times"):
        read_responses(b'{"model":"m","input":"x","%b":null,"%b":null}' % (key.encode(), key.encode()))


@pytest.mark.parametrize(
    ("members", "stored"),
    [
        ({"previous_response_id": "resp_1"}, ("resp_1",)),
        ({"conversation": "conv_1"}, ("conv_1",)),
        ({"conversation": {"id": "conv_1"}}, ("conv_1",)),
        ({"prompt": {"id": "pmpt_1"}}, ("pmpt_1",)),
        (
            {
                "prompt": {
                    "id": "pmpt_1",
                    "variables": {"a": "x", "b": {"type": "input_file", "file_id": "file_1"}},
                }
            },
            ("pmpt_1", "file_1"),
        ),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ("msg_1",)),
        ({"input": [{"id": "msg_1"}]}, ("msg_1",)),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, ("rs_1",)),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, ("ig_1",)),
        ({"input": [{"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}]}, ("cntr_1",)),
        (
            {
                "input": [
                    {
                        "type": "shell_call",
                        "environment": {"type": "container_reference", "container_id": "cntr_1"},
                    }
                ]
            },
            ("cntr_1",),
        ),
        (
            {
                "input": [
                    {"type": "function_call_output", "output": [{"type": "input_file", "file_id": "file_1"}]}
                ]
            },
            ("file_1",),
        ),
        (
            {
                "input": [
                    {
                        "type": "computer_call_output",
                        "output": {"type": "computer_screenshot", "file_id": "file_1"},
                    }
                ]
            },
            ("file_1",),
        ),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]}, ("vs_1", "vs_2")),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, ("cntr_1",)),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file_1"]}}]},
            ("file_1",),
        ),
        (
            {
                "tools": [
                    {
                        "type": "shell",
                        "environment": {
                            "type": "container_auto",
                            "skills": [{"type": "skill_reference", "skill_id": "skill_1"}],
                        },
                    }
                ]
            },
            ("skill_1",),
        ),
        ({"tools": [{"type": "image_generation", "input_image_mask": {"file_id": "file_1"}}]}, ("file_1",)),
    ],
)
def test_what_is_kept_at_the_provider_is_named_and_out_of_sight(
    members: dict[str, Any], stored: tuple[str, ...]
) -> None:
    intent = read(**members)
    assert intent.stored == stored
    assert intent.unseen_input


@pytest.mark.parametrize(
    "given",
    [
        {"role": "user", "content": "A pier"},
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "content": [{"type": "output_text", "text": "x"}],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "tide", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "high water"},
        {
            "type": "mcp_list_tools",
            "id": "mcpl_1",
            "server_label": "s",
            "tools": [{"name": "t", "input_schema": {}}],
        },
    ],
)
def test_what_is_brought_along_is_in_sight(given: dict[str, Any]) -> None:
    intent = item(**given)
    assert (intent.stored, intent.unseen_input) == ((), False)


@pytest.mark.parametrize("kind", ["web_search_call", "file_search_call", "dream"])
def test_items_of_unknown_content_are_out_of_sight(kind: str) -> None:
    assert item(type=kind, id="x_1").unseen_input


def test_an_image_costs_its_bound_and_not_its_bytes() -> None:
    url = "data:image/png;base64," + "A" * 5_000
    intent = part(type="input_image", image_url=url, detail="high")
    assert intent.allowance >= allowances.image_tokens_max("gpt-5.2", "high")
    assert intent.input_bound < 5_000 + intent.allowance
    assert not intent.unseen_input


def test_audio_costs_its_bound_in_a_meter_of_its_own() -> None:
    intent = part(type="input_audio", input_audio={"data": "A" * 5_000, "format": "mp3"})
    assert intent.prices_apart == {"audio_input"}
    assert intent.allowance >= allowances.audio_tokens_max(5_000)


@pytest.mark.parametrize("kind", ["input_file", "dream"])
def test_parts_of_unknown_size_are_out_of_sight(kind: str) -> None:
    assert part(type=kind).unseen_input


@pytest.mark.parametrize(
    ("tool", "fees", "loops"),
    [
        ({"type": "function", "name": "tide", "parameters": {}}, {}, 1),
        ({"type": "custom", "name": "log"}, {}, 1),
        ({"type": "namespace", "tools": [{"type": "function"}]}, {}, 1),
        ({"type": "computer", "display_width": 800}, {}, 1),
        ({"type": "shell", "environment": {"type": "local"}}, {}, 1),
        ({"type": "web_search"}, {"web_search": TOOL_CALLS_MAX}, 1 + TOOL_CALLS_MAX),
        ({"type": "web_search_preview_2025_03_11"}, {"web_search": TOOL_CALLS_MAX}, 1 + TOOL_CALLS_MAX),
        (
            {"type": "file_search", "vector_store_ids": []},
            {"file_search": TOOL_CALLS_MAX},
            1 + TOOL_CALLS_MAX,
        ),
        (
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"code_interpreter": 1},
            1 + TOOL_CALLS_MAX,
        ),
        (
            {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "16g"}},
            {"code_interpreter": 16},
            1 + TOOL_CALLS_MAX,
        ),
        ({"type": "mcp", "server_label": "s", "server_url": "https://example.com"}, {}, 1 + TOOL_CALLS_MAX),
        ({"type": "dream"}, {}, 1 + TOOL_CALLS_MAX),
    ],
)
def test_tools_that_the_provider_runs_are_bounded(
    tool: dict[str, Any], fees: dict[str, int], loops: int
) -> None:
    intent = read(tools=[tool])
    assert (intent.fees, intent.loops) == (fees, loops)
    assert intent.unseen_input == (loops > 1)
    assert intent.allowance >= allowances.TOOLS_TOKENS


def test_the_callers_own_bound_on_tools_counts() -> None:
    intent = read(tools=[{"type": "web_search"}], max_tool_calls=2)
    assert (intent.fees, intent.loops) == ({"web_search": 2}, 3)


def test_tools_in_the_midst_of_the_input_count() -> None:
    assert item(type="additional_tools", role="developer", tools=[{"type": "web_search"}]).fees


def test_images_are_made_by_a_model_of_their_own() -> None:
    named, unnamed = read(
        tools=[{"type": "image_generation", "model": "gpt-image-2"}, {"type": "image_generation"}],
        max_tool_calls=3,
    ).others
    assert (named.model, unnamed.model) == ("gpt-image-2", IMAGE_MODEL)
    assert (named.choices, named.loops) == (3, 3)


def test_compacting_and_thinking_in_turns_read_more() -> None:
    assert read(context_management=[{"type": "compaction"}]).loops == 2
    assert read(reasoning={"mode": "pro"}).unseen_input
    assert not read(reasoning={"mode": "standard", "effort": "high"}).unseen_input
