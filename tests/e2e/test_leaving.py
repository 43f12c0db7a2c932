"""Clients that leave, do not read, or give up waiting; and a gateway that leaves itself."""

from __future__ import annotations

import http.client
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.conftest import more_providers
from tests.e2e.teams import Team, nano
from tests.e2e.upstream import HANG_UP, ScriptedUpstream, sse, stream
from tests.e2e.wire import connect, request
from tests.running import Gateway, Stream, eventually, running
from tests.simulators.raw import hear

pytestmark = pytest.mark.slow

OUTPUT_NANO = 8_000  # gpt-4.1, for each token
PACED = "[[sim: words=200 pace_ms=2]]"


def leave_after(team: Team, model: str, prompt: str, events: int = 4, **fields: Any) -> str:
    """Hang up in the midst of a stream; the call's id."""
    stream = team.client.stream(model, prompt, **fields)
    for _ in range(events):
        stream.next()
    stream.close()
    return str(stream.headers["x-tollgate-call-id"])


def ended(team: Team, call: str) -> dict[str, Any]:
    """The receipt once the call has ended."""

    def look() -> dict[str, Any] | None:
        receipt = team.receipt(call)
        return None if receipt["status"] == "running" else receipt

    return eventually(look, "the call has ended")


def test_a_stream_left_is_read_to_its_end_and_charged_exactly(
    team: Team, providers: SimulatedProviders
) -> None:
    team.budget("5.00")
    call = leave_after(team, "gpt-4.1", PACED, max_tokens=500)
    receipt = ended(team, call)
    (billed,) = providers.bill()
    assert billed.ending == "complete"
    assert receipt["usage"]["output"] == billed.output == 200
    assert (receipt["usage_source"], receipt["flags"]) == ("provider", ["client_gone"])
    assert nano(team.settled()["spent"]) == nano(receipt["cost_usd"])


def test_a_stream_left_is_stopped_where_that_is_the_setting(
    team: Team, providers: SimulatedProviders
) -> None:
    team.budget("5.00")
    call = leave_after(team, "stopping/gpt-4.1", PACED, max_tokens=500)
    receipt = ended(team, call)
    assert (receipt["status"], receipt["usage_source"]) == ("cancelled", "counted")
    assert set(receipt["flags"]) == {"client_gone", "estimated"}
    assert 2 <= receipt["usage"]["output"] < 150
    (billed,) = eventually(
        lambda: [each for each in providers.bill() if each.ending != "open"] or None, "it stopped"
    )
    assert billed.ending == "client_gone"
    assert nano(team.settled()["spent"]) == nano(receipt["cost_usd"])


@pytest.mark.parametrize("model", ["gpt-4.1", "stopping/gpt-4.1"])
async def test_a_whole_answer_left(team: Team, providers: SimulatedProviders, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "[[sim: words=20 hold=door]]"}]}
    with connect(team.gateway) as sock:
        sock.sendall(request(team.key, {**body, "max_tokens": 100}))
        await providers.until_held("door")
    # What the gateway answers now, it answers after it saw the connection go.
    assert team.client.call("GET", "/healthz").status == 200
    providers.release("door")
    (row,) = team.booked(1)
    if model == "gpt-4.1":
        assert (row["outcome"], row["usage_source"], row["usage"]["output"]) == ("done", "provider", 20)
    else:
        # It works on the prompt, and that is all that can be known.
        assert (row["outcome"], row["usage_source"], row["status"]) == ("aborted", "counted", None)
        assert set(row["usage"]) == {"input"}
    assert "client_gone" in row["flags"]


def test_a_stream_left_at_its_end_is_done(team: Team, upstream: ScriptedUpstream) -> None:
    usage = '{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}'
    upstream.play(stream([sse('{"choices":[]}'), "wait", sse(usage, "[DONE]")]))
    left = team.client.stream("scripted/gpt-4.1", "hi")
    left.next()
    left.close()
    upstream.go()
    (row,) = team.booked(1)
    assert (row["outcome"], row["usage"]) == ("done", {"input": 9, "output": 3})


