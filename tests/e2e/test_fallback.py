"""A spent budget moves calls to its cheaper model, quoted anew, and says so."""

from __future__ import annotations

import json

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team

pytestmark = pytest.mark.slow


def test_a_spent_budget_falls_back_to_its_cheaper_model(team: Team, providers: SimulatedProviders) -> None:
    team.budget("0.0005", models=["gpt-4.1"], on_exhausted={"fallback": "gpt-4.1-mini"})
    team.budget("1.00", name="all")
    models = []
    for _ in range(6):
        answer = team.client.chat("gpt-4.1", "Once more. [[sim: words=20]]", max_tokens=20)
        assert answer.status == 200
        sent = json.loads(providers.requests(1)[0].body)["model"]
        assert answer.headers.get("x-tollgate-model") in (None, sent)
        models.append(sent)
    assert models[0] == "gpt-4.1"
    assert models[-1] == "gpt-4.1-mini"
    rows = team.booked(6)
    assert [row["model"] for row in rows] == models
    assert ["fallback" in row["flags"] for row in rows] == [model == "gpt-4.1-mini" for model in models]
    assert sum(row["charge"] for row in rows if row["model"] == "gpt-4.1") <= 500_000


def test_a_fallback_that_the_key_may_not_use_is_the_refusal(team: Team) -> None:
    team.budget("0", models=["gpt-4.1"], on_exhausted={"fallback": "gpt-4.1-mini"})
    team.make_key(models=["gpt-4.1"])
    refused = team.client.chat("gpt-4.1", "Hello", max_tokens=20)
    assert (refused.status, refused.code) == (429, "budget_exceeded")


def test_a_spent_fallback_is_refused_with_its_own_budget(team: Team) -> None:
    team.budget("0", models=["gpt-4.1"], on_exhausted={"fallback": "gpt-4.1-mini"})
    team.budget("0", name="of the mini", models=["gpt-4.1-mini"])
    refused = team.client.chat("gpt-4.1", "Hello", max_tokens=20)
    assert (refused.status, refused.code) == (429, "budget_exceeded")
    assert refused.json["error"]["tollgate"]["budget"] == "of the mini"
