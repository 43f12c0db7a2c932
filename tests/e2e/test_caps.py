"""Output caps: the smallest of the client's, the key's, the model's and what the budget pays is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano
from tests.running import Answer, eventually, running

pytestmark = pytest.mark.slow

OUTPUT_NANO = 8_000  # gpt-4.1, for each token
LONG = "Tell me all. [[sim: words=100000]]"


def sent_cap(providers: SimulatedProviders) -> int | None:
    """The cap that the provider was sent last."""
    body = json.loads(providers.requests(1)[0].body)
    cap = body.get("max_completion_tokens", body.get("max_tokens"))
    return None if cap is None else int(cap)


def told_cap(answer: Answer) -> str | None:
    return answer.headers.get("x-tollgate-max-tokens")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_keys_cap_is_sent_instead_of_a_larger_one(
    team: Team, providers: SimulatedProviders, field: str
) -> None:
    team.make_key(max_output_tokens=100)
    fields: dict[str, Any] = {field: 5000}
    answer = team.client.chat("gpt-4.1", LONG, **fields)
    assert (sent_cap(providers), told_cap(answer)) == (100, "100")
    assert answer.json["choices"][0]["finish_reason"] == "length"
    assert answer.json["usage"]["completion_tokens"] == 100


def test_a_smaller_cap_of_the_clients_stays(team: Team, providers: SimulatedProviders) -> None:
    team.make_key(max_output_tokens=100)
    answer = team.client.chat("gpt-4.1", LONG, max_tokens=7)
    assert (sent_cap(providers), told_cap(answer)) == (7, None)


def test_a_call_that_names_no_cap_gets_the_keys(team: Team, providers: SimulatedProviders) -> None:
    team.make_key(max_output_tokens=100)
    answer = team.client.chat("gpt-4.1", LONG)
    assert (sent_cap(providers), told_cap(answer)) == (100, "100")


def test_a_key_may_refuse_instead(team: Team, providers: SimulatedProviders) -> None:
    team.make_key(max_output_tokens=100, on_over_cap="refuse")
    refused = team.client.chat("gpt-4.1", LONG, max_tokens=101)
    assert (refused.status, refused.code) == (400, "max_tokens_exceeded")
    error = refused.json["error"]
    assert error["param"] == "max_completion_tokens"
    assert error["tollgate"]["max_output_tokens"] == 100
    assert refused.headers["x-should-retry"] == "false"
    assert providers.bill() == []
    for asked in (100, None):
        assert team.client.chat("gpt-4.1", LONG, max_tokens=asked).status == 200
        assert sent_cap(providers) == 100


@pytest.mark.parametrize(
    ("model", "limit"), [("gpt-4.1", 32_768), ("gpt-4o", 16_384), ("deepseek/deepseek-v3.2", 65_536)]
)
def test_no_cap_at_all_is_the_models_limit(
    team: Team, providers: SimulatedProviders, model: str, limit: int
) -> None:
    answer = team.client.chat(model, "[[sim: words=5]]")
    assert sent_cap(providers) == limit
    assert told_cap(answer) is None


def test_a_cap_over_the_models_limit_is_lowered_to_it(team: Team, providers: SimulatedProviders) -> None:
    answer = team.client.chat("gpt-4o", "[[sim: words=5]]", max_tokens=100_000)
    assert (answer.status, sent_cap(providers), told_cap(answer)) == (200, 16_384, "16384")


def test_a_model_without_a_known_limit_gets_the_default(team: Team, providers: SimulatedProviders) -> None:
    for meter in ("input", "output"):
        row = {"provider": "openai", "model": "mock", "meter": meter, "usd_per_million": "1"}
        team.gateway.admin.post("/admin/prices", {**row, "effective_from": "2025-01-01T00:00:00Z"})
    eventually(lambda: team.client.chat("mock", "[[sim: words=5]]").status == 200, "the price is known")
    answer = team.client.chat("mock", "[[sim: words=5]]")
    assert (sent_cap(providers), told_cap(answer)) == (16_384, "16384")


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_clamps_a_call_that_names_no_cap(
    team: Team, providers: SimulatedProviders, stream: bool
) -> None:
    # Of 0.40 USD an eighth is 0.05: enough for some 6,200 tokens. This is the first call ever.
    team.budget("0.40")
    if stream:
        chunks = team.client.stream("gpt-4.1", "[[sim: words=5]]")
        chunks.read()
        chunks.close()
        headers: Any = chunks.headers
    else:
        headers = team.client.chat("gpt-4.1", "[[sim: words=5]]").headers
    cap = sent_cap(providers)
    assert cap is not None
    assert headers["x-tollgate-max-tokens"] == str(cap)
    hold = nano(team.receipt(headers["x-tollgate-call-id"])["hold_usd"])
    assert 50_000_000 - 2 * OUTPUT_NANO < hold <= 50_000_000
    assert hold // OUTPUT_NANO - 100 < cap <= hold // OUTPUT_NANO


def test_a_clamp_is_never_below_the_useful_minimum(team: Team, providers: SimulatedProviders) -> None:
    # An eighth of 0.02 USD pays for 312 tokens; 1,024 cost 0.0082, and that much is there.
    team.budget("0.02")
    answer = team.client.chat("gpt-4.1", "[[sim: words=5]]")
    assert (answer.status, sent_cap(providers)) == (200, 1024)


def test_a_budget_that_cannot_pay_the_minimum_refuses(team: Team, providers: SimulatedProviders) -> None:
    team.budget("0.008")
    refused = team.client.chat("gpt-4.1", "[[sim: words=5]]")
    assert (refused.status, refused.code) == (429, "budget_exceeded")
    # A smaller cap, named, is paid for: the hint says so.
    assert "smaller output cap" in refused.json["error"]["tollgate"]["hint"]
    assert team.client.chat("gpt-4.1", "[[sim: words=5]]", max_tokens=500).status == 200


def test_a_named_cap_that_the_budget_cannot_pay_is_refused(team: Team, providers: SimulatedProviders) -> None:
    team.budget("0.40")
    # One choice of as much as the model can write is affordable, two are not.
    assert team.client.chat("gpt-4.1", "[[sim: words=5]]", max_tokens=64_000).status == 200
    refused = team.client.chat("gpt-4.1", "[[sim: words=5]]", max_tokens=32_000, n=2)
    assert (refused.status, refused.code) == (429, "budget_exceeded")


def test_a_token_quota_clamps_too(team: Team, providers: SimulatedProviders) -> None:
    team.budget("80000", unit="tokens")
    answer = team.client.chat("gpt-4.1", "[[sim: words=5]]")
    cap = sent_cap(providers)
    assert cap is not None
    assert 9_500 < cap < 10_000
    assert told_cap(answer) == str(cap)


def test_token_limits_by_the_minute_do_not_clamp(team: Team, providers: SimulatedProviders) -> None:
    team.budget("5000", unit="tokens", period="hour")
    answer = team.client.chat("gpt-4.1", "[[sim: words=5]]")
    assert (answer.status, sent_cap(providers), told_cap(answer)) == (200, 32_768, None)


@pytest.mark.parametrize("stream", [False, True])
def test_each_of_several_choices_has_the_cap(team: Team, providers: SimulatedProviders, stream: bool) -> None:
    team.make_key(max_output_tokens=10)
    if stream:
        answer = team.client.stream("gpt-4.1", LONG, n=3, max_tokens=50)
        reasons = [json.loads(event) for event in answer.events() if b'"finish_reason":"length"' in event]
        answer.close()
        assert len(reasons) == 3
        call = answer.headers["x-tollgate-call-id"]
    else:
        whole = team.client.chat("gpt-4.1", LONG, n=3, max_tokens=50)
        assert whole.json["usage"]["completion_tokens"] == 30
        call = whole.headers["x-tollgate-call-id"]
    receipt = team.receipt(call)
    assert receipt["usage"]["output"] == 30
    assert nano(receipt["hold_usd"]) >= 30 * OUTPUT_NANO


def cut_stream(team: Team, model: str = "gpt-4.1", *, cost: bool = False, **fields: Any) -> list[Any]:
    """The events of a stream whose upstream goes on for ever, and its receipt last."""
    headers = {"x-tollgate-cost": "body"} if cost else {}
    prompt = "Tell me all. [[sim: words=20000 pace_ms=0.5 ignore_cap]]"
    stream = team.client.stream(model, prompt, headers=headers, **fields)
    events = [json.loads(event) if event != b"[DONE]" else "[DONE]" for event in stream.events()]
    stream.close()
    return [*events, team.receipt(stream.headers["x-tollgate-call-id"])]


def test_an_upstream_that_ignores_the_cap_is_cut(team: Team, providers: SimulatedProviders) -> None:
    team.budget("5.00")
    *chunks, last, done, receipt = cut_stream(team, max_tokens=200)
    assert done == "[DONE]"
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    assert (last["id"], last["model"]) == (chunks[0]["id"], chunks[0]["model"])
    output = receipt["usage"]["output"]
    assert 200 < output < 2_000
    assert {"cut_at_cap", "estimated"} <= set(receipt["flags"])
    assert (receipt["status"], receipt["usage_source"]) == ("finished", "counted")
    told = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert len(told) > 500
    assert nano(receipt["cost_usd"]) >= output * OUTPUT_NANO
    (billed,) = eventually(
        lambda: [call for call in providers.bill() if call.ending != "open"] or None, "it stopped"
    )
    assert billed.ending == "client_gone"
    assert nano(team.settled()["spent"]) == nano(receipt["cost_usd"])


def test_a_cut_stream_tells_its_usage_and_cost_to_who_asks(team: Team, providers: SimulatedProviders) -> None:
    *_, reason, usage, done, receipt = cut_stream(
        team, cost=True, max_tokens=200, stream_options={"include_usage": True}
    )
    assert (reason["choices"][0]["finish_reason"], done) == ("length", "[DONE]")
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == receipt["usage"]["output"]
    assert usage["usage"]["prompt_tokens"] == receipt["usage"]["input"]
    assert usage["usage"]["cost"] == pytest.approx(nano(receipt["cost_usd"]) / 1e9, rel=1e-12)


def test_every_choice_of_a_cut_stream_is_ended(team: Team, providers: SimulatedProviders) -> None:
    *chunks, done, _ = cut_stream(team, max_tokens=100, n=2)
    assert done == "[DONE]"
    assert [chunk["choices"][0]["index"] for chunk in chunks[-2:]] == [0, 1]
    assert {chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]} == {"length"}


def test_another_makers_tokens_are_not_ours_to_count_closely(
    team: Team, providers: SimulatedProviders
) -> None:
    # DeepSeek's own tokenizer may make fewer tokens of a text: an honest answer must not be cut.
    *_, done, receipt = cut_stream(team, "deepseek/deepseek-v3.2", max_tokens=200)
    assert done == "[DONE]"
    assert receipt["usage"]["output"] > 400


def test_an_honest_answer_that_fills_its_cap_is_not_cut(team: Team, providers: SimulatedProviders) -> None:
    stream = team.client.stream("gpt-4.1", "[[sim: words=20000]]", max_tokens=3000)
    stream.read()
    stream.close()
    receipt = team.receipt(stream.headers["x-tollgate-call-id"])
    assert (receipt["usage_source"], receipt["usage"]["output"]) == ("provider", 3000)
    assert receipt["flags"] == []


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-haiku-4-5"])
def test_the_first_stream_of_a_worker_is_cut_too(
    folder: Path, providers: SimulatedProviders, model: str
) -> None:
    """Its tokenizer is not loaded yet, and the upstream sends as fast as it can: it has to wait."""
    with running(folder, providers) as fresh:
        client = fresh.client(fresh.key(fresh.account("fresh")))
        stream = client.stream(model, "Tell me all. [[sim: words=20000 ignore_cap]]", max_tokens=20)
        text = stream.read().decode()
        stream.close()
        receipt = client.get(f"/v1/calls/{stream.headers['x-tollgate-call-id']}")
    assert '"finish_reason":"length"' in text
    assert "cut_at_cap" in receipt["flags"]
    assert 20 < receipt["usage"]["output"] < 5_000


def test_an_overrun_is_booked_in_full_and_blocks_the_next_call(
    team: Team, providers: SimulatedProviders
) -> None:
    team.budget("0.02")
    answer = team.client.chat("gpt-4.1", "[[sim: words=3000 ignore_cap]]", max_tokens=100)
    receipt = team.receipt_of(answer)
    assert receipt["usage"]["output"] == 3000
    assert "overrun" in receipt["flags"]
    assert nano(receipt["overrun_usd"]) == nano(receipt["cost_usd"]) - nano(receipt["hold_usd"]) > 0
    settled = team.settled()
    assert nano(settled["spent"]) == nano(receipt["cost_usd"]) > nano(settled["cap"])
    assert nano(settled["remaining"]) < 0
    refused = team.client.chat("gpt-4.1", "hello", max_tokens=10)
    assert (refused.status, refused.code) == (429, "budget_exceeded")
    assert answer.headers["x-tollgate-budget-remaining-usd"] == "0"
