"""Several upstreams, retries, fallbacks and the breaker, on real sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import SettingsError, load
from gateway.simulators import SimulatedProviders
from gateway.upstreams import routes, upstreams
from tests.e2e.teams import Team
from tests.running import Gateway, eventually, free_port, running

CONFIGURATION = """
[providers.openai]
priority = 1
[providers.deepseek]
[upstreams.openai-away]
provider = "openai"
base_url = "http://127.0.0.1:{away}/v1"
[upstreams.openai-spare]
provider = "openai"
priority = 2
[routes."either"]
upstreams = ["openai/gpt-4.1-mini", "deepseek/deepseek-v3.2"]
[routes."gpt-4.1-nano"]
fallbacks = ["gpt-4.1-mini"]
[retries]
backoff_s = 0.01
longest_wait_s = 1.0
[breaker]
failures = 3
open_s = 600
"""


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedProviders]:
    with SimulatedProviders() as providers:
        yield providers


@pytest.fixture
def routed(tmp_path: Path, simulated: SimulatedProviders) -> Iterator[Gateway]:
    """openai-away is asked first and is not there; then openai; then openai-spare, the same server."""
    simulated.reset()
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIGURATION.format(away=free_port()))
    settings = {"TOLLGATE_CONFIG": str(path), "TOLLGATE_RETRIES__ATTEMPTS": "3"}
    with running(tmp_path / "gateway", simulated, settings=settings) as gateway:
        yield gateway


@pytest.fixture
def team(routed: Gateway) -> Team:
    return Team(routed, "routed")


def attempts(team: Team, call: Any) -> list[tuple[str, str, int | None]]:
    return [(each["upstream"], each["outcome"], each["status"]) for each in team.receipt_of(call)["attempts"]]


def test_what_is_not_reached_is_tried_elsewhere_and_each_try_is_an_entry(
    team: Team, simulated: SimulatedProviders
) -> None:
    budget = team.budget("1.00")
    answer = team.client.chat("gpt-4.1", "hello", max_tokens=20)
    assert answer.status == 200
    assert attempts(team, answer) == [("openai-away", "void", None), ("openai", "done", 200)]
    rows = team.booked(2)
    assert [row["charge"] > 0 for row in rows] == [False, True]
    assert len(simulated.bill()) == 1
    assert {row["provider"] for row in rows} == {"openai"}
    assert len({row["call"] for row in rows}) == 1
    assert team.gateway.window(budget)["held"] == "0"


def test_a_stream_is_tried_again_before_its_first_byte(team: Team) -> None:
    with team.sdk() as client:
        stream = client.chat.completions.create(
            model="gpt-4.1",
            messages=[{"role": "user", "content": "hello [[sim: status=503 times=1]]"}],
            max_tokens=20,
            stream=True,
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    rows = team.booked(3)
    assert [(row["upstream"], row["outcome"]) for row in rows] == [
        ("openai-away", "void"),
        ("openai", "void"),
        ("openai-spare", "done"),
    ]


def test_the_breaker_goes_around_what_fails(team: Team, routed: Gateway) -> None:
    for _ in range(5):
        assert team.client.chat("gpt-4.1", "hello", max_tokens=5).status == 200
    rows = team.booked(8)
    assert [row["upstream"] for row in rows].count("openai-away") == 3
    assert "openai-away fails" in routed.words()
    assert "upstream: openai-away fails; calls avoid it" in routed.admin.get("/readyz")["reasons"]


def test_the_same_upstream_after_the_wait_it_asked_for(team: Team) -> None:
    prompt = "hello [[sim: status=429 times=2 retry_after=0.05 only=deepseek]]"
    answer = team.client.chat("deepseek-v3.2", prompt, max_tokens=10)
    assert answer.status == 200
    assert [status for _, _, status in attempts(team, answer)] == [429, 429, 200]


def test_a_wait_that_is_too_long_is_the_clients_own(team: Team) -> None:
    prompt = "hello [[sim: status=429 retry_after=30]]"
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": prompt}]}
    answer = team.client.call("POST", "/v1/messages", body, anthropic_version="2023-06-01")
    assert (answer.status, answer.headers["retry-after"]) == (429, "30")
    assert answer.json["error"]["tollgate"]["code"] == "upstream_rate_limited"
    assert len(team.booked(1)) == 1


def test_the_clients_own_fault_is_not_tried_again(team: Team) -> None:
    answer = team.client.chat("deepseek-v3.2", "hello [[sim: status=400]]", max_tokens=10)
    assert answer.status == 400
    assert len(team.booked(1)) == 1


def test_a_credential_refused_at_one_is_tried_at_another_and_not_shown(team: Team) -> None:
    answer = team.client.chat("gpt-4.1", "hello [[sim: status=401 times=1]]", max_tokens=10)
    assert answer.status == 200
    assert [upstream for upstream, _, _ in attempts(team, answer)] == [
        "openai-away",
        "openai",
        "openai-spare",
    ]


def test_an_answer_that_may_be_billed_is_never_asked_for_twice(
    team: Team, simulated: SimulatedProviders
) -> None:
    answer = team.client.chat("deepseek-v3.2", "hello [[sim: fault=hang_up]]", max_tokens=10)
    assert answer.status == 502
    assert [row["outcome"] for row in team.booked(1)] == ["aborted"]


def test_a_fallback_takes_over_when_no_upstream_can(team: Team) -> None:
    for _ in range(3):  # the breaker learns of the one that is away
        team.client.chat("gpt-4.1", "hello", max_tokens=5)
    answer = team.client.chat("gpt-4.1-nano", "hello [[sim: status=500 only=gpt-4.1-nano]]", max_tokens=10)
    assert answer.status == 200
    assert answer.headers["x-tollgate-model"] == "gpt-4.1-mini"
    receipt = team.receipt_of(answer)
    assert [each["upstream"] for each in receipt["attempts"]] == ["openai", "openai-spare", "openai"]
    assert (receipt["model"], "fallback" in receipt["flags"]) == ("gpt-4.1-mini", True)


def test_a_free_models_paid_fallback_is_held_to_the_budget(
    team: Team, routed: Gateway, simulated: SimulatedProviders
) -> None:
    """What is free is quoted at nothing and always admitted; what it falls back to is quoted anew."""
    for meter in ("input", "cache_read", "output"):
        price = {"provider": "openai", "model": "gpt-4.1-nano", "meter": meter, "usd_per_million": "0"}
        routed.admin.post("/admin/prices", price)
    team.budget("0")
    broken = "hello [[sim: status=500 only=gpt-4.1-nano]]"
    eventually(
        lambda: team.client.chat("gpt-4.1-nano", "hello", max_tokens=10).status == 200, "it costs nothing"
    )
    assert team.client.chat("gpt-4.1-nano", broken, max_tokens=10).status == 500
    rows = team.booked(4)
    assert {row["model"] for row in rows} == {"gpt-4.1-nano"}
    assert sum(row["charge"] for row in rows) == 0
    assert all(call.model != "gpt-4.1-mini" for call in simulated.bill())


def test_one_name_may_be_two_models(team: Team) -> None:
    served = Counter(
        team.receipt_of(team.client.chat("either", "hello", max_tokens=5))["provider"] for _ in range(12)
    )
    assert served["deepseek"] == 12  # openai's own has a priority behind it


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[upstreams.x]\nprovider = "nobody"', "upstreams.x"),
        ("[upstreams.x]", "upstreams.x"),
        ('[routes."m"]\nupstreams = ["nowhere/m"]', "routes.m"),
        ("[retries]\nattempts = 0", "retries.attempts"),
        ('[upstreams.x]\nprovider = "openai"\nwieght = 2', "upstreams.x.wieght"),
    ],
)
def test_a_route_that_leads_nowhere_stops_the_start(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=wrong):
        read(str(path))


def read(path: str) -> None:
    settings = load({"OPENAI_API_KEY": "sk-x"}, path)
    upstreams(settings)
    routes(settings)
