"""Peers of the chat socket that do not behave, and a server that stops: others are not harmed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team
from tests.running import eventually, running

LIMIT_S = 90


@contextmanager
def dial(team: Team, **options: Any) -> Iterator[ClientConnection]:
    url = f"ws://127.0.0.1:{team.gateway.port}/v1/chat/completions/stream"
    headers = {"authorization": f"Bearer {team.key}"}
    with connect(url, additional_headers=headers, max_size=None, **options) as connection:
        yield connection


def ask(connection: ClientConnection, words: int, **more: Any) -> None:
    messages = [{"role": "user", "content": f"hello [[sim: words={words}]]"}]
    connection.send(json.dumps({"model": "gpt-4.1", "messages": messages, "max_tokens": words, **more}))


def said(connection: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(connection.recv(LIMIT_S))
    return frame


def rest(connection: ClientConnection) -> list[dict[str, Any]]:
    frames = [said(connection)]
    while not (frames[-1].get("usage") or "error" in frames[-1]):
        frames.append(said(connection))
    return frames


def test_a_slow_reader_waits_for_itself_alone(team: Team, providers: SimulatedProviders) -> None:
    length = 16_000
    with dial(team) as slow, dial(team) as quick:
        ask(slow, length)
        call = said(slow)["call"]
        # Its answer is larger than every buffer between, and it reads no more of it for now.
        ask(quick, 50)
        began = time.monotonic()
        assert rest(quick)[-1]["usage"]["completion_tokens"] == 50
        assert time.monotonic() - began < LIMIT_S
        assert team.client.get(f"/v1/calls/{call}")["status"] == "running"
        found = rest(slow)
    assert [frame["seq"] for frame in found] == list(range(1, length + 3))
    assert found[-1]["usage"]["completion_tokens"] == length


def test_compression_is_not_spoken(team: Team) -> None:
    """So there is nothing that a small frame could be blown up to."""
    with dial(team) as other, dial(team, compression="deflate") as connection:
        assert connection.protocol.extensions == []
        # RFC 6455 5.2: a text frame with the bit that permessage-deflate uses, masked with zeros.
        connection.socket.sendall(bytes((0xC1, 0x84, 0, 0, 0, 0)) + b"bomb")
        with pytest.raises(ConnectionClosed) as closed:
            said(connection)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1002
        ask(other, 5)
        assert "usage" in rest(other)[-1]


@pytest.mark.slow
def test_a_server_that_stops_lets_answers_finish(tmp_path: Path, providers: SimulatedProviders) -> None:
    with running(tmp_path, providers) as gateway:
        team = Team(gateway, "stopping")
        providers.defaults(pace_ms=10)
        with dial(team) as idle, dial(team) as busy:
            ask(busy, 100)
            said(busy)
            gateway.process.terminate()
            with pytest.raises(ConnectionClosed) as gone:
                said(idle)
            assert gone.value.rcvd is not None
            assert gone.value.rcvd.code == 1001
            ask(busy, 5, request_id="late")
            frames = rest(busy)
            late = [frame for frame in frames if frame.get("request_id") == "late"]
            assert late[0]["error"]["tollgate"]["code"] == "draining"
            while not frames[-1].get("usage"):
                frames += rest(busy)
            assert frames[-1]["usage"]["completion_tokens"] == 100
            with pytest.raises(ConnectionClosed) as gone:
                said(busy)
            assert gone.value.rcvd is not None
            assert gone.value.rcvd.code == 1001
        assert gateway.process.wait(LIMIT_S) == 0


@pytest.mark.slow
def test_a_server_that_stops_waits_only_so_long(tmp_path: Path, providers: SimulatedProviders) -> None:
    with running(tmp_path, providers, settings={"TOLLGATE_SERVER__DRAIN_S": "1"}) as gateway:
        team = Team(gateway, "stopping soon")
        providers.defaults(pace_ms=50)
        with dial(team) as busy:
            ask(busy, 2_000)
            said(busy)
            gateway.process.terminate()
            with pytest.raises(ConnectionClosed) as gone:
                rest(busy)
            assert gone.value.rcvd is not None
            assert gone.value.rcvd.code == 1001
        assert gateway.process.wait(LIMIT_S) == 0
        assert "Traceback" not in gateway.words()
        (row,) = team.booked(1)
        assert row["outcome"] == "aborted"


def test_a_call_that_nobody_comes_back_for_is_cancelled_and_settled(
    tmp_path: Path, providers: SimulatedProviders
) -> None:
    with running(tmp_path, providers, settings={"TOLLGATE_RESUME__GRACE_S": "0.5"}) as gateway:
        team = Team(gateway, "leaving")
        providers.defaults(pace_ms=20)
        with dial(team) as connection:
            ask(connection, 2_000)
            call = said(connection)["call"]
            said(connection)
        (row,) = team.booked(1)
        assert row["outcome"] == "aborted"
        assert 0 < row["usage"]["output"] < 500
        assert team.receipt(call)["status"] == "cancelled"
        with dial(team) as connection:
            connection.send(json.dumps({"type": "resume", "call": call}))
            assert rest(connection)[-1]["error"]["tollgate"]["code"] == "cancelled"


def test_memory_is_bounded_and_the_oldest_go_first(tmp_path: Path, providers: SimulatedProviders) -> None:
    with running(tmp_path, providers, settings={"TOLLGATE_RESUME__MAX_BYTES": "200000"}) as gateway:
        team = Team(gateway, "remembering")
        calls = []
        with dial(team) as connection:
            for _ in range(6):
                ask(connection, 200)
                calls.append(said(connection)["call"])
                rest(connection)

            def is_kept(call: str) -> bool:
                return team.client.call("GET", f"/v1/calls/{call}/events?after=1").status == 200

            kept = eventually(lambda: [is_kept(call) for call in calls], "all are looked for")
        assert kept == sorted(kept)
        assert kept[0] is False
        assert kept[-1] is True
