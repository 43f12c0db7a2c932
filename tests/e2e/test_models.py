"""The list of models, as each official SDK reads it."""

from __future__ import annotations

import anthropic
import pytest
from google import genai

from tests.e2e.teams import Team


def test_anthropics_sdk_pages_through_its_models(team: Team) -> None:
    with anthropic.Anthropic(base_url=team.gateway.url, api_key=team.key) as client:
        found = [model.id for model in client.models.list(limit=5)]
        one = client.models.retrieve("claude-sonnet-4-5")
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("claude-of-nowhere")
    assert len(found) == len(set(found)) > 10
    assert all(name.startswith("claude") for name in found)
    assert one.type == "model"
    assert one.max_input_tokens


def test_anthropics_pages_go_backwards_too(team: Team) -> None:
    def page(query: str) -> dict[str, object]:
        answer = team.client.call("GET", f"/v1/models?{query}", anthropic_version="2023-06-01")
        assert answer.status == 200, answer.body
        found: dict[str, object] = answer.json
        return found

    first = page("limit=3")
    second = page(f"limit=3&after_id={first['last_id']}")
    back = page(f"limit=3&before_id={second['first_id']}")
    assert back["data"] == first["data"]
    assert first["has_more"]
    refused = team.client.call("GET", "/v1/models?after_id=nobody", anthropic_version="2023-06-01")
    assert refused.status == 400


def test_googles_sdk_pages_through_its_models(team: Team) -> None:
    options = genai.types.HttpOptions(base_url=team.gateway.url)
    with genai.Client(api_key=team.key, http_options=options) as client:
        found = [model.name or "" for model in client.models.list(config={"page_size": 7})]
        one = client.models.get(model="gemini-2.5-flash")
    assert len(found) == len(set(found)) > 10
    assert all(name.startswith("models/") for name in found)
    assert one.name == "models/gemini-2.5-flash"
    assert one.input_token_limit


def test_a_key_sees_what_it_may_call(team: Team) -> None:
    team.make_key(models=["claude-haiku*"])
    with anthropic.Anthropic(base_url=team.gateway.url, api_key=team.key) as client:
        names = [model.id for model in client.models.list()]
    assert names
    assert all(name.startswith("claude-haiku") for name in names)
    with team.sdk() as openai:
        assert all("haiku" in model.id for model in openai.models.list())
        assert openai.models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5"
