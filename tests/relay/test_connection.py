"""What one connection makes of any bytes, whatever the reads that bring them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.relay.calls import Limits
from tests.relay.conftest import opened
from tests.relay.scripted import HEAD, OK, PATIENT, POST, Recorder, Upstream, rounds

H = b"HTTP/1.1 200 OK\r\n"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"
SMALL_HEAD = 512


@dataclass(frozen=True, slots=True)
class Case:
    """A response and what it must come to. `closes`: the server ends the connection after it."""

    name: str
    wire: bytes
    status: int = 200
    body: bytes = b""
    failure: str | None = None
    reused: bool = False
    closes: bool = False
    request: bytes = POST

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("content-length", OK, body=b"ok", reused=True),
    Case("empty body", H + b"Content-Length: 0\r\n\r\n", reused=True),
    Case("chunked", CHUNKED + b"2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n", body=b"okay!", reused=True),
    Case("chunked, empty", CHUNKED + b"0\r\n\r\n", reused=True),
    Case("chunk extensions", CHUNKED + b'2;a=b;c="d"\r\nok\r\n0\r\n\r\n', body=b"ok", reused=True),
    Case("trailers", CHUNKED + b"2\r\nok\r\n0\r\nx-t: 1\r\ny: 2\r\n\r\n", body=b"ok", reused=True),
    Case("many chunks", CHUNKED + b"1\r\na\r\n" * 200 + b"0\r\n\r\n", body=b"a" * 200, reused=True),
    Case("until close", H + b"\r\nall there is", body=b"all there is", closes=True),
    Case("until close, nothing", H + b"\r\n", closes=True),
    Case("until close, other coding", H + b"Transfer-Encoding: gzip\r\n\r\nxx", body=b"xx", closes=True),
    Case("http/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", body=b"ok"),
    Case("http/1.0 until close", b"HTTP/1.0 200 OK\r\n\r\nok", body=b"ok", closes=True),
    Case("connection: close", H + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", body=b"ok"),
    Case("204", b"HTTP/1.1 204 No Content\r\n\r\n", status=204, reused=True),
    Case("304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", status=304, reused=True),
    Case("HEAD", H + b"Content-Length: 9\r\n\r\n", request=HEAD),
    Case("error status", b"HTTP/1.1 429 Slow\r\nContent-Length: 2\r\n\r\nno", 429, b"no", reused=True),
    Case("odd status", b"HTTP/1.1 529\r\nContent-Length: 2\r\n\r\nno", 529, b"no", reused=True),
    Case("continue", b"HTTP/1.1 100 Continue\r\n\r\n" + OK, body=b"ok", reused=True),
    Case("early hints", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" * 2 + OK, body=b"ok", reused=True),
    Case("blank lines first", b"\r\n\r\n" + OK, body=b"ok", reused=True),
    Case(
        "blanks in the body",
        CHUNKED + b"1\r\n\n\r\n1\r\n\n\r\n2\r\n{}\r\n0\r\n\r\n",
        body=b"\n\n{}",
        reused=True,
    ),
    Case("more after the end", OK + b"HTTP/1.1 200 O", body=b"ok"),
    Case("a second response", OK + b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", body=b"ok"),
    Case("garbage after the end", OK + b"\x00garbage", body=b"ok"),
    Case("body after 204", b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc", status=204),
    Case("cut head", H + b"Content-Le", status=0, failure="closed", closes=True),
    Case("nothing", b"", status=0, failure="closed", closes=True),
    Case("cut body", H + b"Content-Length: 9\r\n\r\nok", body=b"ok", failure="closed", closes=True),
    Case("cut chunk", CHUNKED + b"5\r\nok", body=b"ok", failure="closed", closes=True),
    Case("no last chunk", CHUNKED + b"2\r\nok\r\n", body=b"ok", failure="closed", closes=True),
    Case("garbage", b"<html>", status=0, failure="protocol"),
    Case("http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status=0, failure="protocol"),
    Case("bad chunk size", CHUNKED + b"2\r\nok\r\nzz\r\n", body=b"ok", failure="protocol"),
    Case(
        "two lengths", H + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", status=0, failure="protocol"
    ),
    Case("length and chunks", CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n", status=0, failure="protocol"),
    Case("negative length", H + b"Content-Length: -1\r\n\r\n", status=0, failure="protocol"),
    Case("nul in a header", H + b"X: a\0b\r\n\r\n", status=0, failure="protocol"),
    Case("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", status=0, failure="protocol"),
    Case("switching protocols", b"HTTP/1.1 101 No\r\n\r\nxx", status=0, failure="protocol"),
    Case(
        "an upgrade nobody asked for",
        b"HTTP/1.1 101 No\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nxx",
        status=0,
        failure="protocol",
    ),
    Case("status 000", b"HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n", status=0, failure="protocol"),
    Case(
        "large head", H + b"X: %b\r\nContent-Length: 0\r\n\r\n" % (b"x" * 600), status=0, failure="protocol"
    ),
    Case("endless head", H + b"X-Long: " + b"x" * 600, status=0, failure="protocol"),
    Case("endless hints", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" * 30, status=0, failure="protocol"),
    Case("endless trailer", CHUNKED + b"0\r\nx: " + b"x" * 600, failure="protocol"),
    Case("endless extension", CHUNKED + b"2;" + b"x" * 600, failure="protocol"),
]


async def play(case: Case, pieces: list[bytes]) -> tuple[Recorder, bool]:
    """Serve the response in these pieces; returns what was heard, and whether the connection was kept."""
    async with Upstream.listen() as upstream, opened(Limits(head_bytes=SMALL_HEAD)) as client:
        recorder = Recorder()
        client.send(upstream.target, case.request, recorder, PATIENT)
        peer = await upstream.accept()
        await peer.request()
        for piece in pieces:
            peer.send(piece)
            await rounds(3)
        if case.closes:
            peer.close()
        await recorder.over()
        await rounds()
        return recorder, client.pools[0].idle == 1


def check(case: Case, recorder: Recorder, is_kept: bool) -> None:
    assert recorder.status == case.status
    assert recorder.body == case.body
    assert (recorder.failure.kind if recorder.failure else None) == case.failure
    assert recorder.ended == (case.failure is None)
    assert is_kept == case.reused
    assert all(name == name.lower() for name, _ in recorder.headers)
    assert b"link" not in dict(recorder.headers)  # of an interim response


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_whole(case: Case) -> None:
    check(case, *await play(case, [case.wire]))


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_byte_by_byte(case: Case) -> None:
    check(case, *await play(case, [bytes([byte]) for byte in case.wire]))


@settings(max_examples=150, deadline=None)
@given(case=st.sampled_from(CASES), data=st.data())
def test_any_split_is_the_same_response(case: Case, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(case.wire)), max_size=6)))
    edges = [0, *cuts, len(case.wire)]
    pieces = [case.wire[start:end] for start, end in pairwise(edges)]
    check(case, *asyncio.run(play(case, pieces)))
