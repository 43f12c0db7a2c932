"""Resuming a call at another worker than the one that has it: of the same machine, and of another."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gateway.simulators import SimulatedProviders
from tests.e2e.conftest import more_providers
from tests.e2e.teams import Team
from tests.e2e.upstream import ScriptedUpstream
from tests.running import Client, Gateway, eventually, free_port, running

pytestmark = pytest.mark.slow

LIMIT_S = 90
# The kernel gives a connection to any worker: so many leave out one of two in 1 of 4,096 runs.
TRIES = 12
WORDS = 60
LONG: dict[str, Any] = {
    "max_tokens": 1_000,
    "messages": [{"role": "user", "content": "[[sim: words=1000]]"}],
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders) -> Iterator[Gateway]:
    """Two workers of one machine."""
    with running(tmp_path_factory.mktemp("pair"), simulated, workers=2) as process:
        yield process


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders, scripted: ScriptedUpstream
) -> Iterator[tuple[Gateway, Gateway]]:
    """Two machines that share a database."""
    ports = free_port(), free_port()
    settings = [
        {**more_providers(simulated, scripted), "TOLLGATE_SERVER__ADVERTISE": f"http://127.0.0.1:{port}"}
        for port in ports
    ]
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    with running(folders[0], simulated, settings=settings[0], port=ports[0]) as one:
        url = one.database_url
        with running(folders[1], simulated, settings=settings[1], port=ports[1], database_url=url) as two:
            yield one, two


@contextmanager
def socket(port: int, key: str) -> Iterator[ClientConnection]:
    url = f"ws://127.0.0.1:{port}/v1/chat/completions/stream"
    with connect(url, additional_headers={"authorization": f"Bearer {key}"}) as connection:
        yield connection


def said(connection: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(connection.recv(LIMIT_S))
    return frame


def begin(connection: ClientConnection, **fields: Any) -> str:
    """Ask for an answer; its call."""
    messages = [{"role": "user", "content": f"hello [[sim: words={WORDS}]]"}]
    connection.send(json.dumps({"model": "gpt-4.1", "messages": messages, "max_tokens": WORDS, **fields}))
    return str(said(connection)["call"])


def rest(connection: ClientConnection) -> list[dict[str, Any]]:
    """The frames up to the last, or to an error."""
    frames = [said(connection)]
    while not (frames[-1].get("usage") or "error" in frames[-1]):
        frames.append(said(connection))
    return frames


def resume(connection: ClientConnection, call: str, after: int) -> list[dict[str, Any]]:
    connection.send(json.dumps({"type": "resume", "call": call, "after": after, "request_id": "again"}))
    first = said(connection)
    if "error" in first:
        return [first]
    assert first == {"type": "call", "call": call, "request_id": "again"}
    return [{name: value for name, value in f.items() if name != "request_id"} for f in rest(connection)]


def test_any_worker_of_a_machine_goes_on(pair: Gateway, providers: SimulatedProviders) -> None:
    team = Team(pair, "pair")
    providers.defaults(pace_ms=5)
    with socket(pair.port, team.key) as connection:
        call = begin(connection)
        frames = [said(connection)]
    for _ in range(TRIES):
        with socket(pair.port, team.key) as connection:
            found = resume(connection, call, 1)
            assert [frame["seq"] for frame in found] == list(range(2, found[-1]["seq"] + 1))
            frames.append(found[-1])
    assert all(frame == frames[1] for frame in frames[2:])
    for _ in range(TRIES):
        body = team.client.call("GET", f"/v1/calls/{call}/events?after=30").body.decode()
        assert body.startswith("id: 31\ndata: {")
        assert body.endswith("data: [DONE]\n\n")
    assert len(team.booked(1)) == len(providers.bill()) == 1


def test_a_key_repeated_at_any_worker_gets_the_same_bytes(
    pair: Gateway, providers: SimulatedProviders
) -> None:
    client = Team(pair, "same bytes").client
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
    for streams in (True, False):
        sent, key = {**body, "stream": streams}, f"key {streams}"
        found = {
            client.call("POST", "/v1/chat/completions", sent, idempotency_key=key).body for _ in range(TRIES)
        }
        assert len(found) == 1
    assert len(providers.bill()) == 2


def test_cancelled_at_any_worker(pair: Gateway, providers: SimulatedProviders) -> None:
    team = Team(pair, "cancel")
    providers.defaults(pace_ms=20)
    for number in range(4):
        with socket(pair.port, team.key) as connection, socket(pair.port, team.key) as other:
            call = begin(connection, **LONG)
            said(connection)
            if number % 2:
                other.send(json.dumps({"type": "cancel", "call": call}))
            else:
                assert team.client.call("POST", f"/v1/calls/{call}/cancel").json["cancelled"] is True
            assert rest(connection)[-1]["error"]["tollgate"]["code"] == "cancelled"
    assert {row["outcome"] for row in team.booked(4)} == {"aborted"}


def test_a_strangers_call_is_unknown_at_any_worker(pair: Gateway, providers: SimulatedProviders) -> None:
    team, stranger = Team(pair, "mine"), Team(pair, "stranger")
    with socket(pair.port, team.key) as connection:
        call = begin(connection)
        rest(connection)
    for _ in range(TRIES):
        with socket(pair.port, stranger.key) as connection:
            (refused,) = resume(connection, call, 0)
            assert refused["error"]["tollgate"]["code"] == "call_not_found"


def test_the_owner_is_killed(pair: Gateway, providers: SimulatedProviders) -> None:
    """What was relayed is in the ledger, and whoever comes back is told."""
    team = Team(pair, "killed")
    providers.defaults(pace_ms=20)
    with socket(pair.port, team.key) as connection:
        call = begin(connection, **LONG)
        for _ in range(40):
            said(connection)
        os.kill(owner(pair, call), signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            rest(connection)
    (row,) = team.booked(1)
    assert row["outcome"] == "interrupted"
    assert row["usage"]["output"] > 10
    for _ in range(TRIES):
        with socket(pair.port, team.key) as connection:
            (told,) = resume(connection, call, 40)
            assert told["error"]["tollgate"]["code"] == "interrupted"
    assert team.receipt(call)["status"] == "interrupted"


def test_another_machine_goes_on(machines: tuple[Gateway, Gateway], providers: SimulatedProviders) -> None:
    one, two = machines
    team = Team(one, "machines")
    providers.defaults(pace_ms=5)
    with socket(one.port, team.key) as connection:
        call = begin(connection)
        said(connection)
    with socket(two.port, team.key) as connection:
        there = resume(connection, call, 1)
    with socket(one.port, team.key) as connection:
        assert resume(connection, call, 1) == there
    events = Client(two.port, team.key).call("GET", f"/v1/calls/{call}/events").body
    assert events.startswith(b"id: 1\ndata: {")
    assert len(team.booked(1)) == 1


def owner(gateway: Gateway, call: str) -> int:
    """The worker that has a call: the one that has the journal open that is in its id."""

    def look() -> int | None:
        for pid in gateway.worker_pids():
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if call[5:16] in os.readlink(fd):
                        return pid
                except FileNotFoundError:
                    continue
        return None

    return eventually(look, "a worker has the call's journal")
