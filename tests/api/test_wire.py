"""The connection: framing, order, bounds and patience, over real sockets and with a clock in hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.api.wire import BODY_STEP_BYTES, LINGER_S
from tests.api.wiring import Bounds, Line, PlayedCall, line

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
JSON = [(b"content-type", b"application/json")]


@pytest.fixture
async def wire() -> AsyncIterator[Line]:
    async with line() as opened:
        yield opened


def chat(body: bytes = b"{}", *headers: bytes) -> bytes:
    """A whole request."""
    return (
        CHAT + b"".join(each + b"\r\n" for each in headers) + b"content-length: %d\r\n\r\n" % len(body) + body
    )


def error(answer: bytes) -> Any:
    """The error in a whole answer."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def reply(call: PlayedCall, body: bytes = b"ok") -> None:
    call.downstream.reply(200, JSON, body)


# Answers.


async def test_a_call_and_its_answer(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat(b'{"a":1}', b"Authorization: Bearer x"))
    call = await wire.call()
    assert call.heard == ["begin"]
    assert (call.inbound.path, call.inbound.body) == ("/v1/chat/completions", b'{"a":1}')
    assert (b"authorization", b"Bearer x") in list(call.inbound.headers)
    reply(call)
    assert (
        await client.until(b"ok")
        == b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\nok"
    )


