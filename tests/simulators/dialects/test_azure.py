"""The official SDK's Azure client against the simulated Azure OpenAI."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from gateway.simulators import SimulatedProviders


@pytest.fixture
def client(providers: SimulatedProviders) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=providers.url("azure"), api_key="azure-key", api_version="2024-10-21", max_retries=0
    )


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_answers_under_the_name_of_a_deployment(
    providers: SimulatedProviders, client: openai.AzureOpenAI
) -> None:
    providers.deploy({"our-chat": "gpt-4o"})
    answer = client.chat.completions.create(model="our-chat", messages=ask("Hello [[sim: words=5]]"))
    [billed] = providers.bill()
    assert (billed.model, billed.served_model) == ("our-chat", "gpt-4o-2024-08-06")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == billed.output_total == 5


def test_a_stream_opens_with_the_filter_results(client: openai.AzureOpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o",
        messages=ask("Hello [[sim: words=5]]"),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks: list[Any] = list(stream)
    assert (chunks[0].choices, chunks[0].id, chunks[0].model) == ([], "", "")
    assert chunks[0].prompt_filter_results
    assert chunks[2].choices[0].content_filter_results["hate"]["filtered"] is False
    assert chunks[-1].usage.completion_tokens == 5


def test_an_unknown_deployment_is_not_found(client: openai.AzureOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody-made-this", messages=ask("Hello"))
    assert caught.value.code == "DeploymentNotFound"


def test_a_blocked_prompt_is_refused_and_not_billed(
    providers: SimulatedProviders, client: openai.AzureOpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=ask("Hello [[sim: fault=prompt_blocked]]"))
    assert caught.value.code == "content_filter"
    assert providers.bill()[0].input_total == 0


def test_a_wrong_key_is_refused(providers: SimulatedProviders, client: openai.AzureOpenAI) -> None:
    providers.accept_keys("azure", ["another"])
    with pytest.raises(openai.AuthenticationError, match="invalid subscription key"):
        client.chat.completions.create(model="gpt-4o", messages=ask("Hello"))


def test_a_rate_limit_names_the_seconds(client: openai.AzureOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=ask("[[sim: status=429 retry_after=7]]"))
    assert caught.value.response.headers["retry-after-ms"] == "7000"
