"""A real server on loopback whose every byte a test decides, and a listener that remembers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.relay.calls import Target, Timeouts, UpstreamFailure
from gateway.relay.requests import build_request

POST = build_request("POST", "/v1/chat/completions", "test", [], b'{"model":"m"}')
GET = build_request("GET", "/v1/models", "test", [], b"")
HEAD = build_request("HEAD", "/v1/models", "test", [], b"")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENT = Timeouts(connect_s=30, first_byte_s=30, idle_s=30)


async def rounds(count: int = 5) -> None:
    """Let the event loop go round, so that what is ready gets done."""
    for _ in range(count):
        await asyncio.sleep(0)


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next whole request."""
        async with asyncio.timeout(60):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            return head + await self.reader.readexactly(length)

    def send(self, data: bytes) -> None:
        """Bytes for a client that has left are dropped, as the network would."""
        if not self.writer.transport.is_closing():
            self.writer.write(data)

    async def answer(self, data: bytes = OK) -> bytes:
        """Wait for a request, answer it, and return it."""
        request = await self.request()
        self.send(data)
        return request

    async def serve(self) -> None:
        """Answer every request; cancel it to stop."""
        while True:
            await self.answer()

    def close(self) -> None:
        """End the connection the usual way: FIN."""
        self.writer.close()

    def reset(self) -> None:
        """End the connection the hard way: RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed the connection; bytes that still come are swallowed."""
        async with asyncio.timeout(60):
            try:
                while await self.reader.read(65_536):
                    pass
            except (ConnectionError, ssl.SSLError):
                pass


class Upstream:
    """Accepts connections; the test takes them one by one."""

    def __init__(self, server: asyncio.Server, scheme: str, host: str) -> None:
        self.server = server
        port = server.sockets[0].getsockname()[1]
        self.target = Target(scheme, host, port)
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.accepted = 0

    @classmethod
    @asynccontextmanager
    async def listen(
        cls, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> AsyncIterator[Upstream]:
        every: list[Peer] = []

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer)
            every.append(peer)
            upstream.accepted += 1
            upstream.peers.put_nowait(peer)

        server = await asyncio.start_server(accept, host, 0, ssl=tls)
        upstream = cls(server, "https" if tls else "http", host)
        try:
            yield upstream
        finally:
            server.close()
            for peer in every:
                peer.writer.transport.abort()
            await rounds()

    async def accept(self) -> Peer:
        async with asyncio.timeout(60):
            return await self.peers.get()


class Recorder:
    """A listener that writes down what it hears, and checks the rules of the interface as it does."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.data: list[bytes] = []
        self.ended = False
        self.failure: UpstreamFailure | None = None
        self.on_first_data: Callable[[], None] = lambda: None
        self.at_end: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.data)

    @property
    def is_over(self) -> bool:
        return self.ended or self.failure is not None

    @property
    def outcome(self) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool, UpstreamFailure | None]:
        return self.status, self.headers, self.body, self.ended, self.failure

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert not self.status
        assert not self.is_over
        self.status, self.headers = status, headers
        self._changed.set()

    def on_data(self, data: bytes) -> None:
        assert self.status
        assert not self.is_over
        assert data
        self.data.append(data)
        self._changed.set()
        if len(self.data) == 1:
            self.on_first_data()

    def on_end(self) -> None:
        assert self.status
        assert not self.is_over
        self.ended = True
        self._changed.set()
        self.at_end()

    def on_failed(self, failure: UpstreamFailure) -> None:
        assert not self.is_over
        self.failure = failure
        self._changed.set()

    async def until(self, test: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not test():
                self._changed.clear()
                await self._changed.wait()

    async def over(self) -> Recorder:
        await self.until(lambda: self.is_over)
        return self

    async def failed(self) -> UpstreamFailure:
        await self.over()
        assert self.failure is not None
        return self.failure
