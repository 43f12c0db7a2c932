"""The socket protocol over a real connection: peers that vanish, frames of every size, the close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK

from gateway.api.socket_wire import SOCKET, GatewaySockets

PATIENCE_S = 60
HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Endpoint:
    """An ASGI endpoint that accepts, lets a test write, and waits for the end."""

    def __init__(self) -> None:
        self.sockets: asyncio.Queue[GatewaySockets] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.sockets.put_nowait(scope[SOCKET])
        while (await receive())["type"] != "websocket.disconnect":
            pass
        self.ended.set()


@asynccontextmanager
async def listening(endpoint: Endpoint, **options: Any) -> AsyncIterator[int]:
    config = Config(endpoint, ws=GatewaySockets, http="h11", lifespan="off", log_config=None, **options)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: GatewaySockets(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for protocol in tuple(state.connections):
            protocol.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            while state.tasks:
                await asyncio.gather(*state.tasks, return_exceptions=True)


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 300_000])
async def test_frames_of_every_size_arrive_in_order(size: int) -> None:
    endpoint = Endpoint()
    async with listening(endpoint) as port, connect(f"ws://127.0.0.1:{port}", max_size=None) as client:
        (await endpoint.sockets.get()).send_texts([b"a" * size, b"b" * size])
        async with asyncio.timeout(PATIENCE_S):
            assert [await client.recv(), await client.recv()] == ["a" * size, "b" * size]


async def test_a_peer_that_vanished_is_given_up_whatever_was_written_to_it() -> None:
    endpoint = Endpoint()
    async with listening(endpoint, ws_ping_interval=0.05, ws_ping_timeout=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        # It answers no ping and reads nothing: more is written than all buffers hold.
        cast(asyncio.Transport, writer.transport).pause_reading()
        socket = await endpoint.sockets.get()
        socket.send_texts([b"x" * 20_000_000])
        assert socket.is_slow
        async with asyncio.timeout(PATIENCE_S):
            await endpoint.ended.wait()
        writer.transport.abort()


async def test_the_end_says_why_and_nothing_follows_it() -> None:
    endpoint = Endpoint()
    async with listening(endpoint) as port, connect(f"ws://127.0.0.1:{port}") as client:
        socket = await endpoint.sockets.get()
        socket.send_texts([b"last"])
        socket.end(1001, "bye")
        socket.end(1008, "once is enough")
        socket.send_texts([b"too late"])
        async with asyncio.timeout(PATIENCE_S):
            assert await client.recv() == "last"
            with pytest.raises(ConnectionClosedOK) as closed:
                await client.recv()
            await endpoint.ended.wait()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "bye")
