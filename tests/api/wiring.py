"""A connection of the gateway's own protocol over a real socket, with a plane behind it that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.api.bounds import Watch
from gateway.api.front import answer_nobody
from gateway.api.wire import GatewayProtocol
from gateway.formats.base import Format
from gateway.formats.openai_chat import FORMAT
from gateway.gate.inbound import Downstream, InboundCall

__all__ = ["Bounds", "Client", "Line", "PlayedCall", "line"]

PATIENCE_S = 60


@dataclass
class Bounds:
    """Bounds that tests reach easily."""

    max_header_bytes: int = 2_000
    max_body_bytes: int = 100_000
    max_connections: int = 5
    header_timeout_s: float = 15.0
    body_timeout_s: float = 30.0
    keep_alive_s: int = 75


class PlayedCall:
    """A call that has come in; the test answers it through `downstream`."""

    def __init__(self, inbound: InboundCall, downstream: Downstream) -> None:
        self.inbound = inbound
        self.downstream = downstream
        self.heard: list[str] = []
        self.changed = asyncio.Event()

    def begin(self) -> None:
        self._hear("begin")

    def client_gone(self) -> None:
        self._hear("client_gone")

    def pause(self) -> None:
        self._hear("pause")

    def resume(self) -> None:
        self._hear("resume")

    def _hear(self, what: str) -> None:
        self.heard.append(what)
        self.changed.set()

    async def until(self, what: str) -> None:
        """Return once the connection has said this."""
        async with asyncio.timeout(PATIENCE_S):
            while what not in self.heard:
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Plane:
    """What the connection needs of the gate."""

    bounds: Bounds
    watch: Watch
    calls: asyncio.Queue[PlayedCall] = field(default_factory=asyncio.Queue)
    formats: Mapping[bytes, Format] = field(default_factory=lambda: {b"/v1/chat/completions": FORMAT})

    def exchange(self, inbound: InboundCall, downstream: Downstream) -> PlayedCall:
        call = PlayedCall(inbound, downstream)
        self.calls.put_nowait(call)
        return call


class Client:
    """The other end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        """All that comes up to these bytes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        """All that comes until the other side closes; what a reset takes away is not there."""
        parts = []
        async with asyncio.timeout(PATIENCE_S):
            try:
                while part := await self.reader.read(65_536):
                    parts.append(part)
            except ConnectionError:
                pass
        return b"".join(parts)

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    def close(self) -> None:
        self.writer.transport.abort()


class Line:
    """A listening protocol, its clock in the test's hand."""

    def __init__(self, bounds: Bounds) -> None:
        self.now_s = 1_000.0
        self.plane = Plane(bounds, Watch(lambda: self.now_s))
        self.state = ServerState()
        self.made: list[GatewayProtocol] = []
        self.port = 0
        self._clients: list[Client] = []
        self._config = Config(_app(), http=GatewayProtocol, ws="none", lifespan="off", log_config=None)
        self._config.load()

    def protocol(self) -> GatewayProtocol:
        state: dict[str, Any] = {"data_plane": self.plane}
        self.made.append(GatewayProtocol(self._config, self.state, state))
        return self.made[-1]

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def call(self) -> PlayedCall:
        """The next call that came in."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.plane.calls.get()

    def later(self, seconds: float) -> None:
        """Let time pass, and have the connections looked at."""
        self.now_s += seconds
        self.plane.watch.sweep()

    async def settle(self) -> None:
        """Let what was sent arrive: a round trip through the same loop and kernel."""
        probe = await self.connect()
        probe.send(b"GET /free HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await probe.rest()

    def close(self) -> None:
        for client in self._clients:
            client.close()


@asynccontextmanager
async def line(bounds: Bounds | None = None) -> AsyncIterator[Line]:
    """A line that is open for as long as the block runs."""
    opened = Line(bounds or Bounds())
    loop = asyncio.get_running_loop()
    server = await loop.create_server(opened.protocol, "127.0.0.1", 0)
    opened.port = server.sockets[0].getsockname()[1]
    try:
        yield opened
    finally:
        opened.close()
        server.close()
        for protocol in opened.made:
            if protocol.transport is not None:
                protocol.transport.abort()
        while opened.state.tasks:
            await asyncio.gather(*opened.state.tasks, return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def _app() -> Starlette:
    """What stands behind the paths that are no calls."""
    return Starlette(
        routes=[
            Route("/free", _free, methods=["GET", "POST"]),
            Route("/big", _big),
        ],
        exception_handlers={ClientDisconnect: answer_nobody},
    )


async def _free(request: Request) -> JSONResponse:
    return JSONResponse({"path": request.url.path, "bytes": len(await request.body())})


async def _big(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 65_536

    return StreamingResponse(pieces())
