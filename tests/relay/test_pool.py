"""Bounds and time. The clock is the test's: the client's own sweep comes once in an hour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.relay.calls import Limits, Timeouts
from gateway.relay.client import Client
from gateway.relay.pool import Pool
from gateway.relay.requests import build_request
from tests.relay.conftest import opened
from tests.relay.scripted import OK, PATIENT, POST, Peer, Recorder, Upstream, rounds

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TIMEOUTS = Timeouts(connect_s=10, first_byte_s=20, idle_s=30)
HOUR_S = 3600.0


@pytest.fixture
async def narrow() -> AsyncIterator[Client]:
    """Two connections, two waiting calls, and a clock that the test moves."""
    async with opened(Limits(connections=2, waiting=2, idle_s=45, tick_s=HOUR_S)) as client:
        yield client


class Clock:
    """Moves a pool's time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._now = asyncio.get_running_loop().time()

    def passes(self, seconds: float) -> None:
        self._now += seconds
        self._pool.sweep(self._now, self._now)


async def begin(client: Client, upstream: Upstream, answer: bytes) -> tuple[Recorder, Peer, Clock]:
    """A call that has been answered this far."""
    recorder = Recorder()
    client.send(upstream.target, POST, recorder, TIMEOUTS)
    peer = await upstream.accept()
    await peer.answer(answer)
    await recorder.until(lambda: bool(recorder.status) or not answer)
    clock = Clock(client.pools[0])
    clock.passes(0)
    return recorder, peer, clock


async def test_the_first_byte_timeout_counts_from_the_request(narrow: Client, upstream: Upstream) -> None:
    recorder, _, clock = await begin(narrow, upstream, b"")
    clock.passes(19.9)
    assert not recorder.is_over
    clock.passes(0.2)
    assert (await recorder.failed()).kind == "first_byte_timeout"


async def test_the_first_byte_timeout_begins_anew_once_a_large_request_is_up(
    narrow: Client, upstream: Upstream
) -> None:
    recorder = Recorder()
    large = build_request("POST", "/", "h", [], b"x" * 30_000_000)
    narrow.send(upstream.target, large, recorder, TIMEOUTS)
    peer = await upstream.accept()
    await peer.reader.readuntil(b"\r\n\r\n")
    clock = Clock(narrow.pools[0])
    clock.passes(0)
    clock.passes(19)
    await peer.reader.readexactly(30_000_000)
    await rounds()
    clock.passes(0)
    clock.passes(19)
    assert not recorder.is_over
    clock.passes(2)
    failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("first_byte_timeout", "yes")


async def test_dripping_headers_do_not_extend_it(narrow: Client, upstream: Upstream) -> None:
    recorder, peer, clock = await begin(narrow, upstream, b"")
    for byte in b"HTTP/1.1 200 OK\r\nX: y":
        peer.send(bytes([byte]))
        await rounds()
        clock.passes(1)
    assert (await recorder.failed()).kind == "first_byte_timeout"


async def test_every_read_of_the_body_extends_the_idle_timeout(narrow: Client, upstream: Upstream) -> None:
    recorder, peer, clock = await begin(narrow, upstream, CHUNKED)
    for number in range(5):
        clock.passes(29)
        peer.send(b"1\r\n\n\r\n")  # a blank line, as DeepSeek sends while a call waits for its turn
        await recorder.until(lambda number=number: len(recorder.data) > number)  # type: ignore[misc]
        clock.passes(0)
    clock.passes(29.9)
    assert not recorder.is_over
    clock.passes(0.2)
    assert (await recorder.failed()).kind == "idle_timeout"


