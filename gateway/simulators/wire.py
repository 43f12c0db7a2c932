"""The wire under one call: what ASGI hides, so that an answer can be cut, reset or written byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["ClientGone", "Headers", "SimulatedProtocol", "Wire"]

# SO_LINGER on with zero seconds: closing sends RST instead of FIN (socket(7)).
_RESET: Final = struct.pack("ii", 1, 0)


Headers = list[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The client closed its connection while a call was running."""


class SimulatedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 connection, which also hands the application its transport and counts itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The address may carry a key, and the transcript says more than a log would.
        self.access_log = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, so that tests can tell whether a pool reuses them."""
        super().connection_made(transport)
        self.app_state["stage"].connections += 1

    @property
    def idle(self) -> bool:
        """Whether the connection is between two calls."""
        return self.cycle is None or self.cycle.response_complete

    def on_message_begin(self) -> None:
        """Give each request's scope the means to misbehave."""
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport
        self.scope["state"]["flow"] = self.flow


class Wire:
    """Sending and waiting for one request, both ended by the client's leaving with ClientGone."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport = scope["state"]["transport"]
        self._flow: FlowControl = scope["state"]["flow"]
        self._gone = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._own_framing = False
        self.counts_bytes = False  # whether the body was announced with a length

    async def body(self) -> bytes:
        """The whole request body; from then on the client's leaving is noticed."""
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                self._watch = asyncio.create_task(self._notice_leaving())
                return b"".join(parts)

    async def _notice_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    async def release(self) -> None:
        """End the watch for the client's leaving."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    def check(self) -> None:
        """Raise ClientGone if the client has left."""
        if self._gone.is_set() or self._transport.is_closing():
            raise ClientGone

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers; without a content-length the body is chunked."""
        self.check()
        self.counts_bytes = any(name == b"content-length" for name, _ in headers)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def start_slowly(self, status: int, headers: Headers, pause_s: float) -> None:
        """Send the header block a byte at a time; the body is chunked and the connection closed after it."""
        self._own_framing = True
        kept = [(name, value) for name, value in headers if name != b"content-length"]
        kept += [(b"transfer-encoding", b"chunked"), (b"connection", b"close")]
        lines = [b"HTTP/1.1 %d OK" % status, *(b"%s: %s" % pair for pair in kept), b"", b""]
        for byte in b"\r\n".join(lines):
            await self._raw(bytes([byte]))
            await self.sleep(pause_s)

    async def write(self, data: bytes, *, chunk: int | None = None) -> None:
        """Send a part of the body, optionally in writes of so many bytes, each a chunk of its own."""
        self.check()
        if chunk is None:
            await self._part(data)
            return
        for start in range(0, len(data), chunk):
            await self._part(data[start : start + chunk])
            # Let the event loop hand this write to the kernel before the next one.
            await asyncio.sleep(0)

    async def _part(self, data: bytes) -> None:
        if not data:
            return
        if self._own_framing:
            await self._raw(b"%x\r\n%s\r\n" % (len(data), data))
        else:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End the body as HTTP demands."""
        self.check()
        if self._own_framing:
            await self._raw(b"0\r\n\r\n")
            await self.hang_up()
        else:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _raw(self, data: bytes) -> None:
        self.check()
        self._transport.write(data)
        await self._flow.drain()

    async def sleep(self, seconds: float) -> None:
        """Wait; a wait of a second or more ends early when the client leaves."""
        if seconds < 1:
            await asyncio.sleep(max(seconds, 0))
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), seconds)
        self.check()

    async def wait(self, event: asyncio.Event) -> None:
        """Wait for an event or for the client's leaving, which wins."""
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._gone.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        self.check()

    async def forever(self) -> None:
        """Say nothing until the client leaves."""
        await self._gone.wait()
        raise ClientGone

    async def reset(self) -> None:
        """Break the connection with RST, once what was written has left, and return when it is gone."""
        self._transport.set_write_buffer_limits(high=0)
        await self._flow.drain()
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
        await self._gone.wait()

    async def hang_up(self) -> None:
        """Close the connection in order, wherever HTTP is, once what was written has left."""
        self._transport.close()
        await self._gone.wait()
