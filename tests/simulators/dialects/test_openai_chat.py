"""The official SDK against the simulated OpenAI: answers, usage and refusals as recorded."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from gateway.simulators import SimulatedProviders

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(providers: SimulatedProviders) -> openai.OpenAI:
    return openai.OpenAI(base_url=providers.url("openai"), api_key="sk-anything-1234", max_retries=0)


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_answers_with_usage_equal_to_the_bill(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=ask("Tell me about the ocean."))
    [billed] = providers.bill()
    assert answer.usage is not None
    assert answer.model == billed.served_model == "gpt-4o-mini-2024-07-18"
    assert answer.usage.prompt_tokens == billed.input_total > 0
    assert answer.usage.completion_tokens == billed.output_total
    assert 30 <= billed.output_total <= 60
    assert answer.choices[0].finish_reason == "stop"


def test_the_same_prompt_gets_the_same_answer(client: openai.OpenAI) -> None:
    answers = {
        client.chat.completions.create(model="gpt-4o", messages=ask("Why?")).choices[0].message.content
        for _ in range(3)
    }
    assert len(answers) == 1


def test_streams_one_token_per_chunk(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="gpt-4.1",
            messages=ask("Go on. [[sim: words=7]]"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len([word for word in said if word]) == 7
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    usage = chunks[-1].usage
    assert usage is not None
    assert chunks[-1].choices == []
    assert usage.completion_tokens == providers.bill()[0].output_total == 7


def test_a_stream_without_include_usage_has_none(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="gpt-4o", messages=ask("Hello"), stream=True)
    chunks = list(stream)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert "usage" not in chunks[0].model_fields_set


def test_the_cap_ends_the_answer(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o", messages=ask("At length. [[sim: words=500]]"), max_tokens=12
    )
    assert answer.choices[0].finish_reason == "length"
    assert providers.bill()[0].output_total == 12


def test_reasoning_uses_up_the_cap_before_a_word_is_said(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-5", messages=ask("Think. [[sim: reasoning=100]]"), max_completion_tokens=50
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.choices[0].message.content == ""
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == answer.usage.completion_tokens_details.reasoning_tokens == 50


def test_calls_tools_in_parallel_and_then_answers(client: openai.OpenAI) -> None:
    messages = ask("Weather here and there? [[sim: tools=2]]")
    first = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    calls = first.choices[0].message.tool_calls or []
    assert first.choices[0].finish_reason == "tool_calls"
    assert len({call.id for call in calls}) == 2
    results: list[Any] = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    turn: Any = first.choices[0].message.model_dump(exclude_none=True)
    second = client.chat.completions.create(
        model="gpt-4o",
        messages=[*messages, turn, *results],
        tools=[WEATHER],
    )
    assert second.choices[0].finish_reason == "stop"


def test_streams_tool_calls(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="gpt-4o",
        messages=ask("Weather? [[sim: tools=2]]"),
        tools=[WEATHER],
        stream_options={"include_usage": True},
    ) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "a short answer"}] * 2


def test_structured_output_parses(client: openai.OpenAI) -> None:
    class Step(BaseModel):
        title: str
        minutes: int

    class Plan(BaseModel):
        steps: list[Step]
        done: bool | None

    parsed = client.chat.completions.parse(model="gpt-4o", messages=ask("Plan"), response_format=Plan)
    plan = parsed.choices[0].message.parsed
    assert plan is not None
    assert plan.steps[0].minutes == 7


def test_two_choices_are_billed_both(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o",
        messages=ask("Two. [[sim: words=5]]"),
        n=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == providers.bill()[0].output_total == 10


@pytest.mark.parametrize(
    ("arguments", "expected", "code"),
    [
        ({"model": "this-model-does-not-exist"}, openai.NotFoundError, "model_not_found"),
        ({"model": "gpt-5", "max_tokens": 5}, openai.BadRequestError, "unsupported_parameter"),
        ({"model": "gpt-5-mini", "stop": ["x"]}, openai.BadRequestError, "unsupported_parameter"),
        ({"temperature": 99.0}, openai.BadRequestError, "decimal_above_max_value"),
        ({"max_tokens": 0}, openai.BadRequestError, "integer_below_min_value"),
        ({"messages": []}, openai.BadRequestError, "empty_array"),
        ({"messages": [{"role": "king", "content": "x"}]}, openai.BadRequestError, "invalid_value"),
        ({"messages": "hello"}, openai.BadRequestError, "invalid_type"),
        ({"stream_options": {"include_usage": True}}, openai.BadRequestError, None),
        ({"extra_body": {"nonsense": 1}}, openai.BadRequestError, None),
    ],
)
def test_refuses_what_the_real_one_refuses(
    providers: SimulatedProviders,
    client: openai.OpenAI,
    arguments: dict[str, Any],
    expected: type[openai.APIStatusError],
    code: str | None,
) -> None:
    with pytest.raises(expected) as caught:
        client.chat.completions.create(**{"model": "gpt-4o", "messages": ask("Hi"), **arguments})
    assert caught.value.code == code
    assert providers.bill()[0].input_total == 0
    assert providers.bill()[0].ending == "error"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_answers_with_the_status_it_is_told(
    client: openai.OpenAI, status: int, expected: type[openai.APIStatusError]
) -> None:
    with pytest.raises(expected):
        client.chat.completions.create(model="gpt-4o", messages=ask(f"[[sim: status={status}]]"))


def test_a_rate_limit_says_when_to_come_back(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-4o-e429", messages=ask("Hi [[sim: retry_after=2]]"))
    assert caught.value.response.headers["retry-after"] == "2"
    assert caught.value.response.headers["retry-after-ms"] == "2000"


def test_fails_only_as_often_as_told(providers: SimulatedProviders) -> None:
    client = openai.OpenAI(base_url=providers.url("openai"), api_key="k", max_retries=2)
    prompt = ask("Try [[sim: status=500 times=1 words=3]]")
    client.chat.completions.create(model="gpt-4o", messages=prompt)
    assert [billed.status for billed in providers.bill()] == [500, 200]


def test_only_configured_keys_are_accepted(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    providers.accept_keys("openai", ["sk-the-one"])
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=ask("Hi"))
    assert caught.value.code == "invalid_api_key"


def test_lists_its_models(client: openai.OpenAI) -> None:
    assert "gpt-4o-mini" in {model.id for model in client.models.list()}
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
