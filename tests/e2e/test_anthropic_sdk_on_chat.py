"""The official Anthropic SDK asks upstreams that speak OpenAI: text, tools, pictures, streams, thoughts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team

pytestmark = pytest.mark.slow

MODEL = "gpt-4.1"
TWELVE_WORDS = "Tell me about the sea. [[sim: words=12]]"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


@pytest.fixture
def sdk(team: Team, providers: SimulatedProviders) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=team.gateway.url, api_key=team.key, max_retries=0) as client:
        yield client


def user(content: Any = TWELVE_WORDS) -> Any:
    return {"role": "user", "content": content}


@pytest.mark.parametrize("model", [MODEL, "gpt-5-mini", "deepseek/deepseek-chat"])
def test_an_answer_is_a_message_and_is_booked_as_it_tells(
    team: Team, sdk: anthropic.Anthropic, model: str
) -> None:
    reply = sdk.messages.create(model=model, max_tokens=300, system="Be brief.", messages=[user()])
    assert reply.type == "message"
    assert reply.id.startswith("msg_")
    assert reply._request_id or model.startswith("deepseek")
    assert reply.content[-1].type == "text"
    assert reply.stop_reason == "end_turn"
    (row,) = team.booked(1)
    assert reply.usage.input_tokens == row["usage"]["input"]
    assert reply.usage.output_tokens == row["usage"]["output"] + row["usage"].get("reasoning", 0)


@pytest.mark.parametrize("model", [MODEL, "deepseek/deepseek-chat"])
def test_a_stream_arrives_whole(team: Team, sdk: anthropic.Anthropic, model: str) -> None:
    with sdk.messages.stream(model=model, max_tokens=200, messages=[user()]) as stream:
        text = "".join(stream.text_stream)
        reply = stream.get_final_message()
    assert reply.content[0].type == "text"
    assert text == reply.content[0].text
    (row,) = team.booked(1)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (
        row["usage"]["input"],
        row["usage"]["output"],
    )


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_tools_go_round(sdk: anthropic.Anthropic, count: int, streamed: bool) -> None:
    asked = user(f"The weather? [[sim: tools={count}]]")
    options: Any = {"model": MODEL, "max_tokens": 400, "tools": [WEATHER]}
    if streamed:
        with sdk.messages.stream(messages=[asked], **options) as stream:
            message = stream.get_final_message()
    else:
        message = sdk.messages.create(messages=[asked], **options)
    assert message.stop_reason == "tool_use"
    used = [block for block in message.content if block.type == "tool_use"]
    assert len({block.id for block in used}) == count
    assert all("city" in block.input for block in used)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "Sunny."} for block in reversed(used)
    ]
    turns: Any = [asked, {"role": "assistant", "content": message.content}, user(results)]
    reply = sdk.messages.create(messages=turns, **options)
    assert reply.content[0].type == "text"


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_go_back_to_where_they_came_from(sdk: anthropic.Anthropic, streamed: bool) -> None:
    asked = user("The weather?")
    options: Any = {"model": "deepseek/deepseek-v4-flash", "max_tokens": 4000, "tools": [WEATHER]}
    if streamed:
        with sdk.messages.stream(messages=[asked], **options) as stream:
            message = stream.get_final_message()
    else:
        message = sdk.messages.create(messages=[asked], **options)
    assert [block.type for block in message.content] == ["thinking", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": message.content[1].id, "content": "Sunny."}  # type: ignore[union-attr]
    turns: Any = [asked, {"role": "assistant", "content": message.content}, user([result])]
    assert sdk.messages.create(messages=turns, **options).content[-1].type == "text"


def test_pictures_are_seen_and_schemas_followed(sdk: anthropic.Anthropic) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    reply = sdk.messages.create(
        model=MODEL,
        max_tokens=200,
        messages=[user([{"type": "text", "text": "Whose is this?"}, picture])],
        extra_body={"output_config": {"format": {"type": "json_schema", "schema": schema}}},
    )
    assert reply.content[0].type == "text"
    assert "name" in json.loads(reply.content[0].text)


def test_tokens_are_counted_here_and_for_nothing(team: Team, sdk: anthropic.Anthropic) -> None:
    counted = sdk.messages.count_tokens(model=MODEL, messages=[user()], tools=[WEATHER])
    assert 10 < counted.input_tokens < 1_000
    sdk.messages.create(model=MODEL, max_tokens=20, messages=[user()])
    assert len(team.booked(1)) == 1
    with pytest.raises(anthropic.NotFoundError):
        sdk.messages.count_tokens(model="nobody-knows", messages=[user()])


def test_what_openai_cannot_be_told_is_named(sdk: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        sdk.messages.create(model=MODEL, max_tokens=20, messages=[user()], extra_body={"top_k": 5})
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["error"]["tollgate"]["code"] == "unsupported_field"
    assert "top_k" in refused.value.body["error"]["message"]


def test_errors_are_anthropics(sdk: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as limited:
        sdk.messages.create(model=MODEL, max_tokens=20, messages=[user("[[sim: status=429]]")])
    assert isinstance(limited.value.body, dict)
    assert limited.value.body["error"]["type"] == "rate_limit_error"
    assert limited.value.body["error"]["tollgate"]["code"] == "upstream_rate_limited"
    with pytest.raises(anthropic.InternalServerError):
        sdk.messages.create(model=MODEL, max_tokens=20, messages=[user("[[sim: status=500]]")])


@pytest.mark.parametrize("fault", ["error_midstream", "cut_midstream", "half_json"])
def test_a_stream_that_breaks_has_no_end(sdk: anthropic.Anthropic, fault: str) -> None:
    asked = user(f"Tell me. [[sim: words=30 fault={fault} after=3]]")
    seen: list[Any] = []
    stream = sdk.messages.create(model=MODEL, max_tokens=200, messages=[asked], stream=True)
    with pytest.raises(anthropic.APIError):
        seen.extend(iter(stream))
    assert seen
    assert all(event.type != "message_stop" for event in seen)
