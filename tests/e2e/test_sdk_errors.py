"""What the official OpenAI SDK raises, and what it tries again, when a call does not go well."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from gateway.domain.keys import mint
from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano

pytestmark = pytest.mark.slow

MODEL = "gpt-4.1"


def ask(prompt: str) -> list[Any]:
    return [{"role": "user", "content": prompt}]


def refusal(team: Team, kind: type[openai.APIStatusError], **fields: Any) -> Any:
    """The error that a call without retries raises."""
    with team.sdk() as client, pytest.raises(kind) as raised:
        client.chat.completions.create(**{"model": MODEL, "messages": ask("hello"), **fields})
    return raised.value


def tollgate(error: openai.APIError) -> Any:
    """The gateway's own part of an error."""
    body: Any = error.body
    return body["tollgate"]


@pytest.mark.parametrize(
    "key", ["", "garbage", "sk-tg-" + "a" * 49, mint(bytes(32)), mint(bytes(31) + b"\1")[:-1]]
)
def test_a_key_that_is_none(team: Team, providers: SimulatedProviders, key: str) -> None:
    with team.sdk(api_key=key or "x") as client, pytest.raises(openai.AuthenticationError) as raised:
        client.chat.completions.create(
            model=MODEL, messages=ask("hello"), extra_headers={} if key else {"authorization": ""}
        )
    assert raised.value.code == "invalid_api_key"
    assert raised.value.type == "invalid_request_error"
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert tollgate(raised.value)["hint"]
    assert providers.bill() == []


def test_a_model_the_key_may_not_use(team: Team) -> None:
    team.make_key(models=["gpt-4o-mini"])
    error = refusal(team, openai.PermissionDeniedError)
    assert (error.code, error.type, error.param) == ("model_not_allowed", "permission_error", "model")


def test_a_model_that_nobody_serves(team: Team) -> None:
    error = refusal(team, openai.NotFoundError, model="gpt-99-imaginary")
    assert (error.code, error.param) == ("model_not_found", "model")


def test_a_model_without_a_price(team: Team) -> None:
    error = refusal(team, openai.APIStatusError, model="openai/imaginary-1")
    assert (error.status_code, error.code) == (402, "price_missing")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
    ],
)
def test_a_body_of_the_wrong_shape(team: Team, fields: dict[str, Any], param: str) -> None:
    error = refusal(team, openai.BadRequestError, **fields)
    assert (error.code, error.param) == ("invalid_value", param)


def test_what_the_provider_refuses_keeps_its_words(team: Team, providers: SimulatedProviders) -> None:
    error = refusal(team, openai.BadRequestError, extra_body={"temperature": 9})
    assert error.param == "temperature"
    assert error.code == "decimal_above_max_value"
    assert "Expected a value <= 2" in error.message
    (row,) = team.booked(1)
    assert (row["outcome"], row["charge"], row["flags"]) == ("void", 0, ["upstream_refused"])


def test_a_spent_budget_is_not_tried_again(team: Team, providers: SimulatedProviders) -> None:
    team.budget("0.000100", name="pocket money")
    with team.sdk(max_retries=4) as client, pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model=MODEL, messages=ask("hello"), max_tokens=1000)
    error = raised.value
    assert (error.code, error.type) == ("budget_exceeded", "insufficient_quota")
    told = tollgate(error)
    assert {name: told[name] for name in ("budget", "cap", "spent", "held")} == {
        "budget": "pocket money",
        "cap": "0.0001",
        "spent": "0",
        "held": "0",
    }
    assert told["resets_at"].endswith("Z")
    assert error.response.headers["x-should-retry"] == "false"
    # The SDK says how often it tried in a header of its own.
    assert error.response.request.headers["x-stainless-retry-count"] == "0"
    assert providers.bill() == []


def test_a_budget_above_tells_its_name_and_reset_alone(team: Team) -> None:
    team.budget("0.000001", name="the whole company")
    child = team.gateway.admin.post("/admin/accounts", {"name": "child", "parent": team.account})["id"]
    team.account = child
    error = refusal(team, openai.RateLimitError, max_tokens=1000)
    told = tollgate(error)
    assert told["budget"] == "the whole company"
    assert told["resets_at"]
    assert not {"cap", "spent", "held", "budget_id"} & told.keys()
    assert "0.000001" not in error.message


def test_headroom_held_by_a_call_in_flight_is_worth_a_retry(
    team: Team, providers: SimulatedProviders
) -> None:
    team.budget("0.0090")  # pays for one such call, not for two
    with team.sdk(max_retries=3) as client:
        prompt = "[[sim: words=3 hold=door after=1]]"
        running = client.chat.completions.create(
            model=MODEL, messages=ask(prompt), max_tokens=1000, stream=True
        )
        next(iter(running))
        with pytest.raises(openai.RateLimitError) as raised:
            client.with_options(max_retries=0).chat.completions.create(
                model=MODEL, messages=ask("hello"), max_tokens=1000
            )
        assert raised.value.code == "budget_held"
        assert raised.value.response.headers["retry-after"] == "1"
        assert "x-should-retry" not in raised.value.response.headers
        assert nano(tollgate(raised.value)["held"]) > 0
        providers.release("door")
        running.close()
        # The SDK waits as it was told, and gets through.
        answer = client.chat.completions.create(
            model=MODEL, messages=ask("[[sim: words=3]]"), max_tokens=1000
        )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_the_keys_own_rate_limit_says_when(team: Team) -> None:
    key_id = team.gateway.admin.post("/admin/keys", {"account": team.account, "name": "limited"})
    team.gateway.budget("2", key=key_id["id"], unit="requests", period="hour", name="twice an hour")
    with team.sdk(api_key=key_id["key"]) as client:
        answers = [
            client.chat.completions.with_raw_response.create(model=MODEL, messages=ask("[[sim: words=3]]"))
            for _ in range(2)
        ]
        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(model=MODEL, messages=ask("hello"))
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
    assert (raised.value.code, raised.value.type) == ("rate_limit_exceeded", "requests")
    assert 1 <= int(raised.value.response.headers["retry-after"]) <= 3600


