"""The official google-genai SDK works unchanged on Gemini's own API, and what it used is booked."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.e2e.teams import Team, nano
from tests.running import Stream

pytestmark = pytest.mark.slow

MODEL = "gemini-2.5-flash"
# The simulated models answer their directives in so many words.
TWELVE_WORDS = "Tell me about the sea. [[sim: words=12]]"
BODY: Any = {"contents": [{"role": "user", "parts": [{"text": TWELVE_WORDS}]}]}


@contextmanager
def sdk_of(team: Team) -> Iterator[genai.Client]:
    """The official SDK, one base URL away from the provider."""
    options = types.HttpOptions(base_url=team.gateway.url, retry_options=types.HttpRetryOptions(attempts=1))
    client = genai.Client(api_key=team.key, http_options=options)
    yield client
    client.close()


@pytest.fixture
def sdk(team: Team) -> Iterator[genai.Client]:
    """The SDK with the team's key."""
    with sdk_of(team) as client:
        yield client


def test_an_answer_is_booked_as_reported(team: Team, sdk: genai.Client) -> None:
    reply = sdk.models.generate_content(model=MODEL, contents=TWELVE_WORDS)
    assert reply.text
    assert reply.usage_metadata is not None
    (row,) = team.booked(1)
    assert row["usage"]["input"] == reply.usage_metadata.prompt_token_count
    assert row["usage"]["output"] == reply.usage_metadata.candidates_token_count
    assert row["charge"] > 0


def test_a_stream_arrives_whole_and_is_booked_once(team: Team, sdk: genai.Client) -> None:
    chunks = list(sdk.models.generate_content_stream(model=MODEL, contents=TWELVE_WORDS))
    assert "".join(chunk.text or "" for chunk in chunks)
    assert chunks[-1].usage_metadata is not None
    (row,) = team.booked(1)
    assert row["usage"]["output"] == chunks[-1].usage_metadata.candidates_token_count


def test_a_spent_budget_is_an_error_of_this_dialect(team: Team) -> None:
    team.budget("0.000001")
    with sdk_of(team) as sdk, pytest.raises(errors.ClientError) as refused:
        sdk.models.generate_content(model=MODEL, contents=TWELVE_WORDS)
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert team.rows() == []


def test_tokens_are_counted_for_nothing(team: Team, sdk: genai.Client) -> None:
    budget = team.budget("1")
    counted = sdk.models.count_tokens(model=MODEL, contents=TWELVE_WORDS)
    assert counted.total_tokens
    assert nano(team.gateway.window(budget)["spent"]) == 0


def test_the_key_may_come_in_the_query(team: Team) -> None:
    nobody = team.gateway.client("")
    path = f"/v1beta/models/{MODEL}:generateContent"
    assert nobody.call("POST", path, BODY).status == 401
    assert nobody.call("POST", f"{path}?key={team.key}", BODY).status == 200


def array_of(team: Team, directives: str) -> Stream:
    body = {"contents": [{"role": "user", "parts": [{"text": f"Tell me. [[sim: {directives}]]"}]}]}
    return team.client.open("POST", f"/v1beta/models/{MODEL}:streamGenerateContent", body)


def test_an_array_arrives_element_by_element(team: Team) -> None:
    """The upstream falls silent after some of them, and they are there."""
    answer = array_of(team, "words=200 fault=stall after=3")
    assert answer.headers["content-type"].startswith("application/json")
    assert b'"candidates"' in answer.some(b'"candidates"')
    answer.close()
    (row,) = team.booked(1)
    assert (row["streamed"], row["outcome"]) == (1, "aborted")
    assert row["usage"]["output"] > 0


def test_an_array_that_breaks_off_ends_in_an_error_that_is_an_element(team: Team) -> None:
    answer = array_of(team, "words=200 fault=cut_midstream after=3")
    with pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()
    answer.close()
    *parts, last = json.loads(broken.value.partial)
    assert all("candidates" in part for part in parts)
    assert parts
    assert last["error"]["status"] == "UNAVAILABLE"
    assert last["error"]["tollgate"]["code"] == "upstream_unavailable"


def test_the_hint_about_a_missing_end_user_knows_the_dialect(team: Team) -> None:
    team.make_key(require_end_user=True)
    answer = team.client.call("POST", f"/v1beta/models/{MODEL}:generateContent", BODY)
    told = answer.json["error"]["tollgate"]
    assert told["hint"] == "Send the header x-tollgate-end-user."
    named = {"x_tollgate_end_user": "ada"}
    assert team.client.call("POST", f"/v1beta/models/{MODEL}:generateContent", BODY, **named).status == 200


def test_a_stream_without_alt_sse_is_one_array(team: Team) -> None:
    answer = team.client.call("POST", f"/v1beta/models/{MODEL}:streamGenerateContent", BODY)
    assert answer.status == 200
    assert "candidates" in answer.json[0]
    (row,) = team.booked(1)
    assert row["usage"]["output"] > 0
