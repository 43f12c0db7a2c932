"""The official OpenAI SDK asks for Gemini: text, tools, pictures, streams, schemas, thoughts and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team

pytestmark = pytest.mark.slow

MODEL = "gemini-2.5-flash"
TWELVE_WORDS = "Tell me about the sea. [[sim: words=12]]"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture
def sdk(team: Team, providers: SimulatedProviders) -> Iterator[openai.OpenAI]:
    with team.sdk() as client:
        yield client


def user(text: str = TWELVE_WORDS) -> Any:
    return {"role": "user", "content": text}


def results_of(message: Any) -> list[Any]:
    """A result for every call, the last one first: the client may send them in any order."""
    return [
        {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
        for call in reversed(message.tool_calls)
    ]


def test_an_answer_is_a_completion_and_is_booked_as_it_tells(team: Team, sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": "Be brief."}, user()],
        max_completion_tokens=200,
        temperature=0.5,
        stop=["THE END"],
    )
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    (row,) = team.booked(1)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == row["usage"]["input"]
    assert reply.usage.completion_tokens == row["usage"]["output"] + row["usage"]["reasoning"]
    assert row["provider"] == "gemini"


def test_a_call_that_names_no_cap_is_given_one(team: Team, sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(model=MODEL, messages=[user()])
    assert reply.choices[0].message.content
    assert team.booked(1)[0]["charge"] > 0


def test_a_stream_arrives_in_chunks_and_ends_with_its_usage(team: Team, sdk: openai.OpenAI) -> None:
    chunks = list(
        sdk.chat.completions.create(
            model=MODEL, messages=[user()], stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    usage = chunks[-1].usage
    assert usage is not None
    (row,) = team.booked(1)
    written = row["usage"]["output"] + row["usage"]["reasoning"]
    assert (usage.prompt_tokens, usage.completion_tokens) == (row["usage"]["input"], written)


def test_usage_that_was_not_asked_for_is_not_told(sdk: openai.OpenAI) -> None:
    chunks = list(sdk.chat.completions.create(model=MODEL, messages=[user()], stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("model", [MODEL, "gemini-3-flash-preview"])
def test_tools_go_round(sdk: openai.OpenAI, model: str, count: int) -> None:
    asked = user(f"The weather? [[sim: tools={count}]]")
    first = sdk.chat.completions.create(model=model, messages=[asked], tools=[WEATHER])
    message: Any = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert len({call.id for call in message.tool_calls}) == count
    assert all("city" in json.loads(call.function.arguments) for call in message.tool_calls)
    for more in ([], [user("And tomorrow?")]):
        reply = sdk.chat.completions.create(
            model=model, messages=[asked, message, *results_of(message), *more], tools=[WEATHER]
        )
        assert reply.choices[0].message.content
    # A client that kept no signature goes on all the same.
    for call in message.tool_calls:
        call.__pydantic_extra__.clear()
    reply = sdk.chat.completions.create(
        model=model, messages=[asked, message, *results_of(message)], tools=[WEATHER]
    )
    assert reply.choices[0].message.content


def test_streamed_tools_and_thoughts_go_round(sdk: openai.OpenAI) -> None:
    asked = user("The weather? [[sim: tools=2]]")
    options: Any = {"model": "gemini-3-flash-preview", "tools": [WEATHER], "reasoning_effort": "medium"}
    with sdk.chat.completions.stream(messages=[asked], **options) as stream:
        message: Any = stream.get_final_completion().choices[0].message
    assert len(message.tool_calls) == 2
    assert message.model_extra["reasoning_content"]
    assert message.tool_calls[0].model_extra["extra_content"]["google"]["thought_signature"]
    last = sdk.chat.completions.create(messages=[asked, message.to_dict(), *results_of(message)], **options)
    assert last.choices[0].message.content


def test_several_answers_come_together(team: Team, sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(model=MODEL, messages=[user()], n=2)
    assert [choice.index for choice in reply.choices] == [0, 1]
    chunks = list(sdk.chat.completions.create(model=MODEL, messages=[user()], n=2, stream=True))
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    assert sum(choice.finish_reason == "stop" for chunk in chunks for choice in chunk.choices) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_prompt_is_a_filtered_answer(sdk: openai.OpenAI, stream: bool) -> None:
    asked = user("[[sim: fault=prompt_blocked]]")
    reply: Any = sdk.chat.completions.create(model=MODEL, messages=[asked], stream=stream)
    last = list(reply)[-1] if stream else reply
    assert last.choices[0].finish_reason == "content_filter"


def test_two_ends_in_one_stream_are_one(sdk: openai.OpenAI) -> None:
    asked = user("Tell me. [[sim: words=40 fault=two_stops after=2]]")
    chunks = list(sdk.chat.completions.create(model=MODEL, messages=[asked], stream=True))
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]


def test_pictures_are_seen(sdk: openai.OpenAI) -> None:
    parts: Any = [
        {"type": "text", "text": TWELVE_WORDS},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/sea.png"}},
    ]
    reply = sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}])
    assert reply.choices[0].message.content


def test_a_schema_is_followed(sdk: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "pelican", "schema": schema}}
    reply = sdk.chat.completions.create(model=MODEL, messages=[user("A name?")], response_format=wanted)
    assert "name" in json.loads(reply.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"stop": list("abcdef")}, "stop[5]"),
        ({"tools": [WEATHER], "parallel_tool_calls": False}, "parallel_tool_calls"),
    ],
)
def test_what_gemini_cannot_be_told_is_named(sdk: openai.OpenAI, fields: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model=MODEL, messages=[user()], **fields)
    assert refused.value.code == "unsupported_field"
    assert refused.value.param == param


def test_errors_are_openais(team: Team, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        sdk.chat.completions.create(model=MODEL, messages=[user("[[sim: status=429]]")])
    assert isinstance(limited.value.body, dict)
    assert limited.value.body["tollgate"]["code"] == "upstream_rate_limited"
    with pytest.raises(openai.InternalServerError) as overloaded:
        sdk.chat.completions.create(model=MODEL, messages=[user("[[sim: status=503]]")])
    assert overloaded.value.status_code == 503
    with pytest.raises(openai.BadRequestError):
        sdk.chat.completions.create(
            model=MODEL, messages=[user(), {"role": "tool", "tool_call_id": "nobody", "content": "x"}]
        )


@pytest.mark.parametrize("fault", ["error_midstream", "cut_midstream", "half_json"])
def test_a_stream_that_breaks_has_no_end(sdk: openai.OpenAI, fault: str) -> None:
    asked = user(f"Tell me. [[sim: words=30 fault={fault} after=3]]")
    seen: list[Any] = []
    stream = sdk.chat.completions.create(model=MODEL, messages=[asked], stream=True)
    with pytest.raises(openai.APIError):
        seen.extend(iter(stream))
    assert seen
    assert all(choice.finish_reason is None for chunk in seen for choice in chunk.choices)
