"""The official SDK against the simulated OpenAI: responses, streamed, stored and in the background."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from gateway.simulators import SimulatedProviders

TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture
def client(providers: SimulatedProviders) -> openai.OpenAI:
    return openai.OpenAI(base_url=providers.url("openai"), api_key="sk-any", max_retries=0)


def test_answers_with_usage_equal_to_the_bill(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    answer = client.responses.create(model="gpt-5", input="Hello [[sim: words=6 reasoning=10 cached=64]]")
    [billed] = providers.bill()
    assert answer.usage is not None
    assert answer.status == "completed"
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output_text
    assert answer.usage.input_tokens == billed.input_total
    assert answer.usage.input_tokens_details.cached_tokens == billed.cache_read == 64
    assert answer.usage.output_tokens == billed.output_total == 16
    assert answer.usage.output_tokens_details.reasoning_tokens == billed.reasoning == 10


def test_streams_numbered_events_with_usage_in_the_last(
    providers: SimulatedProviders, client: openai.OpenAI
) -> None:
    events: list[Any] = list(
        client.responses.create(model="gpt-4o", input="Hello [[sim: words=6 web_search=1]]", stream=True)
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    assert events[0].response.usage is None
    assert len([event for event in events if event.type == "response.output_text.delta"]) == 6
    assert events[-1].response.usage.output_tokens == providers.bill()[0].output_total == 6
    assert (events[0].response.service_tier, events[-1].response.service_tier) == ("auto", "default")


def test_the_cap_makes_it_incomplete(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="gpt-5-mini", input="Think", max_output_tokens=20)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output_text == ""


def test_calls_functions_and_takes_their_outputs(client: openai.OpenAI) -> None:
    with client.responses.stream(model="gpt-4o", input="Two [[sim: tools=2]]", tools=[TOOL]) as stream:
        first = stream.get_final_response()
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"city": "a short answer"}] * 2
    outputs: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls
    ]
    second = client.responses.create(
        model="gpt-4o", input=outputs, previous_response_id=first.id, tools=[TOOL]
    )
    assert second.output_text


def test_an_earlier_response_is_part_of_the_input(
    providers: SimulatedProviders, client: openai.OpenAI
) -> None:
    first = client.responses.create(model="gpt-4o", input="Hello [[sim: words=50]]")
    client.responses.create(model="gpt-4o", input="More", previous_response_id=first.id)
    before, after = providers.bill()
    assert after.input_total > before.input_total + 50
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-4o", input="More", previous_response_id="resp_of_nobody")
    assert caught.value.code == "previous_response_not_found"


def test_structured_output_parses(client: openai.OpenAI) -> None:
    class Answer(BaseModel):
        n: int

    assert client.responses.parse(model="gpt-4o", input="n?", text_format=Answer).output_parsed == Answer(n=7)


def test_a_background_response_is_done_when_its_hold_is_released(
    providers: SimulatedProviders, client: openai.OpenAI
) -> None:
    queued = client.responses.create(model="gpt-4o", input="Later [[sim: words=8 hold=x]]", background=True)
    assert (queued.status, queued.usage) == ("queued", None)
    assert client.responses.retrieve(queued.id).status == "queued"
    assert providers.bill()[0].output_total == 0
    providers.release("x")
    done = client.responses.retrieve(queued.id)
    assert done.usage is not None
    assert (done.status, done.usage.output_tokens) == ("completed", 8)
    assert providers.bill()[0].output_total == 8


def test_a_background_response_can_be_cancelled(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    queued = client.responses.create(model="gpt-4o", input="Later [[sim: hold=x]]", background=True)
    assert client.responses.cancel(queued.id).status == "cancelled"
    providers.release("x")
    assert client.responses.retrieve(queued.id).status == "cancelled"
    assert providers.bill()[0].output_total == 0


def test_a_stored_stream_is_replayed_from_where_it_broke(
    providers: SimulatedProviders, client: openai.OpenAI
) -> None:
    stream = client.responses.create(
        model="gpt-4o", input="Later [[sim: words=8]]", background=True, stream=True
    )
    events: list[Any] = list(stream)
    again: list[Any] = list(client.responses.retrieve(events[0].response.id, stream=True, starting_after=6))
    assert [event.sequence_number for event in again] == list(range(7, len(events)))
    assert again[-1].type == "response.completed"
    assert sum(billed.output_total for billed in providers.bill()) == 8


def test_what_is_deleted_is_gone(client: openai.OpenAI) -> None:
    made = client.responses.create(model="gpt-4o", input="Hi")
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_counts_input_for_free(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(model="gpt-4o", input="Hello there")
    assert counted.input_tokens == 9
    assert providers.bill()[0].input_total == 0


def test_an_error_in_band_is_an_event_after_200(client: openai.OpenAI) -> None:
    stream = client.responses.create(model="gpt-4o", input="[[sim: fault=error_midstream]]", stream=True)
    with pytest.raises(openai.APIError, match="Request too large"):
        list(stream)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "this-model-does-not-exist"}, "model_not_found"),
        ({"max_output_tokens": 5}, "integer_below_min_value"),
        ({"temperature": 3}, "decimal_above_max_value"),
        ({"extra_body": {"nonsense": 1}}, "unknown_parameter"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, None),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]}, None),
    ],
)
def test_refuses_what_the_real_one_refuses(
    client: openai.OpenAI, fields: dict[str, Any], code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{"model": "gpt-4o", "input": "Hi", **fields})
    assert caught.value.code == code
