"""What is stored at a provider, in every dialect: another's does not exist, what is shared is everybody's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team
from tests.e2e.upstream import ScriptedUpstream, answer
from tests.running import Gateway, running

pytestmark = pytest.mark.slow


def test_openai_says_it_in_its_words(team: Team) -> None:
    content: Any = [{"type": "file", "file": {"file_id": "file_of_another"}}]
    with team.sdk() as client, pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": content}])
    assert refused.value.code == "not_found"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert team.rows() == []


def test_anthropic_says_it_in_its_words(team: Team) -> None:
    source: Any = {"type": "document", "source": {"type": "file", "file_id": "file_of_another"}}
    with anthropic.Anthropic(api_key=team.key, base_url=team.gateway.url, max_retries=0) as client:
        for ask in (client.messages.create, client.messages.count_tokens):
            asked: dict[str, Any] = {
                "model": "claude-sonnet-4-6",
                "messages": [{"role": "user", "content": [source]}],
            }
            if ask == client.messages.create:
                asked["max_tokens"] = 20
            with pytest.raises(anthropic.NotFoundError) as refused:
                ask(**asked)
            body: Any = refused.value.body
            assert body["error"]["type"] == "not_found_error"
    assert team.rows() == []


def test_gemini_says_it_in_its_words(team: Team) -> None:
    options = types.HttpOptions(base_url=team.gateway.url, retry_options=types.HttpRetryOptions(attempts=1))
    client = genai.Client(api_key=team.key, http_options=options)
    cached = types.GenerateContentConfig(cached_content="cachedContents/of-another")
    with pytest.raises(errors.ClientError) as refused:
        client.models.generate_content(model="gemini-2.5-flash", contents="hi", config=cached)
    client.close()
    assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")
    assert team.rows() == []


def test_the_open_web_is_nobodys(team: Team) -> None:
    """A URL is read by the provider like anybody would."""
    uri = {"fileData": {"fileUri": "https://www.youtube.com/watch?v=abc", "mimeType": "video/mp4"}}
    body = {"contents": [{"role": "user", "parts": [uri]}]}
    assert team.client.call("POST", "/v1beta/models/gemini-2.5-flash:generateContent", body).status != 404


def test_our_own_credential_is_not_the_callers_fault(team: Team, upstream: ScriptedUpstream) -> None:
    stored = {
        "id": "resp_cred",
        "status": "completed",
        "output": [],
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    upstream.play(answer(json.dumps(stored).encode()))
    asked = {"model": "scripted/gpt-4.1", "input": "x"}
    assert team.client.call("POST", "/v1/responses", asked).status == 200
    upstream.play(answer(b'{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}', 401))
    refused = team.client.call("GET", "/v1/responses/resp_cred")
    assert (refused.status, refused.code) == (502, "upstream_unavailable")
    upstream.play(answer(b'{"error":{"message":"Slow down","code":"rate_limit_exceeded"}}', 429))
    limited = team.client.call("GET", "/v1/responses/resp_cred/input_items?limit=5&evil=1")
    assert (limited.status, limited.json["error"]["code"]) == (429, "rate_limit_exceeded")
    (sent,) = upstream.requests()
    assert sent.startswith(b"GET /v1/responses/resp_cred/input_items?limit=5 HTTP/1.1\r\n")
    assert team.key.encode() not in sent


@pytest.fixture
def sharing(folder: Path, providers: SimulatedProviders) -> Iterator[Gateway]:
    """A gateway whose operator shares a store of files."""
    with running(folder, providers, settings={"TOLLGATE_TENANCY__SHARED_IDS": "vs_1,vs_2"}) as gateway:
        yield gateway


def test_what_the_operator_shares_is_everybodys(sharing: Gateway) -> None:
    def search(team: Team, store: str) -> int:
        tools = [{"type": "file_search", "vector_store_ids": [store]}]
        asked = {"model": "gpt-4.1", "input": "Find it.", "tools": tools, "max_tool_calls": 1}
        return team.client.call("POST", "/v1/responses", asked).status

    one, two = Team(sharing, "one"), Team(sharing, "two")
    assert [search(one, "vs_1"), search(two, "vs_2"), search(two, "vs_3")] == [200, 200, 404]
