"""The official Anthropic SDK works unchanged on the Messages API, and what it used is booked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import pytest

from tests.e2e.teams import Team, nano

pytestmark = pytest.mark.slow

MODEL = "claude-sonnet-4-6"
# The simulated models answer their directives in so many words.
TWELVE_WORDS = "Tell me about the sea. [[sim: words=12]]"


@contextmanager
def sdk_of(team: Team) -> Iterator[anthropic.Anthropic]:
    """The official SDK, one base URL away from the provider."""
    with anthropic.Anthropic(base_url=team.gateway.url, api_key=team.key, max_retries=0) as client:
        yield client


@pytest.fixture
def sdk(team: Team) -> Iterator[anthropic.Anthropic]:
    """The SDK with the team's key."""
    with sdk_of(team) as client:
        yield client


def test_a_message_is_answered_and_booked_as_reported(team: Team, sdk: anthropic.Anthropic) -> None:
    reply = sdk.messages.create(
        model=MODEL, max_tokens=200, messages=[{"role": "user", "content": TWELVE_WORDS}]
    )
    assert reply.content[0].type == "text"
    assert reply.stop_reason == "end_turn"
    (row,) = team.booked(1)
    assert row["usage"]["input"] == reply.usage.input_tokens
    assert row["usage"]["output"] == reply.usage.output_tokens
    assert row["charge"] > 0


def test_a_stream_arrives_whole_and_is_booked_once(team: Team, sdk: anthropic.Anthropic) -> None:
    with sdk.messages.stream(
        model=MODEL, max_tokens=200, messages=[{"role": "user", "content": TWELVE_WORDS}]
    ) as stream:
        text = "".join(stream.text_stream)
        reply = stream.get_final_message()
    assert text
    assert reply.content[0].type == "text"
    assert text == reply.content[0].text
    (row,) = team.booked(1)
    assert row["usage"]["output"] == reply.usage.output_tokens


def test_a_spent_budget_is_an_error_of_this_dialect(team: Team) -> None:
    team.budget("0.000001")
    with sdk_of(team) as sdk, pytest.raises(anthropic.APIStatusError) as refused:
        sdk.messages.create(model=MODEL, max_tokens=200, messages=[{"role": "user", "content": TWELVE_WORDS}])
    assert refused.value.status_code == 429, refused.value.body
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["type"] == "error"
    assert refused.value.body["error"]["tollgate"]["code"] == "budget_exceeded"
    assert team.rows() == []


def test_tokens_are_counted_for_nothing(team: Team, sdk: anthropic.Anthropic) -> None:
    budget = team.budget("1")
    counted = sdk.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": TWELVE_WORDS}])
    assert counted.input_tokens > 0
    assert nano(team.gateway.window(budget)["spent"]) == 0


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-8"}]},
        {"fallbacks": [{"model": "claude-opus-4-8"}]},
    ],
    ids=["advisor", "fallback"],
)
def test_a_key_binds_every_model_of_a_call(team: Team, extra: dict[str, Any]) -> None:
    team.make_key(models=["claude-sonnet*"])
    message = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": TWELVE_WORDS}]}
    refused = team.client.call("POST", "/v1/messages", {**message, **extra})
    assert refused.status == 403
    assert "claude-opus-4-8" in refused.json["error"]["message"]
    assert team.client.call("POST", "/v1/messages", message).status == 200
