"""The official OpenAI SDK works unchanged: what it asks for and what it understands, sync and async."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano

pytestmark = pytest.mark.slow

MODEL = "gpt-4.1"
# The simulated models answer their directives in so many words.
TWELVE_WORDS = "Tell me about the sea. [[sim: words=12]]"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


def ask(prompt: str) -> list[Any]:
    return [{"role": "user", "content": prompt}]


def said(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    """The text of one choice of a stream."""
    return "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == index
    )


def test_a_plain_answer_is_charged_what_its_usage_costs(team: Team, providers: SimulatedProviders) -> None:
    team.budget("5.00")
    with team.sdk() as client:
        answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=ask(TWELVE_WORDS))
    completion = answer.parse()
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 12
    (billed,) = providers.bill("openai")
    cost_nano = billed.input_total * 2_000 + 12 * 8_000  # $2 and $8 per million tokens
    assert nano(answer.headers["x-tollgate-cost-usd"]) == cost_nano
    assert answer.headers["x-request-id"].startswith("req_simulated")
    assert nano(answer.headers["x-tollgate-budget-remaining-usd"]) == 5_000_000_000 - cost_nano
    receipt = team.receipt(answer.headers["x-tollgate-call-id"])
    assert nano(receipt["cost_usd"]) == cost_nano
    assert receipt["usage"] == {"requests": 1, "input": billed.input_total, "output": 12}
    assert (receipt["status"], receipt["usage_source"], receipt["flags"]) == ("finished", "provider", [])
    assert receipt["raw_usage"]["completion_tokens"] == 12
    assert [line["meter"] for line in receipt["lines"]] == ["input", "output"]


def test_a_stream_without_usage_gets_none_and_is_charged_exactly(
    team: Team, providers: SimulatedProviders
) -> None:
    with (
        team.sdk() as client,
        client.chat.completions.create(model=MODEL, messages=ask(TWELVE_WORDS), stream=True) as stream,
    ):
        call = stream.response.headers["x-tollgate-call-id"]
        chunks = list(stream)
    assert len(said(chunks).split()) > 5
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    receipt = team.receipt(call)
    assert receipt["usage_source"] == "provider"
    assert receipt["usage"]["output"] == 12
    assert json.loads(providers.requests()[0].body)["stream_options"] == {"include_usage": True}


def test_a_stream_that_asks_for_its_usage_gets_it_last(team: Team, providers: SimulatedProviders) -> None:
    with team.sdk() as client:
        chunks = list(
            client.chat.completions.create(
                model=MODEL,
                messages=ask(TWELVE_WORDS),
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 12


@pytest.mark.parametrize("stream", [False, True])
def test_the_cost_comes_in_the_body_for_who_asks(
    team: Team, providers: SimulatedProviders, stream: bool
) -> None:
    with team.sdk(default_headers={"x-tollgate-cost": "body"}) as client:
        if stream:
            # Asked for the cost alone: the usage it stands in comes with it.
            *_, last = client.chat.completions.create(model=MODEL, messages=ask(TWELVE_WORDS), stream=True)
            usage: Any = last.usage
        else:
            usage = client.chat.completions.create(model=MODEL, messages=ask(TWELVE_WORDS)).usage
    (billed,) = providers.bill()
    assert usage.cost == pytest.approx((billed.input_total * 2 + 12 * 8) / 1e6, rel=1e-12)
    assert usage.cost_details == {"input": billed.input_total * 2 / 1e6, "output": 12 * 8 / 1e6}
    assert usage.completion_tokens == 12


def test_tools_called_in_parallel_and_streamed_survive(team: Team) -> None:
    prompt = ask("Weather? [[sim: tools=2]]")
    with team.sdk() as client:
        whole = client.chat.completions.create(model=MODEL, messages=prompt, tools=[WEATHER])
        with client.chat.completions.stream(model=MODEL, messages=prompt, tools=[WEATHER]) as stream:
            streamed = stream.get_final_completion()
        for completion in (whole, streamed):
            message = completion.choices[0].message
            assert completion.choices[0].finish_reason == "tool_calls"
            assert message.tool_calls is not None
            assert len(message.tool_calls) == 2
            calls: list[Any] = list(message.tool_calls)
            assert {call.function.name for call in calls} == {"weather"}
            assert all(json.loads(call.function.arguments) for call in calls)
        # The second turn: results go back, and are answered in words.
        answers = [
            {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}
            for call in whole.choices[0].message.tool_calls or ()
        ]
        second: Any = [*prompt, whole.choices[0].message, *answers]
        final = client.chat.completions.create(model=MODEL, messages=second, tools=[WEATHER])
    assert final.choices[0].message.content


class Step(BaseModel):
    explanation: str
    output: str


class Reasoning(BaseModel):
    steps: list[Step]
    final_answer: str


def test_structured_output_is_parsed_by_the_sdk(team: Team) -> None:
    with team.sdk() as client:
        parsed = client.chat.completions.parse(
            model=MODEL, messages=ask("How much is 2 + 2?"), response_format=Reasoning
        )
        with client.chat.completions.stream(
            model=MODEL, messages=ask("How much is 2 + 2?"), response_format=Reasoning
        ) as stream:
            streamed = stream.get_final_completion()
    assert isinstance(parsed.choices[0].message.parsed, Reasoning)
    assert streamed.choices[0].message.parsed == parsed.choices[0].message.parsed


def test_images_are_sent_and_held_for(team: Team, providers: SimulatedProviders) -> None:
    picture = base64.b64encode(bytes(range(256)) * 200).decode()
    content: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}},
    ]
    with team.sdk() as client:
        answer = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": content}]
        )
    (billed,) = providers.bill()
    receipt = team.receipt(answer.headers["x-tollgate-call-id"])
    assert receipt["usage"]["input"] == billed.input_total > 765
    assert nano(receipt["hold_usd"]) >= nano(receipt["cost_usd"])
    sent = json.loads(providers.requests()[0].body)
    assert sent["messages"][0]["content"] == content


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_are_told_apart_and_charged_together(
    team: Team, providers: SimulatedProviders, stream: bool
) -> None:
    with team.sdk() as client:
        if stream:
            chunks = list(
                client.chat.completions.create(model=MODEL, messages=ask(TWELVE_WORDS), n=3, stream=True)
            )
            texts = [said(chunks, index) for index in range(3)]
        else:
            choices = client.chat.completions.create(model=MODEL, messages=ask(TWELVE_WORDS), n=3).choices
            texts = [choice.message.content or "" for choice in choices]
    assert len(set(texts)) == 3
    (row,) = team.booked(1)
    assert row["usage"]["output"] == 36 == providers.bill()[0].output_total


def test_logprobs_come_whole_and_streamed(team: Team) -> None:
    with team.sdk() as client:
        whole = client.chat.completions.create(
            model=MODEL, messages=ask(TWELVE_WORDS), logprobs=True, top_logprobs=1
        )
        chunks = list(
            client.chat.completions.create(
                model=MODEL, messages=ask(TWELVE_WORDS), logprobs=True, top_logprobs=1, stream=True
            )
        )
    told = whole.choices[0].logprobs
    assert told is not None
    assert told.content is not None
    tokens = [token.token for token in told.content]
    streamed = [
        token.token
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content or ()
    ]
    assert tokens == streamed
    assert len(tokens) == 12


@pytest.mark.parametrize(
    ("asked", "provider", "model", "sent"),
    [
        ("openai/gpt-4o", "openai", "gpt-4o", "gpt-4o"),
        ("fast", "openai", "gpt-4o-mini", "gpt-4o-mini"),  # an alias of the configuration
        ("deepseek-v3.2", "deepseek", "deepseek-v3.2", "deepseek-v3.2"),
        ("deepseek/deepseek-chat", "deepseek", None, "deepseek-chat"),
        ("azure_openai/gpt-4o", "azure_openai", "gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "openai", "gpt-4o", "gpt-4o-2024-08-06"),  # a dated name is sent as it is
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_name_reaches_its_model(
    team: Team,
    providers: SimulatedProviders,
    asked: str,
    provider: str,
    model: str | None,
    sent: str,
    stream: bool,
) -> None:
    with team.sdk() as client:
        if stream:
            with client.chat.completions.create(
                model=asked, messages=ask(TWELVE_WORDS), stream=True
            ) as chunks:
                call = chunks.response.headers["x-tollgate-call-id"]
                assert len(said(list(chunks)).split()) > 5
        else:
            answer = client.chat.completions.with_raw_response.create(model=asked, messages=ask(TWELVE_WORDS))
            call = answer.headers["x-tollgate-call-id"]
            assert answer.parse().choices[0].message.content
    receipt = team.receipt(call)
    assert receipt["provider"] == provider
    assert model in (None, receipt["model"])
    assert receipt["usage_source"] == "provider"
    assert nano(receipt["cost_usd"]) > 0
    assert json.loads(providers.requests()[0].body)["model"] == sent
    (billed,) = providers.bill()
    usage = receipt["usage"]
    assert usage["output"] + usage.get("reasoning", 0) == billed.output_total


async def test_the_async_sdk_runs_calls_at_once(team: Team, providers: SimulatedProviders) -> None:
    team.budget("20.00")

    async with openai.AsyncOpenAI(
        base_url=f"{team.gateway.url}/v1", api_key=team.key, max_retries=0
    ) as client:

        async def whole() -> str:
            answer = await client.chat.completions.create(model=MODEL, messages=ask(TWELVE_WORDS), n=1)
            return answer.choices[0].message.content or ""

        async def streamed() -> str:
            chunks = [
                chunk
                async for chunk in await client.chat.completions.create(
                    model=MODEL, messages=ask(TWELVE_WORDS), stream=True
                )
            ]
            return said(chunks)

        texts = await asyncio.gather(*(make() for _ in range(10) for make in (whole, streamed)))
        parsed = await client.chat.completions.parse(
            model=MODEL, messages=ask("How much is 2 + 2?"), response_format=Reasoning
        )
    assert len(set(texts)) == 1
    assert parsed.choices[0].message.parsed is not None
    rows = team.booked(21)
    assert sum(row["usage"]["output"] for row in rows) == sum(call.output for call in providers.bill())
    assert nano(team.settled()["spent"]) == sum(row["charge"] for row in rows)


def test_models_are_listed_with_prices(team: Team) -> None:
    with team.sdk() as client:
        models: Any = list(client.models.list())
        names = [model.id for model in models]
        assert len(set(names)) == len(names)
        one: Any = next(model for model in models if model.id == MODEL)
        assert one.usd_per_million["output"] == "8"
        assert client.models.retrieve(MODEL).id == MODEL
        with pytest.raises(openai.NotFoundError) as refused:
            client.models.retrieve("no-such-model")
    assert refused.value.code == "model_not_found"


def test_models_are_those_the_key_allows(team: Team) -> None:
    team.make_key(models=["gpt-4o*"])
    with team.sdk() as client:
        names = {model.id.rpartition("/")[2] for model in client.models.list()}
    assert "gpt-4o-mini" in names
    assert all(name.startswith("gpt-4o") for name in names)


def test_an_endpoint_that_is_not_metered_is_not_served(team: Team, providers: SimulatedProviders) -> None:
    with team.sdk() as client, pytest.raises(openai.NotFoundError) as refused:
        client.moderations.create(input="hello")
    assert refused.value.code == "unsupported_endpoint"
    assert providers.bill() == []