@pytest.mark.parametrize(
    ("directive", "kind", "code"),
    [
        ("status=429 retry_after=0.001", openai.RateLimitError, "upstream_rate_limited"),
        ("status=500", openai.InternalServerError, "upstream_unavailable"),
        ("status=503 retry_after=0.001", openai.InternalServerError, "upstream_unavailable"),
    ],
)
def test_the_providers_own_trouble_is_tried_again_and_kept(
    team: Team, providers: SimulatedProviders, directive: str, kind: type[openai.APIStatusError], code: str
) -> None:
    with team.sdk(max_retries=2) as client:
        # Twice in trouble, then well: the SDK gets through by the provider's own signals.
        answer = client.chat.completions.create(
            model=MODEL, messages=ask(f"[[sim: words=3 times=2 {directive}]]")
        )
        assert answer.usage is not None
        assert [call.status for call in providers.bill()][:2] == [int(directive[7:10])] * 2
        with pytest.raises(kind) as raised:
            client.chat.completions.create(model=MODEL, messages=ask(f"[[sim: {directive}]]"))
    assert len(providers.bill()) == 6
    assert tollgate(raised.value) == {"code": code}
    assert raised.value.status_code == int(directive[7:10])
    rows = team.booked(6)
    assert sorted(row["outcome"] for row in rows) == ["done"] + ["void"] * 5
    assert sum(row["charge"] for row in rows if row["outcome"] == "void") == 0


@pytest.mark.parametrize(
    ("directive", "status"),
    [("status=401", 401), ("status=403", 403), ("status=429 error=insufficient_quota", 429)],
)
def test_our_own_credentials_trouble_is_not_the_clients(
    team: Team, providers: SimulatedProviders, directive: str, status: int
) -> None:
    with team.sdk(max_retries=2) as client, pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model=MODEL, messages=ask(f"[[sim: {directive}]]"))
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_unavailable")
    assert "sk-sim" not in raised.value.message
    assert len(providers.bill()) == 1, "no wait makes a credential right"
    (row,) = team.booked(1)
    assert (row["status"], row["outcome"], row["charge"]) == (status, "void", 0)


def test_a_402_of_our_own_account(team: Team, providers: SimulatedProviders) -> None:
    error = refusal(
        team, openai.InternalServerError, model="deepseek/deepseek-chat", messages=ask("[[sim: status=402]]")
    )
    assert (error.status_code, error.code) == (502, "upstream_unavailable")
    assert "Insufficient Balance" not in str(error)


def test_a_provider_that_is_not_there(team: Team) -> None:
    error = refusal(team, openai.InternalServerError, model="nowhere/gpt-4.1")
    assert (error.status_code, error.code, error.type) == (502, "upstream_unavailable", "server_error")
    (row,) = team.booked(1)
    assert (row["outcome"], row["charge"], row["flags"]) == ("void", 0, ["upstream_unreached"])


def test_a_provider_that_does_not_answer(team: Team, providers: SimulatedProviders) -> None:
    error = refusal(
        team,
        openai.InternalServerError,
        model="impatient/gpt-4.1",
        messages=ask("[[sim: fault=stall_headers]]"),
    )
    assert (error.status_code, error.code) == (504, "upstream_unavailable")
    assert tollgate(error)["code"] == "upstream_timeout"


def test_the_sdks_own_timeout_leaves_nothing_held(team: Team, providers: SimulatedProviders) -> None:
    team.budget("1.00")
    # Long enough for the call to have reached the provider, however busy the machine.
    with team.sdk(timeout=3) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(
            model="stopping/gpt-4.1", messages=ask("[[sim: fault=stall_headers]]"), max_tokens=50
        )
    (row,) = team.booked(1)
    assert row["outcome"] == "aborted"
    assert row["usage_source"] == "counted"
    assert {"client_gone", "estimated"} <= set(row["flags"])
    assert nano(team.settled()["spent"]) == row["charge"] > 0


def test_an_error_in_the_midst_of_a_stream_is_raised(team: Team, providers: SimulatedProviders) -> None:
    with team.sdk() as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=ask("[[sim: words=20 fault=cut_midstream after=5]]"), stream=True
        )
        with pytest.raises(openai.APIError) as raised:
            list(stream)
    assert raised.value.code == "upstream_unavailable"
    assert "in the middle" in raised.value.message