async def test_one_connection_serves_call_after_call_of_both_kinds(wire: Line) -> None:
    client = await wire.connect()
    for _ in range(3):
        client.send(chat())
        reply(await wire.call())
        await client.until(b"ok")
        client.send(b"GET /free HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in await client.head()
        await client.until(b"}")
    assert len(wire.made) == 1


async def test_a_known_head_with_another_body_is_another_call(wire: Line) -> None:
    client = await wire.connect()
    for number in range(1, 150, 37):
        client.send(chat(b"x" * number, b"Authorization: Bearer a"))
        call = await wire.call()
        assert (call.inbound.path, call.inbound.body) == ("/v1/chat/completions", b"x" * number)
        assert dict(call.inbound.headers)[b"authorization"] == b"Bearer a"
        reply(call)
        await client.until(b"ok")
    client.send(chat(b"y", b"Authorization: Bearer b"))
    assert dict((await wire.call()).inbound.headers)[b"authorization"] == b"Bearer b"


async def test_a_known_head_may_come_in_pieces_or_with_more_behind_it(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat(b"one"))
    reply(await wire.call())
    await client.until(b"ok")
    whole = chat(b"two")
    for piece in (whole[:30], whole[30:-1], whole[-1:]):
        client.send(piece)
        await wire.settle()
    call = await wire.call()
    assert call.inbound.body == b"two"
    reply(call)
    await client.until(b"ok")
    client.send(chat(b"three") + chat(b"four"))
    call = await wire.call()
    assert call.inbound.body == b"three"
    reply(call)
    assert b"connection: close" in await client.rest()
    assert wire.plane.calls.empty()


async def test_another_request_after_a_known_head_is_read_as_always(wire: Line) -> None:
    client = await wire.connect()
    for _ in range(2):
        client.send(chat(b"one"))
        reply(await wire.call())
        await client.until(b"ok")
        client.send(b"GET /free HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP/1.1" in await client.until(b"\r\n\r\n")
    client.send(chat(b"two", b"connection: close"))
    reply(await wire.call())
    assert b"connection: close" in await client.rest()


async def test_a_stream_is_framed_in_chunks(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat())
    down = (await wire.call()).downstream
    down.start(200, [(b"content-type", b"text/event-stream")])
    # The head does not wait for the first bytes.
    assert await client.head() == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    down.write(b"data: 1\n\n")
    assert await client.until(b"\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
    down.write(b"x" * 17)
    down.end(b"last")
    assert await client.until(b"0\r\n\r\n") == b"11\r\n" + b"x" * 17 + b"\r\n4\r\nlast\r\n0\r\n\r\n"
    client.send(chat())
    reply(await wire.call())
    await client.until(b"ok")


async def test_a_stream_that_is_ready_at_once_is_one_write(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat())
    down = (await wire.call()).downstream
    down.start(200, [])
    down.end(b"")
    assert (await client.until(b"0\r\n\r\n")).endswith(b"chunked\r\n\r\n0\r\n\r\n")


async def test_a_stream_broken_off_has_no_last_chunk(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat())
    down = (await wire.call()).downstream
    down.start(200, [])
    down.write(b"half")
    down.abort()
    assert (await client.rest()).endswith(b"4\r\nhalf\r\n")


async def test_http_1_0_gets_no_chunks_and_an_end(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat(b"{}", b"connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"))
    down = (await wire.call()).downstream
    down.start(200, [])
    down.write(b"one ")
    down.end(b"two")
    assert await client.rest() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\none two"


async def test_connection_close_is_honoured(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat(b"{}", b"connection: close"))
    reply(await wire.call())
    assert b"connection: close\r\n" in await client.rest()


@pytest.mark.parametrize("status", [200, 299, 404, 599, 999])
async def test_any_status_can_be_told(wire: Line, status: int) -> None:
    client = await wire.connect()
    client.send(chat())
    (await wire.call()).downstream.reply(status, [], b"")
    assert (await client.head()).startswith(b"HTTP/1.1 %d " % status)


# Requests.


async def test_a_body_may_come_in_pieces_and_in_chunks(wire: Line) -> None:
    client = await wire.connect()
    whole = CHAT + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\ntrailer: x\r\n\r\n"
    for at in range(len(whole)):
        client.send(whole[at : at + 1])
        if at % 40 == 0:
            await wire.settle()
    call = await wire.call()
    assert call.inbound.body == b"abcdefg"


async def test_a_client_that_asks_first_is_told_to_go_on(wire: Line) -> None:
    client = await wire.connect()
    client.send(CHAT + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"{}")
    reply(await wire.call())
    await client.until(b"ok")


async def test_a_client_that_asks_first_whether_it_may_send_too_much(wire: Line) -> None:
    client = await wire.connect()
    client.send(CHAT + b"expect: 100-continue\r\ncontent-length: 100001\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("target", [b"http://gateway%b", b"%b?key=secret", b"%b?"])
async def test_a_target_in_another_form_is_the_same(wire: Line, target: bytes) -> None:
    client = await wire.connect()
    client.send(chat().replace(b"/v1/chat/completions", target % b"/v1/chat/completions"))
    assert (await wire.call()).inbound.path == "/v1/chat/completions"


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.0"])
async def test_an_offer_to_upgrade_a_call_is_passed_over(wire: Line, upgrade: bytes) -> None:
    client = await wire.connect()
    for _ in range(2):
        client.send(chat(b"{}", b"connection: upgrade, http2-settings", b"upgrade: " + upgrade))
        reply(await wire.call())
        assert b"200 OK" in await client.until(b"ok")


@pytest.mark.parametrize("pause", [False, True])
async def test_a_pipelined_request_is_not_served(wire: Line, pause: bool) -> None:
    client = await wire.connect()
    client.send(chat(b'"one"') + (b"" if pause else chat(b'"two"')))
    call = await wire.call()
    if pause:
        client.send(chat(b'"two"'))
        await wire.settle()
    reply(call)
    answer = await client.rest()
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"connection: close" in answer
    assert wire.plane.calls.empty()


async def test_a_pipelined_request_behind_another_kind(wire: Line) -> None:
    client = await wire.connect()
    client.send(b"GET /free HTTP/1.1\r\nhost: x\r\n\r\n" + chat())
    assert (await client.rest()).count(b"HTTP/1.1") == 1
    assert wire.plane.calls.empty()


async def test_a_client_that_leaves_is_noticed_once(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat())
    call = await wire.call()
    client.close()
    await call.until("client_gone")
    assert call.heard == ["begin", "client_gone"]
    assert wire.plane.watch.connections == set()


async def test_half_a_request_is_no_call(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat(b"x" * 50)[:-10])
    await wire.settle()
    client.close()
    await wire.settle()
    assert wire.plane.calls.empty()


# Bounds.


@pytest.mark.parametrize("pieces", [1, 2, 30])
async def test_a_head_too_large_is_refused(wire: Line, pieces: int) -> None:
    client = await wire.connect()
    data = chat(b"{}", b"x-long: " + b"y" * 2_000)
    size = -(-len(data) // pieces)
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
        if pieces > 1:
            await wire.settle()
    answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert error(answer)["code"] == "request_too_large"
    assert error(answer)["tollgate"]["code"] == "headers_too_large"
    assert wire.plane.calls.empty()


async def test_the_target_counts_as_head(wire: Line) -> None:
    client = await wire.connect()
    client.send(b"GET /free?" + b"q" * 2_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


async def test_a_large_body_in_the_same_read_is_no_head(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat(b"x" * 50_000))
    assert len((await wire.call()).inbound.body) == 50_000


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/free", b"/nowhere"])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_too_large_is_refused_on_every_path(wire: Line, path: bytes, announced: bool) -> None:
    client = await wire.connect()
    head = CHAT.replace(b"/v1/chat/completions", path)
    if announced:
        client.send(head + b"content-length: 5000000\r\n\r\n" + b"x" * 1_000_000)
    else:
        client.send(head + b"transfer-encoding: chunked\r\n\r\n" + b"8000\r\n" + b"x" * 0x8000)
        client.send((b"\r\n8000\r\n" + b"x" * 0x8000) * 100)
    # The refusal arrives although the client goes on sending.
    answer = await client.head()
    if path == b"/nowhere" and not announced:
        # Starlette has answered before the body was read.
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 413 "))
        return
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(await client.rest())["error"]["code"] == "request_too_large"
    assert wire.plane.calls.empty()


async def test_a_body_as_large_as_allowed_is_taken(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat(b"x" * 100_000))
    assert len((await wire.call()).inbound.body) == 100_000


async def test_a_connection_too_many_is_told_so(wire: Line) -> None:
    kept = [await wire.connect() for _ in range(5)]
    for client in kept:
        client.send(chat())
    calls = [await wire.call() for _ in kept]
    one_more = await wire.connect()
    answer = await one_more.rest()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in answer
    for call in calls:
        reply(call)
    for client in kept:
        await client.until(b"ok")


# What is not HTTP, or could be read in two ways.

GARBAGE = {
    "both lengths": CHAT + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way": CHAT + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "two lengths that differ": CHAT + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "two lengths that agree": CHAT + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "a list of lengths": CHAT + b"content-length: 2, 2\r\n\r\n{}",
    "a length that is none": CHAT + b"content-length: two\r\n\r\n{}",
    "a negative length": CHAT + b"content-length: -2\r\n\r\n{}",
    "a length beyond all numbers": CHAT + b"content-length: 99999999999999999999999\r\n\r\n{}",
    "a chunk size that is none": CHAT + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": CHAT + b"transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a chunk size beyond all numbers": CHAT + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n",
    "another coding last": CHAT + b"transfer-encoding: chunked, gzip\r\n\r\n",
    "a coding misspelt": CHAT + b"transfer-encoding: xchunked\r\n\r\n",
    "a blank before the colon": CHAT + b"content-length : 2\r\n\r\n{}",
    "a NUL in a header": CHAT + b"x-bad: a\0b\r\n\r\n",
    "a bare CR in a header": CHAT + b"x-bad: a\rb\r\n\r\n",
    "a header without a name": CHAT + b": x\r\n\r\n",
    "no version": b"POST /v1/chat/completions\r\n\r\n",
    "another version": b"POST /v1/chat/completions HTTP/3.0\r\n\r\n",
    "no method": b" /v1/chat/completions HTTP/1.1\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_what_is_not_http_is_refused_and_read_no_further(wire: Line, name: str) -> None:
    client = await wire.connect()
    client.send(GARBAGE[name] + chat(b'"smuggled"'))
    answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"HTTP/1.1 " not in answer.partition(b"\r\n")[2]
    assert b"connection: close\r\n" in answer
    assert (error(answer)["type"], error(answer)["code"]) == ("invalid_request_error", "invalid_value")
    while not wire.plane.calls.empty():
        assert b"smuggled" not in wire.plane.calls.get_nowait().inbound.body


# Patience.


async def test_a_slow_head_is_refused(wire: Line) -> None:
    client = await wire.connect()
    client.send(CHAT)
    await wire.settle()
    wire.later(10)
    client.send(b"x: 1\r\n")
    await wire.settle()
    # A further line does not win more time.
    wire.later(6)
    answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "in time" in error(answer)["message"]


async def test_a_slow_body_is_refused_however_often_a_byte_comes(wire: Line) -> None:
    client = await wire.connect()
    client.send(CHAT + b"content-length: 90000\r\n\r\n")
    for _ in range(6):
        client.send(b"x")
        await wire.settle()
        wire.later(5.5)
    answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert wire.plane.calls.empty()


async def test_a_body_that_makes_progress_is_waited_for(wire: Line) -> None:
    client = await wire.connect()
    client.send(CHAT + b"content-length: 90000\r\n\r\n")
    for _ in range(4):
        client.send(b"x" * BODY_STEP_BYTES)
        await wire.settle()
        wire.later(29)
    client.send(b"x" * (90_000 - 4 * BODY_STEP_BYTES))
    assert len((await wire.call()).inbound.body) == 90_000


async def test_a_slow_body_on_another_path_is_refused_too(wire: Line) -> None:
    client = await wire.connect()
    client.send(CHAT.replace(b"/v1/chat/completions", b"/free") + b"content-length: 900\r\n\r\nx")
    await wire.settle()
    wire.later(31)
    assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


async def test_a_call_under_way_is_waited_for_without_end(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat())
    call = await wire.call()
    wire.later(100_000)
    reply(call)
    await client.until(b"ok")


@pytest.mark.parametrize("used", [False, True])
async def test_an_idle_connection_is_closed_without_a_word(wire: Line, used: bool) -> None:
    client = await wire.connect()
    if used:
        client.send(chat())
        reply(await wire.call())
        await client.until(b"ok")
    else:
        await wire.settle()
    wire.later(14)
    wire.later(62)
    assert await client.rest() == b""


async def test_who_was_refused_has_a_moment_to_read_it(wire: Line) -> None:
    client = await wire.connect()
    client.send(GARBAGE["noise"])
    await client.head()
    client.send(b"more " * 100_000)
    await wire.settle()
    assert wire.made[0].transport is not None
    assert not wire.made[0].transport.is_closing()
    wire.later(LINGER_S + 0.1)
    assert wire.made[0].transport.is_closing()


async def test_a_client_that_does_not_read_pauses_its_call_and_is_cut_off(wire: Line) -> None:
    client = await wire.connect()
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    client.send(chat())
    call = await wire.call()
    call.downstream.start(200, [])
    while "pause" not in call.heard:
        call.downstream.write(b"x" * 1_000_000)
    wire.later(76)  # the first look notes how much is unsent
    assert "client_gone" not in call.heard
    wire.later(76)
    await call.until("client_gone")


async def test_a_client_that_reads_slowly_is_waited_for(wire: Line) -> None:
    client = await wire.connect()
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    client.send(chat())
    call = await wire.call()
    call.downstream.start(200, [])
    while "pause" not in call.heard:
        call.downstream.write(b"x" * 1_000_000)
    wire.later(76)
    client.reader._transport.resume_reading()  # type: ignore[attr-defined]
    while "resume" not in call.heard:
        await client.reader.read(65_536)
    wire.later(76)
    call.downstream.end(b"")
    tail = b""
    while not tail.endswith(b"0\r\n\r\n"):
        tail = tail[-10:] + await client.reader.read(65_536)
    assert "client_gone" not in call.heard


# Stopping.


async def test_a_stopping_server_closes_what_is_idle_and_lets_calls_finish(wire: Line) -> None:
    idle = await wire.connect()
    busy = await wire.connect()
    busy.send(chat())
    call = await wire.call()
    for protocol in list(wire.state.connections):
        protocol.shutdown()
    assert await idle.rest() == b""
    reply(call)
    answer = await busy.rest()
    assert b"connection: close" in answer
    assert answer.endswith(b"ok")


async def test_a_stopping_server_takes_the_call_that_is_just_arriving(wire: Line) -> None:
    client = await wire.connect()
    client.send(chat(b"x" * 50)[:-10])
    await wire.settle()
    wire.made[0].shutdown()
    client.send(b"x" * 10)
    reply(await wire.call())
    assert b"connection: close" in await client.rest()


async def test_bounds_may_be_others() -> None:
    async with line(Bounds(max_body_bytes=10)) as wire:
        client = await wire.connect()
        client.send(chat(b"x" * 11))
        assert "10 bytes" in error(await client.rest())["message"]
