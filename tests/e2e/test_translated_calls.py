"""What holds for any call holds for a translated one: caps, costs, budgets, sockets, every fault."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team
from tests.e2e.test_chat_socket import answer, ask, socket, text_of, words

pytestmark = pytest.mark.slow

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
# The path that the client asks, and a model whose provider speaks otherwise.
WAYS = [
    pytest.param(CHAT, "claude-haiku-4-5", id="chat-claude"),
    pytest.param(CHAT, "gemini-2.5-flash-lite", id="chat-gemini"),
    pytest.param(MESSAGES, "gpt-4.1", id="messages-gpt"),
]
FAULTS = ("html", "wrong_types", "bad_utf8", "cut_json", "half_json", "big_line", "hang_up", "end_midstream")


def body(model: str, prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 60, "messages": [{"role": "user", "content": prompt}], **fields}


def data_of(stream: str) -> list[Any]:
    lines = [line[6:] for line in stream.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def check_broken(stream: str) -> None:
    """It broke off, so that nobody takes it for complete; why is its last event."""
    assert "error" in data_of(stream)[-1]
    assert "[DONE]" not in stream
    assert '"message_stop"' not in stream


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "model"), WAYS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_and_booked_once(
    team: Team, providers: SimulatedProviders, path: str, model: str, fault: str, stream: bool
) -> None:
    team.budget("5")
    prompt = f"Tell me. [[sim: words=20 fault={fault} after=3]]"
    try:
        heard = team.client.call("POST", path, body(model, prompt, stream=stream))
    except http.client.IncompleteRead as broken:
        check_broken(broken.partial.decode())
        assert len(team.booked(1)) == 1
        return
    rows = team.booked(1)
    assert len(rows) == 1 or fault == "hang_up"
    assert team.settled()["held"] == "0"
    if heard.status != 200:
        assert heard.status in (502, 504)
        assert heard.json["error"]["tollgate"]["code"] in ("upstream_unavailable", "upstream_timeout")
        return
    text = heard.body.decode("utf-8", "replace")
    if stream:
        events = data_of(text)
        is_ended = "[DONE]" in text or '"message_stop"' in text
        has_failed = any("error" in event for event in events)
        # A stream that just ends early does so in the client's dialect, too: without its last event.
        assert has_failed or is_ended or fault in ("end_midstream", "half_json")
        assert not (has_failed and is_ended)
    else:
        json.loads(text)


@pytest.mark.parametrize(("path", "model"), WAYS)
def test_a_stream_past_its_cap_is_cut_in_the_clients_words(
    team: Team, providers: SimulatedProviders, path: str, model: str
) -> None:
    prompt = "Tell me. [[sim: words=20000 ignore_cap]]"
    heard = team.client.call("POST", path, body(model, prompt, stream=True, max_tokens=20))
    text = heard.body.decode()
    assert '"finish_reason":"length"' in text or '"stop_reason":"max_tokens"' in text
    assert text.endswith("data: [DONE]\n\n") or '"message_stop"' in text
    (row,) = team.booked(1)
    assert "cut_at_cap" in row["flags"]
    assert 20 < row["usage"]["output"] < 5_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "model"), WAYS)
def test_the_cost_is_in_the_body_where_it_was_asked_for(
    team: Team, providers: SimulatedProviders, path: str, model: str, stream: bool
) -> None:
    asked = body(model, "Tell me. [[sim: words=12]]", stream=stream)
    heard = team.client.call("POST", path, asked, **{"x-tollgate-cost": "body"})
    (row,) = team.booked(1)
    told = data_of(heard.body.decode()) if stream else [heard.json]
    costs = [event["usage"]["cost"] for event in told if "cost" in (event.get("usage") or {})]
    assert [round(cost * 10**9) for cost in costs] == [row["charge"]]


def test_a_spent_budget_may_fall_back_to_another_dialect(team: Team, providers: SimulatedProviders) -> None:
    team.budget("0", models=["gpt-4.1"], on_exhausted={"fallback": "claude-haiku-4-5"})
    heard = team.client.call("POST", CHAT, body("gpt-4.1", "Hello. [[sim: words=5]]"))
    assert heard.status == 200
    assert heard.json["object"] == "chat.completion"
    (row,) = team.booked(1)
    assert row["provider"] == "anthropic"


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gemini-2.5-flash-lite"])
def test_a_socket_streams_what_was_translated(team: Team, providers: SimulatedProviders, model: str) -> None:
    with socket(team) as connection:
        ask(connection, model=model, messages=words(12), max_tokens=100)
        first, *rest = answer(connection)
    assert text_of(rest)
    assert rest[-1]["choices"][0]["finish_reason"] == "stop"
    assert rest[-1]["usage"]["cost"] > 0
    assert team.receipt(first["call"])["model"].startswith(model[:6])


def test_an_estimate_is_the_upstreams(team: Team) -> None:
    told = team.client.post("/v1/estimate", body("claude-haiku-4-5", "Hello."))
    assert told["provider"] == "anthropic"
    assert told["max_output_tokens"] == 60
