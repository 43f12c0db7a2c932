"""Whatever a body looks like, the answer is the provider's and the server lives."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.simulators import SimulatedProviders
from tests.simulators.raw import PATHS, connect, hear, request_bytes

KEYS = {"x-api-key": "k", "api-key": "k", "x-goog-api-key": "k", "anthropic-version": "2023-06-01"}
TOOL = {
    "name": "f",
    "description": "d",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
}
CHAT: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi [[sim: words=2]]"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ],
    "tools": [{"type": "function", "function": TOOL}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "stop": ["x"],
    "n": 2,
    "logprobs": True,
    "top_logprobs": 1,
}
BODIES: dict[str, dict[str, Any]] = {
    "openai": CHAT,
    "azure": CHAT,
    "deepseek": CHAT | {"model": "deepseek-chat", "n": 1, "thinking": {"type": "disabled"}},
    "anthropic": {
        "model": "claude-haiku-4-5",
        "max_tokens": 2_000,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "Hi [[sim: words=2]]"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "disabled"},
        "stop_sequences": ["x"],
    },
    "gemini": {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi [[sim: words=2]]"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [{"functionDeclarations": [TOOL]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 9,
            "candidateCount": 2,
            "stopSequences": ["x"],
            "responseMimeType": "application/json",
            "thinkingConfig": {"includeThoughts": True},
        },
        "serviceTier": "flex",
    },
}
JUNK = st.sampled_from([None, True, -1, 10**30, 0.5, "", "x", "\udc80", [], [None], {}, {"type": 1}])


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatedProviders]:
    with SimulatedProviders() as providers:
        yield providers


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def with_junk(body: dict[str, Any], path: tuple[Any, ...], junk: Any) -> dict[str, Any]:
    """The same body with something else at one place."""
    changed = copy.deepcopy(body)
    inside: Any = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = junk
    return changed


@pytest.mark.parametrize("provider", sorted(BODIES))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_body_wrong_in_one_place_gets_an_answer(
    running: SimulatedProviders, provider: str, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(list(places(BODIES[provider]))))
    body = with_junk(BODIES[provider], path, data.draw(JUNK))
    with connect(running) as sock:
        sock.sendall(request_bytes(PATHS[provider], body, KEYS))
        heard = hear(sock)
    assert heard.status in (200, 400, 404)
    if heard.status != 200:
        assert "error" in json.loads(heard.body)
    elif not body.get("stream"):
        json.loads(heard.body)
    assert heard.finished or b"content-length" in heard.head


@pytest.mark.parametrize("provider", sorted(BODIES))
def test_the_body_itself_is_in_order(running: SimulatedProviders, provider: str) -> None:
    with connect(running) as sock:
        sock.sendall(request_bytes(PATHS[provider], BODIES[provider], KEYS))
        assert hear(sock).status == 200
