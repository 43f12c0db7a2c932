"""The official OpenAI SDK against the simulated DeepSeek, whose habits are its own."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from gateway.simulators import SimulatedProviders
from tests.simulators.raw import call


@pytest.fixture
def client(providers: SimulatedProviders) -> openai.OpenAI:
    return openai.OpenAI(base_url=providers.url("deepseek"), api_key="sk-deep-1234", max_retries=0)


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_usage_comes_unasked_beside_the_finish(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="deepseek-chat", messages=ask("Hello [[sim: words=6 cached=128]]"), stream=True
    )
    last = list(stream)[-1]
    assert last.choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.completion_tokens == 6
    assert last.model == "deepseek-v4-flash"
    extra: Any = last.usage
    [billed] = providers.bill()
    assert (extra.prompt_cache_hit_tokens, extra.prompt_cache_miss_tokens) == (128, billed.input)


def test_thoughts_are_seen_and_billed(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="deepseek-reasoner", messages=ask("Think [[sim: words=3 reasoning=9]]"), stream=True
    )
    deltas: list[Any] = [chunk.choices[0].delta for chunk in stream]
    assert len([delta for delta in deltas if getattr(delta, "reasoning_content", None)]) == 9
    assert len([delta for delta in deltas if delta.content]) == 3
    [billed] = providers.bill()
    assert (billed.reasoning, billed.output) == (9, 3)


def test_an_answer_in_one_body_carries_its_thoughts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="deepseek-v4-pro", messages=ask("Think [[sim: reasoning=4]]")
    )
    message: Any = answer.choices[0].message
    assert message.reasoning_content == "The user wants a"
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "gpt-4o"}, "Model Not Exist"),
        ({"n": 2}, "Invalid n value"),
        ({"max_tokens": 0}, "Invalid max_tokens value"),
        ({"temperature": 3}, "Invalid temperature value"),
        ({"tool_choice": "required", "model": "deepseek-v4-flash"}, "Thinking mode does not support"),
        ({"messages": [{"role": "developer", "content": "x"}]}, "unknown variant `developer`"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "x"}]}, "Messages with role 'tool'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "unknown variant `image_url`, expected `text`",
        ),
    ],
)
def test_refuses_in_its_own_words(client: openai.OpenAI, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.chat.completions.create(**{"model": "deepseek-chat", "messages": ask("Hi"), **arguments})


def test_a_cap_by_the_other_name_is_ignored(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    prompt = ask("Hi [[sim: words=20]]")
    client.chat.completions.create(model="deepseek-chat", messages=prompt, max_completion_tokens=5)
    client.chat.completions.create(model="deepseek-chat", messages=prompt, max_tokens=5)
    assert [(billed.cap, billed.output) for billed in providers.bill()] == [(None, 20), (5, 5)]


def test_an_empty_balance_is_402(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="Insufficient Balance") as caught:
        client.chat.completions.create(model="deepseek-chat", messages=ask("Hi [[sim: status=402]]"))
    assert caught.value.status_code == 402


def test_keeps_the_connection_alive_with_comments_and_blank_lines(providers: SimulatedProviders) -> None:
    told = "Hi [[sim: words=4 comments=2 blank=3]]"
    whole = call(providers, told, provider="deepseek").body
    stream = call(providers, told, provider="deepseek", stream=True).body
    assert whole.startswith(b"\n\n\n{")
    assert json.loads(whole)["usage"]["completion_tokens"] == 4
    assert stream.count(b": keep-alive\n\n") == 2
