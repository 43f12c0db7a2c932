"""Idempotency-Key: one call however often it is sent, the same bytes for everybody who asks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from gateway.simulators import SimulatedProviders
from tests.crash.postgres import killable
from tests.e2e.teams import Team
from tests.running import Answer, Gateway, eventually, running

ONCE = {"idempotency_key": "order-4711"}
SOON = {"TOLLGATE_RESUME__KEEP_S": "1"}


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders) -> Iterator[Gateway]:
    """A gateway that keeps answers for a second."""
    with running(tmp_path_factory.mktemp("forgetful"), simulated, settings=SOON) as process:
        yield process


def stream(team: Team, prompt: str = "hello", **fields: Any) -> Answer:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": prompt}], "stream": True, **fields}
    return team.client.call("POST", "/v1/chat/completions", body, **ONCE)


def test_a_repeat_gets_the_same_bytes_and_is_not_billed(team: Team, providers: SimulatedProviders) -> None:
    first, again = (team.client.chat("gpt-4.1", "hello", headers=ONCE) for _ in range(2))
    assert (first.status, first.body) == (200, again.body)
    assert first.headers["x-tollgate-call-id"] == again.headers["x-tollgate-call-id"]
    assert len(providers.bill()) == 1
    assert len(team.booked(1)) == 1


def test_a_streamed_answer_is_repeated_byte_for_byte(team: Team, providers: SimulatedProviders) -> None:
    first, again = (stream(team, stream_options={"include_usage": True}) for _ in range(2))
    assert first.body.endswith(b"data: [DONE]\n\n")
    assert first.body == again.body
    assert first.headers["content-type"] == again.headers["content-type"]
    assert len(providers.bill()) == 1


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_those_who_ask_while_it_runs_attach(team: Team, providers: SimulatedProviders, path: str) -> None:
    model = "claude-sonnet-4-5" if path == "/v1/messages" else "gpt-4.1"
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 60}
    providers.defaults(pace_ms=10)
    answers: list[Answer] = []
    client = team.client

    def ask() -> None:
        answers.append(client.call("POST", path, {**body, "stream": True}, **ONCE))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 5
    assert len({answer.body for answer in answers}) == 1
    assert len(providers.bill()) == 1


def test_a_client_that_left_finds_its_answer(team: Team, providers: SimulatedProviders) -> None:
    providers.defaults(pace_ms=5)
    left = team.client.stream("gpt-4.1", "[[sim: words=50]]", headers=ONCE, max_tokens=50)
    left.next()
    left.close()
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "[[sim: words=50]]"}]}
    sent = {**body, "stream": True, "max_tokens": 50}
    again = team.client.call("POST", "/v1/chat/completions", sent, **ONCE)
    assert again.body.endswith(b"data: [DONE]\n\n")
    (row,) = team.booked(1)
    assert (row["outcome"], row["usage"]["output"]) == ("done", 50)
    assert len(providers.bill()) == 1


def test_another_body_is_refused(team: Team) -> None:
    stream(team)
    other = stream(team, "good bye")
    assert (other.status, other.code) == (422, "idempotency_mismatch")
    assert other.json["error"]["param"] == "Idempotency-Key"


def test_refusals_are_not_remembered(team: Team, providers: SimulatedProviders) -> None:
    budget = team.budget("0.000001")
    refused = stream(team)
    assert (refused.status, refused.code) == (429, "budget_exceeded")
    team.gateway.admin.patch(f"/admin/budgets/{budget}", {"cap": "10"})
    assert eventually(lambda: stream(team).status == 200, "the key can be used again")
    assert len(providers.bill()) == 1


def test_a_refusal_of_the_provider_is_not_remembered_either(
    team: Team, providers: SimulatedProviders
) -> None:
    prompt = "[[sim: status=429 times=1]]"
    first, again = stream(team, prompt), stream(team, prompt)
    assert (first.status, again.status) == (429, 200)


def test_somebody_elses_key_is_another_key(team: Team, gateway: Gateway) -> None:
    other = Team(gateway, f"other {team.account}")
    first, second = stream(team), stream(other)
    assert first.headers["x-tollgate-call-id"] != second.headers["x-tollgate-call-id"]


def test_once_the_answer_is_gone_the_receipt_is_named(forgetful: Gateway) -> None:
    team = Team(forgetful, "forgetful")
    call = stream(team).headers["x-tollgate-call-id"]

    def is_gone() -> Answer | None:
        answer = stream(team)
        return answer if answer.status == 409 else None

    answer = eventually(is_gone, "the answer is forgotten")
    assert answer.code == "idempotency_conflict"
    assert f"/v1/calls/{call}" in answer.json["error"]["tollgate"]["hint"]
    events = team.client.call("GET", f"/v1/calls/{call}/events")
    assert (events.status, events.code) == (409, "answer_gone")


def test_events_of_a_call_over_http_go_on_over_any_transport(team: Team) -> None:
    call = stream(team, max_tokens=20).headers["x-tollgate-call-id"]
    body = team.client.call("GET", f"/v1/calls/{call}/events?after=5").body.decode()
    assert team.gateway.admin.call("GET", f"/v1/calls/{call}/events?after=5").body.decode() == body
    events = [part.split("\n") for part in body.strip().split("\n\n")]
    found = [json.loads(event[1].removeprefix("data: ")) for event in events[:-1]]
    url = f"ws://127.0.0.1:{team.gateway.port}/v1/chat/completions/stream"
    with connect(url, additional_headers={"authorization": f"Bearer {team.key}"}) as socket:
        socket.send(json.dumps({"type": "resume", "call": call, "after": 5}))
        assert json.loads(socket.recv(10)) == {"type": "call", "call": call}
        assert [json.loads(socket.recv(10)) for _ in found] == found
    assert [frame["seq"] for frame in found] == list(range(6, 6 + len(found)))
    assert found[-1]["usage"]["cost"] > 0
    assert events[-1] == ["data: [DONE]"]


def test_events_of_another_dialect_are_its_own_with_numbers(team: Team) -> None:
    body = {
        "model": "claude-sonnet-4-5",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "stream": True,
    }
    first = team.client.call("POST", "/v1/messages", body, **ONCE)
    call = first.headers["x-tollgate-call-id"]
    events = team.client.call("GET", f"/v1/calls/{call}/events").body.decode().split("\n\n")
    assert events[0].startswith("id: 1\nevent: message_start\ndata: {")
    assert events[-2:] == ["data: [DONE]", ""]


def test_a_key_over_the_socket_attaches_too(team: Team, providers: SimulatedProviders) -> None:
    ask = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}], "idempotency_key": "k"}
    url = f"ws://127.0.0.1:{team.gateway.port}/v1/chat/completions/stream"
    told: list[list[dict[str, Any]]] = []
    for _ in range(2):
        with connect(url, additional_headers={"authorization": f"Bearer {team.key}"}) as socket:
            socket.send(json.dumps(ask))
            told.append([json.loads(socket.recv(10))])
            while not told[-1][-1].get("usage"):
                told[-1].append(json.loads(socket.recv(10)))
    assert told[0] == told[1]
    assert len(providers.bill()) == 1
    with connect(url, additional_headers={"authorization": f"Bearer {team.key}"}) as socket:
        socket.send(json.dumps({**ask, "max_tokens": 5, "request_id": "r"}))
        refused = json.loads(socket.recv(10))
    assert (refused["error"]["tollgate"]["code"], refused["request_id"]) == ("idempotency_mismatch", "r")


@pytest.mark.slow
def test_without_the_database_there_is_no_claim(tmp_path: Path, providers: SimulatedProviders) -> None:
    """A key that cannot be claimed may stand for a call that was made: nothing is sent."""
    with killable() as server, running(tmp_path, providers, database_url=server.url) as gateway:
        team = Team(gateway, "away")
        assert stream(team).status == 200
        server.kill()
        refused = team.client.chat("gpt-4.1", "hi", headers={"idempotency_key": "other"})
        assert (refused.status, refused.code) == (503, "ledger_unavailable")
        assert stream(team).status == 200  # what this worker keeps needs no database
        assert len(providers.bill()) == 1
        server.start()
