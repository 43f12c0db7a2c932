"""The official SDK against the simulated Anthropic: answers, usage, events and refusals as recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from gateway.simulators import SimulatedProviders

TOOL: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
NO_ARGUMENTS: Any = {"name": "now", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture
def client(providers: SimulatedProviders) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=providers.url("anthropic"), api_key="sk-ant-1", max_retries=0
    ) as client:
        yield client


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_answers_with_usage_equal_to_the_bill(
    providers: SimulatedProviders, client: anthropic.Anthropic
) -> None:
    told = "Hello [[sim: words=9 cached=100 cache_write=20 cache_write_1h=3]]"
    answer = client.messages.create(model="claude-haiku-4-5", max_tokens=100, messages=ask(told))
    [billed] = providers.bill()
    assert answer.model == billed.served_model == "claude-haiku-4-5-20251001"
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens == billed.input
    assert answer.usage.cache_read_input_tokens == billed.cache_read == 100
    assert answer.usage.cache_creation_input_tokens == 23
    assert answer.usage.cache_creation is not None
    assert answer.usage.cache_creation.ephemeral_1h_input_tokens == billed.cache_write_1h == 3
    assert answer.usage.output_tokens == billed.output_total == 9


def test_the_streams_last_usage_replaces_the_first(
    providers: SimulatedProviders, client: anthropic.Anthropic
) -> None:
    with client.messages.stream(
        model="claude-sonnet-4-6", max_tokens=2_000, messages=ask("Look [[sim: words=10 web_search=2]]")
    ) as stream:
        events: list[Any] = list(stream)
        final = stream.get_final_message()
    start = next(event for event in events if event.type == "message_start")
    [billed] = providers.bill()
    assert start.message.usage.output_tokens == 1
    assert final.usage.output_tokens == billed.output_total == 10
    assert final.usage.input_tokens == billed.input == start.message.usage.input_tokens + 4_000
    assert final.usage.server_tool_use is not None
    assert final.usage.server_tool_use.web_search_requests == 2


def test_the_cap_and_stop_sequences_end_the_answer(client: anthropic.Anthropic) -> None:
    capped = client.messages.create(model="claude-haiku-4-5", max_tokens=4, messages=ask("Hi"))
    stopped = client.messages.create(
        model="claude-haiku-4-5",
        max_tokens=50,
        messages=ask('[[sim: say="one two three"]]'),
        stop_sequences=[" two"],
    )
    assert (capped.stop_reason, capped.usage.output_tokens) == ("max_tokens", 4)
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " two")
    assert stopped.content[0].type == "text"
    assert stopped.content[0].text == "one"


def test_thinks_first_when_asked_to(providers: SimulatedProviders, client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model="claude-haiku-4-5",
        max_tokens=4_000,
        thinking={"type": "enabled", "budget_tokens": 1_024},
        messages=ask("Think [[sim: words=5 reasoning=12]]"),
    ) as stream:
        final = stream.get_final_message()
    [billed] = providers.bill()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.usage.output_tokens == billed.output_total == 17
    assert (billed.reasoning, billed.output) == (12, 5)


def test_calls_tools_and_takes_their_results(client: anthropic.Anthropic) -> None:
    messages = ask("Weather, twice? [[sim: tools=2]]")
    with client.messages.stream(
        model="claude-opus-4-6", max_tokens=500, messages=messages, tools=[TOOL]
    ) as stream:
        first = stream.get_final_message()
    calls = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use"
    assert [call.input for call in calls] == [{"city": "a short answer"}] * 2
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    turns: Any = [
        *messages,
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": results},
    ]
    second = client.messages.create(model="claude-opus-4-6", max_tokens=500, messages=turns, tools=[TOOL])
    assert second.stop_reason == "end_turn"


def test_a_call_without_arguments_streams_only_an_empty_fragment(client: anthropic.Anthropic) -> None:
    stream = client.messages.create(
        model="claude-opus-4-6", max_tokens=500, messages=ask("Now?"), tools=[NO_ARGUMENTS], stream=True
    )
    deltas: list[Any] = [event.delta for event in stream if event.type == "content_block_delta"]
    assert [delta.partial_json for delta in deltas] == [""]


def test_structured_output_is_json(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    answer = client.messages.create(
        model="claude-sonnet-4-6",
        max_tokens=50,
        messages=ask("n?"),
        extra_body={"output_config": {"format": {"type": "json_schema", "schema": schema}}},
    )
    assert answer.content[0].type == "text"
    assert json.loads(answer.content[0].text) == {"n": 7}


def test_counts_tokens_for_free(providers: SimulatedProviders, client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(
        model="claude-haiku-4-5", messages=ask("What is the capital of France?")
    )
    assert counted.input_tokens == 14
    assert providers.bill()[0].input_total == 0


CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
UNSIGNED = {"type": "thinking", "thinking": "x"}
TIFF = {"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": "AA"}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 10**6}, "which is the maximum allowed number of output tokens"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"messages": []}, "at least one message is required"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 'first message must use the "user" role'),
        ({"messages": ask("a") + ask("b")}, "roles must alternate"),
        ({"messages": [{"role": "system", "content": "x"}]}, 'Unexpected role "system"'),
        ({"messages": ask("")}, "all messages must have non-empty content"),
        ({"stop_sequences": [" "]}, "must contain non-whitespace"),
        ({"nonsense": 1}, "nonsense: Extra inputs are not permitted"),
        ({"output_config": {"effort": "xhigh"}}, "does not support effort level 'xhigh'"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "greater than or equal to 1024"),
        ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "String should match pattern"),
        ({"tools": [{"name": "a"}]}, "input_schema: Field required"),
        (
            {"messages": [*ask("a"), {"role": "assistant", "content": [CALL]}]},
            "`tool_use` ids were found without `tool_result`",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
            "unexpected `tool_use_id`",
        ),
        (
            {"messages": [*ask("a"), {"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}]},
            "tool_use.input: Input should be a valid dictionary",
        ),
        (
            {
                "messages": [
                    *ask("a"),
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]},
                ]
            },
            "thinking.signature: Field required",
        ),
        ({"messages": [{"role": "user", "content": [TIFF]}]}, "media_type: Input should be 'image/jpeg'"),
        (
            {
                "max_tokens": 2048,
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "messages": [
                    *ask("a"),
                    {"role": "assistant", "content": [CALL]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
                ],
            },
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
        (
            {"model": "claude-sonnet-5", "messages": [*ask("a"), {"role": "assistant", "content": "b"}]},
            "does not support assistant message prefill",
        ),
    ],
)
def test_refuses_what_the_real_one_refuses(
    client: anthropic.Anthropic, fields: dict[str, Any], message: str
) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": ask("Hi"), **fields}
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.post("/v1/messages", body={k: v for k, v in body.items() if v is not None}, cast_to=object)
    assert message in str(caught.value)
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_answers_with_the_status_it_is_told(client: anthropic.Anthropic, status: int, kind: str) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(
            model="claude-haiku-4-5", max_tokens=10, messages=ask(f"[[sim: status={status}]]")
        )
    body: Any = caught.value.body
    assert (caught.value.status_code, body["error"]["type"]) == (status, kind)


def test_an_error_in_band_is_an_event(client: anthropic.Anthropic) -> None:
    stream = client.messages.create(
        model="claude-haiku-4-5",
        max_tokens=100,
        messages=ask("[[sim: fault=error_midstream after=2]]"),
        stream=True,
    )
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(stream)


def test_an_unknown_model_and_a_wrong_key(providers: SimulatedProviders, client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="claude-of-nobody", max_tokens=5, messages=ask("Hi"))
    providers.accept_keys("anthropic", ["another"])
    with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
        client.messages.create(model="claude-haiku-4-5", max_tokens=5, messages=ask("Hi"))


def test_an_old_delta_reports_only_output(client: anthropic.Anthropic) -> None:
    stream = client.messages.create(
        model="claude-haiku-4-5", max_tokens=3, messages=ask("[[sim: usage=output_only]]"), stream=True
    )
    delta: Any = next(event for event in stream if event.type == "message_delta")
    assert delta.usage.output_tokens == 3
    assert delta.usage.input_tokens is None