@contextmanager
def nobody_may_write(team: Team) -> Iterator[None]:
    """Hold the database's write lock: whoever needs headroom waits for it."""
    database = sqlite3.connect(team.gateway.data_dir / "tollgate.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.execute("ROLLBACK")
        database.close()


def test_who_gives_up_waiting_for_headroom_holds_and_sends_nothing(
    team: Team, providers: SimulatedProviders
) -> None:
    team.budget("5.00")
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1000}
    asked = request(team.key, body)
    with nobody_may_write(team):
        waiting = connect(team.gateway)
        waiting.sendall(asked)
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        waiting.close()
    assert team.client.chat("gpt-4.1", "[[sim: words=3]]", max_tokens=1000).status == 200
    settled = team.settled()
    assert len(team.rows()) == len(providers.bill()) == 1
    assert nano(settled["spent"]) == team.rows()[0]["charge"]


def test_who_waits_for_headroom_is_served_when_it_comes(team: Team, providers: SimulatedProviders) -> None:
    team.budget("5.00")
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1000}
    with connect(team.gateway) as waiting:
        asked = request(team.key, body)
        with nobody_may_write(team):
            waiting.sendall(asked)
        assert hear(waiting).status == 200


def unread(gateway: Gateway, key: str, body: dict[str, Any]) -> socket.socket:
    """A client that asks and does not read, with as small a window as the kernel allows."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(90)
    sock.connect(("127.0.0.1", gateway.port))
    sock.sendall(request(key, body))
    return sock


def at_rest(upstream: ScriptedUpstream) -> int:
    """How much the upstream could send, once it can send no more."""
    seen: list[int] = []

    def look() -> bool:
        seen.append(upstream.sent_bytes)
        return len(seen) > 15 and len(set(seen[-15:])) == 1 and seen[-1] > 100_000

    eventually(look, "the upstream is paused")
    return seen[-1]


# Mostly padding, which nobody counts.
BIG_CHUNK = sse(
    '{"id":"c","model":"gpt-4.1","choices":[{"index":0,"delta":{"content":"hi"}}],"obfuscation":"%s"}'
    % ("x" * 65_000)
)
END = sse(
    '{"id":"c","model":"gpt-4.1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}',
    "[DONE]",
)
ASK: dict[str, Any] = {
    "model": "scripted/gpt-4.1",
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 10_000,
}


def test_a_client_that_does_not_read_pauses_the_upstream(team: Team, upstream: ScriptedUpstream) -> None:
    count = 800  # 52 MB
    upstream.play(stream([BIG_CHUNK] * count + [END]))
    with unread(team.gateway, team.key, ASK) as sock:
        # What the kernels of three processes take, and no more.
        assert at_rest(upstream) < 25_000_000
        # Others are served meanwhile, and the reader misses nothing once it reads.
        assert team.client.chat("gpt-4.1", "[[sim: words=3]]").status == 200
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        heard = b""
        while not heard.endswith(b"0\r\n\r\n"):
            heard += sock.recv(1 << 20)
    assert heard.count(b'"content":"hi"') == count
    rows = team.booked(2)
    assert {"input": 9, "output": 3} in [row["usage"] for row in rows]


# A gateway of its own, with bounds that tests can reach.

SHORT = {
    "TOLLGATE_LIMITS__DRAINS": "2",
    "TOLLGATE_LIMITS__DRAIN_S": "1.0",
    "TOLLGATE_SERVER__KEEP_ALIVE_S": "1",
    "TOLLGATE_SERVER__DRAIN_S": "2",
}


@pytest.fixture(scope="module")
def short(
    tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders, scripted: ScriptedUpstream
) -> Iterator[Gateway]:
    """A gateway that reads two abandoned answers at once, for a second each."""
    settings = more_providers(simulated, scripted) | SHORT
    with running(tmp_path_factory.mktemp("short"), simulated, settings=settings) as process:
        yield process


def test_abandoned_answers_are_read_on_within_bounds(short: Gateway, providers: SimulatedProviders) -> None:
    team = Team(short, "drains")
    endless = "[[sim: words=3 hold=door after=2]]"
    calls = [leave_after(team, "gpt-4.1", endless, events=2, max_tokens=100) for _ in range(3)]
    # The third is one too many, and stopped at once; the others are stopped when their time is over.
    assert ended(team, calls[2])["usage_source"] == "counted"
    receipts = [ended(team, call) for call in calls]
    assert all(set(each["flags"]) == {"client_gone", "estimated"} for each in receipts)
    assert all(nano(each["cost_usd"]) > 0 for each in receipts)
    eventually(
        lambda: all(each.ending == "client_gone" for each in providers.bill()), "the upstream calls ended"
    )


def test_a_client_that_never_reads_is_cut_off(short: Gateway, upstream: ScriptedUpstream) -> None:
    team = Team(short, "stuck")
    upstream.play([*stream([BIG_CHUNK] * 400, ends=False), HANG_UP])
    with unread(short, team.key, ASK) as sock:
        (row,) = team.booked(1)
        assert "client_gone" in row["flags"]
        assert not hear(sock).finished


def test_an_idle_connection_is_closed(short: Gateway) -> None:
    team = Team(short, "idle")
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "[[sim: words=3]]"}]}
    with connect(short) as sock:
        sock.sendall(request(team.key, body, close=False))
        assert hear(sock).status == 200
    with connect(short) as sock:
        # The same after an answer of the other kind.
        sock.sendall(request(team.key, method="GET", path="/v1/key", close=False))
        assert hear(sock).status == 200


@pytest.fixture
def leaving(
    tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders, scripted: ScriptedUpstream
) -> Iterator[Gateway]:
    """A gateway to be stopped."""
    settings = more_providers(simulated, scripted) | SHORT
    with running(tmp_path_factory.mktemp("leaving"), simulated, settings=settings) as process:
        yield process


def begun(team: Team, providers: SimulatedProviders) -> Stream:
    stream = team.client.stream("gpt-4.1", "[[sim: words=20 hold=door after=5]]", max_tokens=100)
    stream.next()
    return stream


def test_a_stopping_gateway_lets_calls_finish(leaving: Gateway, providers: SimulatedProviders) -> None:
    team = Team(leaving, "lucky")
    team.budget("5.00")
    stream = begun(team, providers)
    leaving.process.send_signal(signal.SIGTERM)
    eventually(lambda: refuses(leaving), "no new connection is taken")
    providers.release("door")
    assert stream.read().endswith(b"data: [DONE]\n\n")
    stream.close()
    assert leaving.process.wait(20) == 0
    (row,) = team.rows()
    assert (row["outcome"], row["usage"]["output"]) == ("done", 20)
    assert team.sql("SELECT leased FROM windows") == [{"leased": 0}]


def test_a_stopping_gateway_settles_calls_that_do_not_finish(
    leaving: Gateway, providers: SimulatedProviders
) -> None:
    team = Team(leaving, "unlucky")
    team.budget("5.00")
    stream = begun(team, providers)
    assert leaving.stop() == 0
    with pytest.raises(http.client.IncompleteRead) as broken:
        stream.read()
    stream.close()
    assert b'"code":"draining"' in broken.value.partial
    (row,) = team.rows()
    assert (row["outcome"], row["usage_source"]) == ("aborted", "counted")
    assert set(row["flags"]) == {"gateway_stopping", "estimated"}
    assert row["usage"]["output"] == 5
    assert team.sql("SELECT leased, spent FROM windows") == [{"leased": 0, "spent": row["charge"]}]


def refuses(gateway: Gateway) -> bool:
    try:
        connect(gateway).close()
    except ConnectionError:
        return True
    return False
