"""What clients of other gateways got for nothing, or paid for and did not get, over real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano
from tests.e2e.upstream import ScriptedUpstream, answer, sse, stream
from tests.running import eventually

pytestmark = pytest.mark.slow

INPUT_NANO, OUTPUT_NANO = 2_000, 8_000  # gpt-4.1


def chunk(text: str, **more: Any) -> str:
    """A chunk of an OpenAI stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more})


def last_chunk(**usage: int) -> str:
    """The usage that comes last."""
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage})


def test_a_model_nobody_priced_is_not_free(team: Team, providers: SimulatedProviders) -> None:
    """LiteLLM, Bifrost 3666 and 6036, BricksLLM: an unknown model cost 0, and no cap ever fired."""
    team.budget("1.00")
    answered = team.client.chat("openai/gpt-of-tomorrow", "hello", max_tokens=10)
    assert (answered.status, answered.code) == (402, "price_missing")
    assert providers.bill() == []


def test_text_without_usage_is_charged_by_count(team: Team, upstream: ScriptedUpstream) -> None:
    """new-api 5235, 7062: no usage, full refund, although the text had been delivered."""
    team.budget("1.00")
    upstream.play(stream([sse(*(chunk(" word") for _ in range(40)), "[DONE]")]))
    told = team.client.stream("scripted/gpt-4.1", "hello", max_tokens=100)
    told.read()
    told.close()
    (row,) = team.booked(1)
    assert (row["usage_source"], row["usage"]["output"]) == ("counted", 40)
    assert row["charge"] == row["usage"]["input"] * INPUT_NANO + 40 * OUTPUT_NANO


def test_usage_that_comes_twice_is_charged_once(team: Team, upstream: ScriptedUpstream) -> None:
    """new-api's sockets, LiteLLM 15740: every report of usage was added."""
    team.budget("1.00")
    usage = last_chunk(prompt_tokens=10, completion_tokens=5, total_tokens=15)
    upstream.play(stream([sse(chunk(" word"), usage, usage, "[DONE]")]))
    told = team.client.stream("scripted/gpt-4.1", "hello", max_tokens=100)
    told.read()
    told.close()
    (row,) = team.booked(1)
    assert row["charge"] == 10 * INPUT_NANO + 5 * OUTPUT_NANO


def test_more_cached_than_there_was_is_no_credit(team: Team, upstream: ScriptedUpstream) -> None:
    """new-api 5003: a cached part beyond the prompt made the input's charge negative."""
    team.budget("1.00")
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4_000},
    }
    message = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
    upstream.play(answer(json.dumps({"choices": [message], "usage": usage}).encode()))
    assert team.client.chat("scripted/gpt-4.1", "hello", max_tokens=100).status == 200
    (row,) = team.booked(1)
    assert all(line[4] >= 0 for line in row["lines"])
    assert row["charge"] >= 5 * OUTPUT_NANO


def test_who_leaves_in_the_midst_pays_for_what_was_generated(
    team: Team, providers: SimulatedProviders
) -> None:
    """LiteLLM 30630, Bifrost 3357, higress 4145: hanging up made the call free."""
    team.budget("1.00")
    told = team.client.stream("gpt-4.1", "[[sim: words=60 hold=door after=10]]", max_tokens=200)
    told.next()
    told.close()
    providers.release("door")
    (row,) = team.booked(1)
    (billed,) = providers.bill()
    assert row["charge"] == billed.input * INPUT_NANO + billed.output * OUTPUT_NANO
    assert billed.output > 0


def held_call(team: Team, providers: SimulatedProviders, model: str) -> threading.Thread:
    """A call that waits at its provider for the door to open."""
    prompt = "[[sim: words=7 hold_headers=door]]"
    thread = threading.Thread(target=team.client.chat, args=(model, prompt), kwargs={"max_tokens": 100})
    thread.start()
    asyncio.run(asyncio.wait_for(providers.until_held("door"), 90))
    return thread


def _estimate(team: Team) -> int:
    """The worst case of a small call, in nano-USD, with an estimate's own prices."""
    body = {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}
    return nano(team.client.post("/v1/estimate", body)["quote_usd"])


@pytest.mark.parametrize("is_backdated", [False, True])
def test_a_price_that_changes_while_a_call_runs(
    team: Team, providers: SimulatedProviders, is_backdated: bool
) -> None:
    """one-api, new-api: one table of ratios, overwritten in place; a call paid what it found at its end."""

    def price(usd: str, since: str) -> None:
        for meter in ("input", "output"):
            body = {"provider": "openai", "model": "gpt-4.1-nano", "meter": meter, "account": team.account}
            team.gateway.admin.post(
                "/admin/prices", {**body, "usd_per_million": usd, "effective_from": since}
            )

    price("1.00", "2026-01-01T00:00:00Z")
    team.budget("1.00")
    call = held_call(team, providers, "gpt-4.1-nano")
    price("1000.00", "2026-01-02T00:00:00Z" if is_backdated else datetime.now(UTC).isoformat())
    # Once it can be called for nothing less, the new price is in force.
    eventually(lambda: _estimate(team) > 1_000_000, "the new price is in force")
    providers.release("door")
    call.join()
    (row,) = team.booked(1)
    assert row["charge"] == sum(row["usage"].values()) * 1_000


def test_a_call_whose_key_is_revoked_is_settled(team: Team, providers: SimulatedProviders) -> None:
    """Keys looked up again at the end: no key, no row, no charge."""
    team.budget("1.00")
    call = held_call(team, providers, "gpt-4.1")
    key = team.client.get("/v1/key")["id"]
    team.gateway.admin.delete(f"/admin/keys/{key}")
    providers.release("door")
    call.join()
    (row,) = team.booked(1)
    (billed,) = providers.bill()
    assert row["charge"] == billed.input * INPUT_NANO + billed.output * OUTPUT_NANO
    eventually(
        lambda: team.client.chat("gpt-4.1", "again", max_tokens=10).status == 401, "the key is of no use"
    )


def test_a_burst_of_end_users_is_held_to_each_ones_cap(team: Team, providers: SimulatedProviders) -> None:
    """LiteLLM 40095 over HTTP: eight calls at once of somebody new, under a cap that pays for one."""
    body = {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "[[sim: words=3 hold_headers=door]]"}],
        "max_tokens": 100,
        "user": "somebody-new",
    }
    quote = nano(team.client.post("/v1/estimate", body)["quote_usd"])
    team.budget(f"{quote / 1e9:.9f}", each="end_user")
    team.make_key()
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(team.client.call("POST", "/v1/chat/completions", body).status)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: statuses.count(429) == 7, "seven are told to wait")
        assert len(providers.bill()) == 1
    finally:
        providers.release("door")
        for thread in threads:
            thread.join()
    assert sorted(statuses) == [200] + [429] * 7
