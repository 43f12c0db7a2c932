"""Calls as the gate makes them, against a real server."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time

import pytest

from gateway.relay.calls import Handle, Limits, Target, Timeouts, UpstreamFailure
from gateway.relay.client import Client
from gateway.relay.requests import build_request
from tests.relay.certificates import Certificates
from tests.relay.conftest import opened
from tests.relay.scripted import GET, OK, PATIENT, POST, Recorder, Upstream, rounds

QUICK = 0.05  # seconds: a timeout that a test waits for
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_thousand_calls_one_after_the_other_use_one_connection(
    client: Client, upstream: Upstream
) -> None:
    for number in range(1000):
        recorder = Recorder()
        client.send(upstream.target, POST, recorder, PATIENT)
        if number == 0:
            peer = await upstream.accept()
        assert await peer.answer() == POST
        await recorder.over()
        assert recorder.outcome == (200, [(b"content-length", b"2")], b"ok", True, None)
    assert upstream.accepted == 1
    assert (client.counters.opened, client.counters.reused) == (1, 999)
    assert (client.counters.failed, client.counters.retried) == (0, 0)


async def test_nothing_is_called_from_inside_send(client: Client, upstream: Upstream) -> None:
    first = Recorder()
    client.send(upstream.target, POST, first, PATIENT)
    peer = await upstream.accept()
    await peer.answer()
    await first.over()
    peer.send(OK)  # bytes that nobody asked for are there before the next call is
    second = Recorder()
    client.send(upstream.target, POST, second, PATIENT)
    assert second.outcome == (0, [], b"", False, None)


async def test_a_call_begun_at_the_end_of_another_gets_its_connection(
    client: Client, upstream: Upstream
) -> None:
    first, second = Recorder(), Recorder()
    first.at_end = lambda: void(client.send(upstream.target, POST, second, PATIENT))
    client.send(upstream.target, POST, first, PATIENT)
    peer = await upstream.accept()
    await peer.answer()
    await peer.answer(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    await second.over()
    assert second.status == 201
    assert upstream.accepted == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_request_in_pieces_arrives_whole(
    client: Client, upstream: Upstream, secure_upstream: Upstream, scheme: str
) -> None:
    server = upstream if scheme == "http" else secure_upstream
    body = b"x" * 300_000
    recorder = Recorder()
    whole = build_request("POST", "/", "h", [], body)
    client.send(server.target, [whole[:100], whole[100:]], recorder, PATIENT)
    request = await (await server.accept()).answer()
    assert request == whole
    await recorder.over()


async def test_one_read_is_one_call_of_on_data(client: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    client.send(upstream.target, POST, recorder, PATIENT)
    peer = await upstream.accept()
    await peer.answer(CHUNKED + b"1\r\na\r\n" * 100)
    await recorder.until(lambda: bool(recorder.data))
    assert recorder.data == [b"a" * 100]
    peer.send(b"0\r\n\r\n")
    await recorder.over()
    assert recorder.data == [b"a" * 100]


# Failures before the request


async def test_a_refused_connection(client: Client) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = Target("http", "127.0.0.1", unused.getsockname()[1])
        recorder = Recorder()
        client.send(target, POST, recorder, PATIENT)
        failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("connect", "no")
    assert client.counters.failed == 1


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
async def test_a_name_without_an_address(client: Client, host: str) -> None:
    recorder = Recorder()
    client.send(Target("http", host, 80), POST, recorder, PATIENT)
    failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("dns", "no")


async def test_a_server_that_never_finishes_the_handshake(client: Client, upstream: Upstream) -> None:
    target = Target("https", "127.0.0.1", upstream.target.port)
    recorder = Recorder()
    client.send(target, POST, recorder, Timeouts(QUICK, 30, 30))
    peer = await upstream.accept()
    failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("connect_timeout", "no")
    await peer.gone()


# TLS


async def test_tls_with_a_trusted_certificate(client: Client, secure_upstream: Upstream) -> None:
    for number in range(3):
        recorder = Recorder()
        client.send(secure_upstream.target, POST, recorder, PATIENT)
        if number == 0:
            peer = await secure_upstream.accept()
        assert await peer.answer() == POST
        await recorder.over()
        assert recorder.body == b"ok"
    assert secure_upstream.accepted == 1


async def test_tls_names_the_host(client: Client, certificates: Certificates) -> None:
    names: list[str | None] = []
    context = certificates.server_context()
    context.sni_callback = lambda _sock, name, _context: names.append(name)
    async with Upstream.listen(context) as server:
        recorder = Recorder()
        client.send(Target("https", "localhost", server.target.port), POST, recorder, PATIENT)
        await (await server.accept()).answer()
        await recorder.over()
    assert recorder.body == b"ok"
    assert names == ["localhost"]


async def test_tls_carries_large_bodies_both_ways(client: Client, secure_upstream: Upstream) -> None:
    body = bytes(range(256)) * 8192
    recorder = Recorder()
    client.send(secure_upstream.target, build_request("POST", "/", "h", [], body), recorder, PATIENT)
    peer = await secure_upstream.accept()
    assert (await peer.request()).endswith(body)
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    peer.close()
    await recorder.over()
    assert recorder.ended
    assert recorder.body == body


async def test_tls_of_an_unknown_authority_is_refused(secure_upstream: Upstream) -> None:
    async with opened(Limits()) as stranger:
        recorder = Recorder()
        stranger.send(secure_upstream.target, POST, recorder, PATIENT)
        failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("tls", "no")
    assert "issuer" in failure.detail


async def test_tls_for_another_name_is_refused(client: Client, certificates: Certificates) -> None:
    async with Upstream.listen(certificates.server_context(), "127.0.0.2") as server:
        recorder = Recorder()
        client.send(server.target, POST, recorder, PATIENT)
        failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("tls", "no")


async def test_a_server_that_does_not_speak_tls(client: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    client.send(Target("https", "127.0.0.1", upstream.target.port), POST, recorder, PATIENT)
    peer = await upstream.accept()
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("tls", "no")


async def test_a_ca_file_that_is_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        Client(Limits(), str(file))


# Timeouts, as they come by themselves; their arithmetic is in test_pool


async def test_a_server_that_does_not_begin_to_answer(client: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    client.send(upstream.target, POST, recorder, Timeouts(30, QUICK, 30))
    peer = await upstream.accept()
    await peer.answer(b"HTTP/1.1 200 OK\r\nSlow: ")
    failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("first_byte_timeout", "yes")
    assert recorder.status == 0
    await peer.gone()


async def test_a_server_that_falls_silent(client: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    client.send(upstream.target, POST, recorder, Timeouts(30, 30, QUICK))
    peer = await upstream.accept()
    await peer.answer(CHUNKED + b"1\r\na\r\n")
    failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("idle_timeout", "yes")
    assert (recorder.status, recorder.body) == (200, b"a")
    await peer.gone()


@pytest.mark.parametrize("tick_s", [0.01, 0.0], ids=["between_ticks", "within_a_tick"])
async def test_a_loop_that_was_held_up_reads_before_it_gives_up(upstream: Upstream, tick_s: float) -> None:
    """One call's answer comes while another call's listener stops the loop for longer than any timeout."""
    async with opened(Limits(tick_s=tick_s)) as client:
        silent, lively = Recorder(), Recorder()
        handle = client.send(upstream.target, POST, silent, Timeouts(30, QUICK, QUICK))
        handle.pause()  # while the test makes ready, silence does not count
        answering = await upstream.accept()
        await answering.request()
        client.send(upstream.target, POST, lively, PATIENT)
        other = await upstream.accept()

        def stall() -> None:
            handle.resume()
            now = asyncio.get_running_loop().time()
            client.pools[0].sweep(now, now)  # the silence begins to count
            answering.send(OK)
            time.sleep(QUICK * 3)

        lively.on_first_data = stall
        await other.answer()
        for recorder in (silent, lively):
            await recorder.over()
            assert recorder.body == b"ok"


# Back-pressure


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_paused_response_is_not_read(
    client: Client, upstream: Upstream, secure_upstream: Upstream, scheme: str
) -> None:
    server = upstream if scheme == "http" else secure_upstream
    size = 30_000_000
    recorder = Recorder()
    handle = client.send(server.target, POST, recorder, PATIENT)
    recorder.on_first_data = handle.pause
    peer = await server.accept()
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    peer.send(b"x" * size)
    await recorder.until(lambda: bool(recorder.data))
    await stuck(peer.writer.transport)
    assert len(recorder.data) == 1
    assert len(recorder.body) < size // 2
    handle.resume()
    await recorder.over()
    assert recorder.ended
    assert len(recorder.body) == size


async def test_a_pause_before_the_connection_holds_for_the_response(
    client: Client, upstream: Upstream
) -> None:
    recorder = Recorder()
    handle = client.send(upstream.target, POST, recorder, PATIENT)
    handle.pause()
    peer = await upstream.accept()
    await peer.answer()
    await rounds(20)
    assert recorder.status == 0
    handle.resume()
    await recorder.over()
    assert recorder.body == b"ok"


async def test_a_response_paused_at_its_end_leaves_a_connection_that_reads(
    client: Client, upstream: Upstream
) -> None:
    first, second = Recorder(), Recorder()
    handle = client.send(upstream.target, POST, first, PATIENT)
    first.on_first_data = handle.pause
    peer = await upstream.accept()
    await peer.answer()
    await first.over()
    client.send(upstream.target, POST, second, PATIENT)
    handle.pause()  # of a call that is over: must not touch the next one
    await peer.answer()
    await second.over()
    assert second.ended
    assert upstream.accepted == 1


# Cancelling


async def test_cancel_in_the_middle_closes_the_connection_and_silences_it(
    client: Client, upstream: Upstream
) -> None:
    recorder = Recorder()
    handle = client.send(upstream.target, POST, recorder, PATIENT)
    peer = await upstream.accept()
    await peer.answer(CHUNKED + b"1\r\na\r\n")
    await recorder.until(lambda: bool(recorder.data))
    handle.cancel()
    handle.cancel()
    peer.send(b"1\r\nb\r\n0\r\n\r\n")
    await peer.gone()
    assert recorder.outcome[2:] == (b"a", False, None)


@pytest.mark.parametrize("moment", ["on_response", "on_data"])
async def test_cancel_from_inside_a_callback(client: Client, upstream: Upstream, moment: str) -> None:
    class Leaver(Recorder):
        def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
            super().on_response(status, headers)
            if moment == "on_response":
                handle.cancel()

        def on_data(self, data: bytes) -> None:
            super().on_data(data)
            handle.cancel()

    recorder = Leaver()
    handle = client.send(upstream.target, POST, recorder, PATIENT)
    peer = await upstream.accept()
    await peer.answer()
    await peer.gone()
    assert recorder.body == (b"" if moment == "on_response" else b"ok")
    assert not recorder.is_over


async def test_cancel_while_the_connection_is_made(client: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    client.send(upstream.target, POST, recorder, PATIENT).cancel()
    await rounds(20)
    assert recorder.outcome == (0, [], b"", False, None)
    assert client.pools[0].is_quiet


async def test_cancel_after_a_failure_does_nothing(client: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    handle = client.send(upstream.target, POST, recorder, PATIENT)
    peer = await upstream.accept()
    await peer.request()
    peer.close()
    failure = await recorder.failed()
    handle.cancel()
    await rounds()
    assert recorder.failure is failure


async def test_cancel_after_the_end_leaves_the_connection_alone(client: Client, upstream: Upstream) -> None:
    first, second = Recorder(), Recorder()
    handle = client.send(upstream.target, POST, first, PATIENT)
    peer = await upstream.accept()
    await peer.answer()
    await first.over()
    client.send(upstream.target, POST, second, PATIENT)
    handle.cancel()
    await peer.answer()
    await second.over()
    assert second.ended


# Connections that end


async def test_an_idle_connection_that_the_server_closes_is_not_used_again(
    client: Client, upstream: Upstream
) -> None:
    first, second = Recorder(), Recorder()
    client.send(upstream.target, POST, first, PATIENT)
    peer = await upstream.accept()
    await peer.answer()
    await first.over()
    peer.close()
    await rounds(20)
    assert client.pools[0].is_quiet
    client.send(upstream.target, POST, second, PATIENT)
    await (await upstream.accept()).answer()
    await second.over()
    assert second.ended
    assert client.counters.retried == 0


async def test_bytes_on_an_idle_connection_end_it(client: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    client.send(upstream.target, POST, recorder, PATIENT)
    peer = await upstream.accept()
    await peer.answer()
    await recorder.over()
    peer.send(b"\r\n")
    await peer.gone()
    assert client.pools[0].is_quiet


async def idle_connection(client: Client, listener: socket.socket) -> tuple[Target, socket.socket]:
    """A connection of the client's that has served one call, and the server's end as a bare socket."""
    target = Target("http", *listener.getsockname())
    recorder = Recorder()
    client.send(target, POST, recorder, PATIENT)
    loop = asyncio.get_running_loop()
    peer, _ = await loop.sock_accept(listener)
    await loop.sock_recv(peer, 65_536)
    peer.send(OK)
    await recorder.over()
    return target, peer


def bare_listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def serve_once(listener: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        peer, _ = await loop.sock_accept(listener)
        with peer:
            request = await loop.sock_recv(peer, 65_536)
            await loop.sock_sendall(peer, OK)
    return request


async def test_a_call_whose_write_fails_is_sent_again(client: Client) -> None:
    """The connection was reset a moment ago and the loop has not noticed: nothing can have been sent."""
    with bare_listener() as listener:
        target, peer = await idle_connection(client, listener)
        reset(peer)
        recorder = Recorder()
        client.send(target, POST, recorder, PATIENT)
        assert await serve_once(listener) == POST
        await recorder.over()
    assert recorder.body == b"ok"
    assert client.counters.retried == 1


async def test_a_post_that_the_kernel_took_is_not_sent_again(client: Client) -> None:
    """The server closed while the request was on its way; it might as well have read it and died."""
    with bare_listener() as listener:
        target, peer = await idle_connection(client, listener)
        peer.close()
        recorder = Recorder()
        client.send(target, POST, recorder, PATIENT)
        failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("closed", "yes")
    assert client.counters.retried == 0


async def test_a_get_is_sent_again_in_the_same_case(client: Client) -> None:
    with bare_listener() as listener:
        target, peer = await idle_connection(client, listener)
        peer.close()
        recorder = Recorder()
        client.send(target, GET, recorder, PATIENT)
        assert await serve_once(listener) == GET
        await recorder.over()
    assert recorder.body == b"ok"
    assert client.counters.retried == 1


async def test_a_call_is_sent_again_only_once(client: Client) -> None:
    with bare_listener() as listener:
        target, peer = await idle_connection(client, listener)
        reset(peer)
        recorder = Recorder()
        client.send(target, GET, recorder, PATIENT)
        async with asyncio.timeout(60):
            fresh, _ = await asyncio.get_running_loop().sock_accept(listener)
        reset(fresh)
        failure = await recorder.failed()
    assert failure.kind == "closed"
    assert client.counters.retried == 1


async def test_a_call_that_was_sent_again_is_not_sent_a_third_time(client: Client) -> None:
    """Also when it is a re-used connection, just come free, that served it the second time."""
    with bare_listener() as listener:
        _, peer = await idle_connection(client, listener)
        reset(peer)
        recorder = Recorder()
        handle = Handle(GET, recorder, PATIENT)
        handle.retried = True
        client.pools[0].submit(handle)
        failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("closed", "no")
    assert client.counters.retried == 0


async def test_a_body_until_close_that_ends_in_a_reset_is_not_complete(
    client: Client, upstream: Upstream
) -> None:
    recorder = Recorder()
    client.send(upstream.target, POST, recorder, PATIENT)
    peer = await upstream.accept()
    await peer.answer(b"HTTP/1.1 200 OK\r\n\r\nsome")
    await recorder.until(lambda: bool(recorder.data))
    peer.reset()
    failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("closed", "yes")
    assert failure.detail == "The upstream broke the connection in the middle of its response."


async def test_a_request_that_was_never_sent_whole_is_sent_again(client: Client, upstream: Upstream) -> None:
    first, second = Recorder(), Recorder()
    client.send(upstream.target, POST, first, PATIENT)
    peer = await upstream.accept()
    await peer.answer()
    await first.over()
    large = build_request("POST", "/", "h", [], b"x" * 30_000_000)
    client.send(upstream.target, large, second, PATIENT)
    await peer.reader.readuntil(b"\r\n\r\n")
    peer.reset()
    assert await (await upstream.accept()).answer() == large
    await second.over()
    assert second.body == b"ok"
    assert client.counters.retried == 1


async def test_a_fresh_connection_that_breaks_under_the_request_is_reported(
    client: Client, upstream: Upstream
) -> None:
    recorder = Recorder()
    client.send(upstream.target, build_request("POST", "/", "h", [], b"x" * 30_000_000), recorder, PATIENT)
    peer = await upstream.accept()
    await peer.reader.readuntil(b"\r\n\r\n")
    peer.reset()
    failure = await recorder.failed()
    assert (failure.kind, failure.request_sent) == ("closed", "partly")
    assert upstream.accepted == 1


async def test_a_response_that_began_is_never_asked_for_again(client: Client, upstream: Upstream) -> None:
    first, second = Recorder(), Recorder()
    client.send(upstream.target, GET, first, PATIENT)
    peer = await upstream.accept()
    await peer.answer()
    await first.over()
    client.send(upstream.target, GET, second, PATIENT)
    await peer.answer(b"HTTP/1.1 2")
    await rounds()
    peer.close()
    failure = await second.failed()
    assert (failure.kind, failure.request_sent) == ("closed", "yes")
    assert upstream.accepted == 1


async def test_an_answer_before_the_request_is_complete(client: Client, upstream: Upstream) -> None:
    recorder = Recorder()
    client.send(upstream.target, build_request("POST", "/", "h", [], b"x" * 30_000_000), recorder, PATIENT)
    peer = await upstream.accept()
    await peer.reader.readuntil(b"\r\n\r\n")
    peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    await recorder.over()
    assert (recorder.status, recorder.body, recorder.ended) == (413, b"no", True)
    await peer.gone()
    assert client.pools[0].is_quiet


# Closing the client


async def test_closing_fails_what_runs_and_what_waits(upstream: Upstream) -> None:
    async with opened(Limits(connections=1)) as client:
        running, waiting = Recorder(), Recorder()
        client.send(upstream.target, POST, running, PATIENT)
        client.send(upstream.target, POST, waiting, PATIENT)
        peer = await upstream.accept()
        await peer.answer(CHUNKED)
        await running.until(lambda: running.status == 200)
        await client.aclose()
        assert running.failure == UpstreamFailure("closed", "yes", "The gateway is shutting down.")
        assert waiting.failure == UpstreamFailure("closed", "no", "The gateway is shutting down.")
        await peer.gone()


async def test_closing_while_a_connection_is_made(upstream: Upstream) -> None:
    async with opened(Limits()) as client:
        recorder = Recorder()
        client.send(upstream.target, POST, recorder, PATIENT)
        await client.aclose()
        assert recorder.failure is not None


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_call_after_closing_fails(upstream: Upstream, is_known: bool) -> None:
    async with opened(Limits()) as client:
        if is_known:
            client.send(upstream.target, POST, Recorder(), PATIENT).cancel()
        await client.aclose()
        recorder = Recorder()
        client.send(upstream.target, POST, recorder, PATIENT)
        assert recorder.failure is None
        failure = await recorder.failed()
        assert (failure.kind, failure.request_sent) == ("connect", "no")


async def stuck(transport: asyncio.WriteTransport) -> None:
    """Wait until the transport has stopped getting rid of its bytes."""
    size, still = -1, 0
    async with asyncio.timeout(60):
        while still < 50:
            await asyncio.sleep(0)
            now = transport.get_write_buffer_size()
            size, still = now, still + 1 if now == size else 0


def void(_: object) -> None:
    """Let a callback that returns nothing be an expression."""
