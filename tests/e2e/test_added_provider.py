"""A provider that nobody wrote code for: a section of the configuration, and a price."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team
from tests.running import Gateway, eventually, running

pytestmark = pytest.mark.slow

MODEL = "gpt-4o-mini"  # as the simulated server behind it calls its model
NAMED = f"groq/{MODEL}"


@pytest.fixture
def groq(folder: Path, providers: SimulatedProviders) -> Iterator[Gateway]:
    """A gateway whose configuration has one section more."""
    section = {
        "TOLLGATE_PROVIDERS__GROQ__BASE_URL": providers.url("openai"),
        "TOLLGATE_PROVIDERS__GROQ__CREDENTIAL": "gsk_simulated",
    }
    with running(folder, providers, settings=section) as gateway:
        yield gateway


def said(client: openai.OpenAI, asked: str) -> str | None:
    """The answer; None while the model has no price yet."""
    try:
        reply = client.chat.completions.create(model=NAMED, messages=[{"role": "user", "content": asked}])
    except openai.APIStatusError as error:
        if error.status_code == 402:
            return None
        raise
    return reply.choices[0].message.content


def test_a_section_and_a_price_are_all_it_takes(groq: Gateway) -> None:
    team = Team(groq, "team")
    with team.sdk() as client, pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model=NAMED, messages=[{"role": "user", "content": "hi"}])
    assert refused.value.status_code == 402
    assert "price" in refused.value.message
    for meter, usd in (("input", "0.05"), ("output", "0.08")):
        price = {"provider": "groq", "model": MODEL, "meter": meter, "usd_per_million": usd}
        groq.admin.post("/admin/prices", {**price, "effective_from": "2026-01-01T00:00:00Z"})
    budget = team.budget("1.00")
    asked = "Tell me. [[sim: words=12]]"
    with team.sdk() as client:
        eventually(lambda: said(client, asked), "the price has taken effect")
        chunks = list(
            client.chat.completions.create(
                model=NAMED, messages=[{"role": "user", "content": asked}], stream=True
            )
        )
        response = client.responses.create(model=NAMED, input=asked)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert response.output_text
    rows = team.booked(3)
    for row in rows:
        assert (row["provider"], row["upstream"], row["model"]) == ("groq", "groq", MODEL)
        assert row["usage"]["output"] == 12
        assert row["charge"] == row["usage"]["input"] * 50 + 12 * 80
        assert row["flags"] == []
    assert team.settled()["held"] == "0"
    assert float(groq.window(budget)["spent"]) > 0
