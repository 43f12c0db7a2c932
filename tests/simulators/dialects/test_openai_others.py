"""The official SDK against the simulated OpenAI: embeddings and the old completions."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from gateway.simulators import SimulatedProviders

EMBEDDER = "text-embedding-3-small"


@pytest.fixture
def client(providers: SimulatedProviders) -> openai.OpenAI:
    return openai.OpenAI(base_url=providers.url("openai"), api_key="sk-any", max_retries=0)


def test_embeds_each_input(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=EMBEDDER, input=["Ruby", "Python", "Ruby"], dimensions=8)
    [billed] = providers.bill()
    assert [len(one.embedding) for one in answer.data] == [8, 8, 8]
    assert answer.data[0].embedding == answer.data[2].embedding != answer.data[1].embedding
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == billed.input_total == 3
    assert billed.output_total == 0


def test_embeddings_are_the_same_in_either_encoding(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": EMBEDDER, "input": "hello"}
    # The SDK asks for base64 of its own accord and decodes it.
    decoded = client.embeddings.create(**asked).data[0].embedding
    numbers = client.embeddings.create(**asked, encoding_format="float").data[0].embedding
    assert len(numbers) == 1_536
    assert decoded == pytest.approx(numbers)


def test_tokens_are_counted_as_they_are(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    client.embeddings.create(model=EMBEDDER, input=[[1, 2, 3], [4, 5]])
    client.embeddings.create(model=EMBEDDER, input=[1, 2, 3])
    assert [billed.input_total for billed in providers.bill()] == [5, 3]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dimensions": -1}, "-1 is less than the minimum of 1 - 'dimensions'"),
        ({"input": ""}, "non-empty"),
        ({"input": list(range(9_000))}, "maximum context length is 8192"),
    ],
)
def test_refuses_bad_input(client: openai.OpenAI, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.embeddings.create(**{"model": EMBEDDER, "input": "x", **fields})


def test_a_chat_model_does_not_embed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="gpt-4o", input="x")


def test_embeds_for_azure(providers: SimulatedProviders) -> None:
    client = openai.AzureOpenAI(
        azure_endpoint=providers.url("azure"), api_key="k", api_version="2024-10-21", max_retries=0
    )
    assert client.embeddings.create(model=EMBEDDER, input="hello").usage.prompt_tokens == 1
    assert providers.bill("azure")[0].input_total == 1


def test_completes_each_prompt(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=["One", "Two [[sim: words=9]]"], max_tokens=4, n=2
    )
    [billed] = providers.bill()
    assert [choice.finish_reason for choice in answer.choices] == ["length"] * 4
    assert answer.usage is not None
    assert answer.usage.completion_tokens == billed.output_total == 16
    assert answer.usage.prompt_tokens == billed.input_total


@pytest.mark.parametrize("asks", [True, False])
def test_streams_completions(providers: SimulatedProviders, client: openai.OpenAI, asks: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if asks else {}
    chunks = list(
        client.completions.create(
            model="gpt-3.5-turbo-instruct", prompt="Go [[sim: words=5]]", stream=True, **options
        )
    )
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].text]) == 5
    assert (chunks[-1].usage is not None) is asks
    assert providers.bill()[0].output_total == 5


def test_the_old_cap_is_sixteen(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    client.completions.create(model="gpt-3.5-turbo-instruct", prompt="At length")
    assert providers.bill()[0].output_total == 16
