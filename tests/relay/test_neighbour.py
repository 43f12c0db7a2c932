"""A request to another worker: over a socket file or an address, whole or streamed, answered or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.relay.calls import Target
from gateway.relay.neighbour import Door, knock

REQUEST = b"GET / HTTP/1.1\r\nhost: worker\r\n\r\n"
WHOLE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
STREAM = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
)


@asynccontextmanager
async def answering(answer: bytes, path: Path | None = None) -> AsyncIterator[Door]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    if path is None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        door = Door(target=Target("http", "127.0.0.1", server.sockets[0].getsockname()[1]))
    else:
        server = await asyncio.start_unix_server(serve, path)
        door = Door(str(path))
    async with server:
        yield door


async def test_a_whole_answer_over_a_socket_file(tmp_path: Path) -> None:
    async with answering(WHOLE, tmp_path / "w.sock") as door:
        reply = await knock(door, REQUEST, 5)
        assert reply is not None
        assert (reply.status, reply.length) == (404, 5)
        assert (b"x-a", b"b") in reply.headers
        assert await reply.body() == b"hello"
        reply.close()


async def test_a_stream_over_an_address() -> None:
    async with answering(STREAM) as door:
        reply = await knock(door, REQUEST, 5)
        assert reply is not None
        assert reply.length is None
        assert [part async for part in reply.parts()] == [b"abc", b"0123456789abcdef"]
        reply.close()


@pytest.mark.parametrize("cut", [50, 53, 60, len(STREAM) - 6])
async def test_a_stream_that_breaks_off_says_so(cut: int) -> None:
    async with answering(STREAM[:cut]) as door:
        reply = await knock(door, REQUEST, 5)
        assert reply is not None
        with pytest.raises((OSError, EOFError)):
            await reply.body()
        reply.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"nonsense\r\n\r\n"])
async def test_nobody_is_there_to_be_understood(answer: bytes) -> None:
    async with answering(answer) as door:
        assert await knock(door, REQUEST, 5) is None


async def test_nobody_is_there(tmp_path: Path) -> None:
    assert await knock(Door(str(tmp_path / "none.sock")), REQUEST, 5) is None
    async with answering(WHOLE, tmp_path / "gone.sock"):
        pass
    assert await knock(Door(str(tmp_path / "gone.sock")), REQUEST, 5) is None