async def test_a_paused_response_does_not_time_out(narrow: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    handle = narrow.send(upstream.target, POST, recorder, TIMEOUTS)
    peer = await upstream.accept()
    await peer.answer(CHUNKED)
    await recorder.until(lambda: recorder.status == 200)
    clock = Clock(narrow.pools[0])
    handle.pause()
    clock.passes(0)
    clock.passes(HOUR_S)
    handle.resume()
    clock.passes(0)
    clock.passes(29.9)
    assert not recorder.is_over
    clock.passes(0.2)
    assert (await recorder.failed()).kind == "idle_timeout"


async def test_a_read_that_was_under_way_does_not_start_a_paused_clock(
    narrow: Client, upstream: Upstream
) -> None:
    recorder = Recorder()
    handle = narrow.send(upstream.target, POST, recorder, TIMEOUTS)
    await (await upstream.accept()).request()
    [connection] = narrow.pools[0]._open
    handle.pause()
    connection.data_received(CHUNKED)
    clock = Clock(narrow.pools[0])
    clock.passes(0)
    clock.passes(HOUR_S)
    assert (recorder.status, recorder.is_over) == (200, False)


async def test_a_pause_before_the_response_stops_its_timeout_too(narrow: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    handle = narrow.send(upstream.target, POST, recorder, TIMEOUTS)
    peer = await upstream.accept()
    await peer.request()
    handle.pause()
    clock = Clock(narrow.pools[0])
    clock.passes(0)
    clock.passes(HOUR_S)
    handle.resume()
    clock.passes(0)
    clock.passes(20.1)
    assert (await recorder.failed()).kind == "first_byte_timeout"


async def test_an_idle_connection_is_closed_when_it_gets_old(narrow: Client, upstream: Upstream) -> None:
    recorder, peer, clock = await begin(narrow, upstream, OK)
    await recorder.over()
    clock.passes(0)
    clock.passes(44.9)
    await rounds()
    assert narrow.pools[0].idle == 1
    clock.passes(0.2)
    await peer.gone()
    assert narrow.pools[0].is_quiet


async def test_a_connection_that_breaks_in_this_very_round_of_the_loop_is_not_picked(
    narrow: Client, upstream: Upstream
) -> None:
    recorder, _, _ = await begin(narrow, upstream, OK)
    await recorder.over()
    [connection] = narrow.pools[0]._open
    connection._transport.abort()  # what the transport itself does on an error; its loss is told next round
    second = Recorder()
    narrow.send(upstream.target, POST, second, TIMEOUTS)
    await (await upstream.accept()).answer()
    await second.over()
    assert (second.body, narrow.counters.retried) == (b"ok", 0)


async def test_the_age_of_an_idle_connection_counts_from_its_last_use(
    narrow: Client, upstream: Upstream
) -> None:
    recorder, peer, clock = await begin(narrow, upstream, CHUNKED + b"1\r\na\r\n")
    clock.passes(29)
    peer.send(b"0\r\n\r\n")
    await recorder.over()
    clock.passes(0)
    clock.passes(44)
    await rounds()
    assert narrow.pools[0].idle == 1
    clock.passes(1)
    await peer.gone()


async def test_a_connection_whose_end_was_seen_is_not_idle_any_more(
    narrow: Client, upstream: Upstream
) -> None:
    """Under TLS there are rounds of the loop between its end and its loss."""
    recorder, _, _ = await begin(narrow, upstream, OK)
    await recorder.over()
    [connection] = narrow.pools[0]._open
    connection.eof_received()
    assert narrow.pools[0].idle == 0


@pytest.mark.parametrize(("promise", "kept_s"), [(b"timeout=5, max=9", 4), (b"timeout=900", 45), (b"x", 45)])
async def test_an_idle_connection_is_kept_no_longer_than_the_server_promised(
    narrow: Client, upstream: Upstream, promise: bytes, kept_s: float
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 0\r\n\r\n" % promise
    recorder, peer, clock = await begin(narrow, upstream, answer)
    await recorder.over()
    clock.passes(0)
    clock.passes(kept_s - 0.1)
    await rounds()
    assert narrow.pools[0].idle == 1
    clock.passes(0.2)
    await peer.gone()


async def test_a_new_connection_that_its_call_no_longer_needs_gets_old_too(
    narrow: Client, upstream: Upstream
) -> None:
    first, second = Recorder(), Recorder()
    narrow.send(upstream.target, POST, first, TIMEOUTS)
    peer = await upstream.accept()
    await peer.request()
    narrow.send(upstream.target, POST, second, TIMEOUTS)
    # The first connection comes free while the second is being made, and serves the second call.
    peer.send(OK)
    await first.over()
    await asyncio.gather(peer.answer(), second.over())
    other = await upstream.accept()
    await rounds(20)
    clock = Clock(narrow.pools[0])
    clock.passes(0)
    clock.passes(45)
    await asyncio.gather(peer.gone(), other.gone())
    assert narrow.pools[0].is_quiet


async def test_calls_beyond_the_bound_wait_and_calls_beyond_that_are_refused(
    narrow: Client, upstream: Upstream
) -> None:
    calls = [Recorder() for _ in range(5)]
    peers = []
    for recorder in calls[:2]:
        narrow.send(upstream.target, POST, recorder, TIMEOUTS)
        peers.append(await upstream.accept())
        await peers[-1].request()
    for recorder in calls[2:]:
        narrow.send(upstream.target, POST, recorder, TIMEOUTS)
    failure = await calls[4].failed()
    assert (failure.kind, failure.request_sent) == ("connect", "no")
    assert (narrow.pools[0].busy, narrow.pools[0].waiting) == (2, 2)
    # Whoever waited longest comes first.
    peers[1].send(OK)
    await calls[1].over()
    await peers[1].answer()
    await calls[2].over()
    await peers[1].answer()
    await calls[3].over()
    peers[0].send(OK)
    await calls[0].over()
    assert [call.ended for call in calls] == [True, True, True, True, False]
    assert upstream.accepted == 2


async def test_a_burst_dials_within_the_bound(narrow: Client, upstream: Upstream) -> None:
    calls = [Recorder() for _ in range(5)]
    for recorder in calls:
        narrow.send(upstream.target, POST, recorder, TIMEOUTS)
    assert (await calls[4].failed()).kind == "connect"
    async with asyncio.TaskGroup() as serving:
        tasks = [serving.create_task((await upstream.accept()).serve()) for _ in range(2)]
        for recorder in calls[:4]:
            await recorder.over()
            assert recorder.ended
        for task in tasks:
            task.cancel()
    assert upstream.accepted == 2


async def test_a_call_waits_no_longer_than_its_connect_timeout(narrow: Client, upstream: Upstream) -> None:
    busy = [Recorder(), Recorder()]
    for recorder in busy:
        narrow.send(upstream.target, POST, recorder, Timeouts(10, 90, 90))
        await (await upstream.accept()).request()
    waiting = Recorder()
    narrow.send(upstream.target, POST, waiting, TIMEOUTS)
    clock = Clock(narrow.pools[0])
    clock.passes(9.9)
    assert not waiting.is_over
    clock.passes(0.2)
    failure = await waiting.failed()
    assert (failure.kind, failure.request_sent) == ("connect_timeout", "no")
    assert not any(recorder.is_over for recorder in busy)
    assert narrow.pools[0].waiting == 0


async def test_a_cancelled_call_makes_room_in_the_queue(narrow: Client, upstream: Upstream) -> None:
    for _ in range(2):
        narrow.send(upstream.target, POST, Recorder(), TIMEOUTS)
        await (await upstream.accept()).request()
    first, second, third = Recorder(), Recorder(), Recorder()
    handle = narrow.send(upstream.target, POST, first, TIMEOUTS)
    narrow.send(upstream.target, POST, second, TIMEOUTS)
    handle.cancel()
    narrow.send(upstream.target, POST, third, TIMEOUTS)
    await rounds()
    assert not first.is_over
    assert not third.is_over
    assert narrow.pools[0].waiting == 2


async def test_a_target_may_have_a_bound_of_its_own(upstream: Upstream) -> None:
    async with opened(Limits(tick_s=HOUR_S), connections={upstream.target: 1}) as client:
        first, second = Recorder(), Recorder()
        client.send(upstream.target, POST, first, TIMEOUTS)
        client.send(upstream.target, POST, second, TIMEOUTS)
        peer = await upstream.accept()
        await peer.request()
        assert (client.pools[0].busy, client.pools[0].waiting) == (1, 1)
        peer.send(OK)
        await first.over()
        await peer.answer(OK)
        await second.over()


async def test_a_dial_that_is_given_up_makes_room_for_the_next(upstream: Upstream) -> None:
    async with opened(Limits(connections=1, tick_s=HOUR_S)) as client:
        first, second = Recorder(), Recorder()
        handle = client.send(upstream.target, POST, first, TIMEOUTS)
        client.send(upstream.target, POST, second, TIMEOUTS)
        handle.cancel()
        async with asyncio.TaskGroup() as serving:
            # The first dial may have got as far as the server.
            task = serving.create_task(serve_all(upstream))
            await second.over()
            task.cancel()
        assert second.ended
        assert not first.is_over


async def test_a_dial_that_fails_does_not_touch_a_call_that_was_served_meanwhile(
    narrow: Client, upstream: Upstream
) -> None:
    first, second = Recorder(), Recorder()
    narrow.send(upstream.target, POST, first, TIMEOUTS)
    peer = await upstream.accept()
    await peer.request()
    upstream.server.close()
    peer.send(OK)
    narrow.send(upstream.target, POST, second, TIMEOUTS)
    await peer.request()
    async with asyncio.timeout(60):
        while not narrow.counters.failed:
            await rounds()
    peer.send(OK)
    await second.over()
    assert second.ended


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_closing_waits_until_the_connections_are_gone(
    upstream: Upstream, secure_upstream: Upstream, client: Client, scheme: str
) -> None:
    server = upstream if scheme == "http" else secure_upstream
    recorder = Recorder()
    client.send(server.target, POST, recorder, PATIENT)
    await (await server.accept()).answer()
    await recorder.over()
    await client.pools[0].aclose()
    assert client.pools[0].is_quiet


async def test_a_waiting_call_gets_a_new_connection_when_a_busy_one_ends(
    narrow: Client, upstream: Upstream
) -> None:
    busy = [Recorder(), Recorder()]
    peers = []
    for recorder in busy:
        narrow.send(upstream.target, POST, recorder, TIMEOUTS)
        peers.append(await upstream.accept())
        await peers[-1].request()
    waiting = Recorder()
    narrow.send(upstream.target, POST, waiting, TIMEOUTS)
    peers[0].close()
    assert (await busy[0].failed()).kind == "closed"
    await (await upstream.accept()).answer()
    await waiting.over()
    assert waiting.ended


async def test_the_sweep_rests_while_there_is_nothing_to_watch(upstream: Upstream) -> None:
    async with opened(Limits(tick_s=0.001, idle_s=0.001)) as client, asyncio.timeout(60):
        for _ in range(2):
            recorder = Recorder()
            client.send(upstream.target, POST, recorder, PATIENT)
            peer = await upstream.accept()
            await peer.answer()
            await recorder.over()
            await peer.gone()  # the sweep found the connection old, and is back for the second round
            while client._ticking is not None:
                await rounds(1)


async def serve_all(upstream: Upstream) -> None:
    """Answer every request on every connection, one connection after the other."""
    while True:
        peer = await upstream.accept()
        try:
            await peer.serve()
        except (asyncio.IncompleteReadError, ConnectionError):
            continue
