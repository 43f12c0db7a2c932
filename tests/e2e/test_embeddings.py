"""The official OpenAI SDK embeds texts and token numbers, as numbers and as base64, charged by the prompt."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano

pytestmark = pytest.mark.slow

MODEL = "text-embedding-3-small"


@pytest.mark.parametrize("given", ["the sea", ["the sea", "the shore"], [1820, 9581], [[1820], [9581, 11]]])
@pytest.mark.parametrize("options", [{}, {"encoding_format": "float", "dimensions": 8}])
def test_what_was_read_is_charged(
    team: Team, providers: SimulatedProviders, given: Any, options: dict[str, Any]
) -> None:
    with team.sdk() as client:
        answer = client.embeddings.with_raw_response.create(model=MODEL, input=given, **options)
    vectors = answer.parse()
    (billed,) = providers.bill("openai")
    assert len(vectors.data[0].embedding) == options.get("dimensions", 1_536)
    assert vectors.usage.prompt_tokens == billed.input_total
    receipt = team.receipt(answer.headers["x-tollgate-call-id"])
    assert receipt["usage"] == {"requests": 1, "input": billed.input_total}
    assert nano(receipt["cost_usd"]) == billed.input_total * 20  # $0.02 per million tokens
    assert (receipt["usage_source"], receipt["flags"]) == ("provider", [])


def test_a_reply_without_usage_is_counted(team: Team) -> None:
    with team.sdk() as client:
        answer = client.embeddings.with_raw_response.create(model=MODEL, input="the sea [[sim: usage=none]]")
    receipt = team.receipt(answer.headers["x-tollgate-call-id"])
    assert (receipt["usage_source"], receipt["flags"]) == ("counted", ["estimated"])
    assert receipt["usage"] == {"requests": 1, "input": 9}  # by cl100k_base


def test_the_providers_own_refusals_arrive_as_they_are(team: Team) -> None:
    with team.sdk() as client, pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=MODEL, input="the sea", dimensions=-1)
    assert "less than the minimum of 1" in refused.value.message
    (row,) = team.booked(1)
    assert (row["outcome"], row["charge"]) == ("void", 0)


def test_a_spent_budget_refuses(team: Team) -> None:
    team.budget("0.000000001")
    with team.sdk() as client, pytest.raises(openai.RateLimitError) as refused:
        client.embeddings.create(model=MODEL, input="the sea " * 100)
    assert refused.value.code == "budget_exceeded"
