"""The data plane's HTTP protocol: calls go from the parser straight to the gate.

uvicorn accepts a protocol class of one's own. This one takes the paths of the wire formats ahead of
ASGI (no scope, no task, no per-event message objects: a third of the CPU of a call) and hands every
other path, and every WebSocket upgrade, to uvicorn's own protocol and so to Starlette. It relies on
uvicorn internals; the version is pinned in a narrow range for that reason.

It also keeps the bounds that a public socket needs: head size, time to a complete head, body size, time
between body bytes, connections at once.
"""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.domain.errors import BadRequest, GatewayError, TooLarge, Unavailable
from gateway.formats.base import Dialect, Format
from gateway.gate.inbound import Downstream, Headers, InboundCall, reply_refusal

__all__ = ["Bounds", "DataPlane", "GatewayProtocol", "RunningCall", "Watch"]


class RunningCall(Protocol):
    """A call the gate is working on, as the connection sees it."""

    def begin(self) -> None: ...

    def client_gone(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Bounds(Protocol):
    """What one connection may ask of the gateway."""

    max_header_bytes: int
    max_body_bytes: int
    max_connections: int
    header_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float


class Watch:
    """Closes connections whose client is too slow: one look at all of them a second, no timer for each.

    A connection says since when it waits for its client, and how long it will: for a head, for the next
    piece of a body, for another request.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s  # a monotonic clock
        self.connections: set[GatewayProtocol] = set()

    def sweep(self) -> None:
        """Close every connection that has waited past its patience."""
        now_s = self.now_s()
        for connection in tuple(self.connections):
            if connection.waits_since_s and now_s - connection.waits_since_s > connection.patience_s:
                connection.lose_patience()


class DataPlane(Protocol):
    """What the connection needs of the gate; handed over in the lifespan state as `data_plane`."""

    bounds: Bounds
    watch: Watch
    formats: Mapping[bytes, Format]  # by path, for POST

    def exchange(self, inbound: InboundCall, downstream: Downstream) -> RunningCall: ...


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class GatewayProtocol(HttpToolsProtocol):
    """One client connection. One call at a time runs on it; it is the Downstream of that call."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # Without uvicorn's leniency for data after `Connection: close`: a strict parser, nothing smuggled.
        self.parser = httptools.HttpRequestParser(self)
        self._plane: DataPlane = app_state["data_plane"]
        self._format: Format | None = None  # of the request being read, when it is a data-plane call
        self._call: RunningCall | None = None  # the call being answered
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._in_head = True
        self._refused = False  # nothing more is read from this connection
        self._keeps_alive = True
        self._head: bytes | None = None  # of a streamed answer, sent with its first bytes
        self._is_chunked = True
        self.waits_since_s = 0.0  # since when the client owes something; 0 while it owes nothing
        self.patience_s = 0.0

    # Connection.

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._plane.watch.connections.add(self)
        self._wait(self._plane.bounds.header_timeout_s)
        if len(self.connections) > self._plane.bounds.max_connections:
            message = "The gateway has as many connections as it accepts."
            self._refuse(Unavailable("draining", message, hint="Try again.", retry_after_s=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._plane.watch.connections.discard(self)
        call, self._call = self._call, None
        if call is not None:
            call.client_gone()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._plane.watch.connections.discard(self)
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            if not self._head_bytes:
                self._wait(self._plane.bounds.header_timeout_s)
            self._head_bytes += len(data)
        else:
            self._wait(self._plane.bounds.body_timeout_s)
        super().data_received(data)
        if self._in_head and self._head_bytes > self._plane.bounds.max_header_bytes:
            bound = self._plane.bounds.max_header_bytes
            self._refuse(
                TooLarge(
                    "headers_too_large",
                    f"The request head is larger than {bound} bytes.",
                    hint="Send fewer or shorter headers.",
                )
            )

    def lose_patience(self) -> None:
        """The client was too slow: an idle connection is closed, an unfinished request is refused."""
        if self._head_bytes or not self._in_head:
            message = "The request did not arrive in time."
            self._refuse(BadRequest("invalid_value", message, hint="Send head and body without long pauses."))
        self.transport.close()

    def _wait(self, patience_s: float) -> None:
        self.waits_since_s = self._plane.watch.now_s()
        self.patience_s = patience_s

    def send_400_response(self, msg: str) -> None:
        self._refuse(
            BadRequest(
                "invalid_value",
                "The request is not valid HTTP/1.1.",
                hint="Check its framing and its headers.",
            )
        )

    def shutdown(self) -> None:
        if self._call is None:
            super().shutdown()
        else:
            self._keeps_alive = False

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._call is not None:
            self._call.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._call is not None:
            self._call.resume()

    # Parser callbacks.

    def on_message_begin(self) -> None:
        self._in_head = True
        if self._call is not None or (self.cycle is not None and not self.cycle.response_complete):
            # A pipelined request. No SDK sends one, and answers must keep their order: finish the running
            # one, then close, as RFC 9112 section 9.3.2 allows; the client sends the rest again.
            self._close_after_this()
            return
        super().on_message_begin()
        self._format = None
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        if not self._refused:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._refused:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._refused:
            return
        found = self._plane.formats.get(self.url.partition(b"?")[0])
        if found is None or self.parser.get_method() != b"POST" or self.parser.should_upgrade():
            super().on_headers_complete()
            return
        self._format = found
        self._keeps_alive = self.parser.should_keep_alive()
        self._is_chunked = self.parser.get_http_version() == "1.1"
        if self._announced_too_large():
            self._refuse(self._body_too_large())
        elif self.expect_100_continue:
            self.transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        if self._format is None:
            super().on_body(body)
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._plane.bounds.max_body_bytes:
            self._refuse(self._body_too_large())

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self.waits_since_s = 0.0
        if self._refused:
            return
        wire_format = self._format
        if wire_format is None:
            super().on_message_complete()
            return
        parts = self._body
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._body = []
        path = self.url.partition(b"?")[0].decode("latin-1")
        self._call = self._plane.exchange(InboundCall(wire_format, path, self.headers, body), self)
        self._call.begin()

    # Downstream: the answer of the running call.

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        self.transport.write(
            b"%b%bcontent-length: %d\r\n%b%b"
            % (STATUS_LINES[status], _lines(headers), len(body), self._connection_line(), body)
        )
        self._answered()

    def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer; it leaves with the first bytes, or at the end of this tick."""
        framing = b"transfer-encoding: chunked\r\n" if self._is_chunked else b""
        self._keeps_alive = self._keeps_alive and self._is_chunked
        self._head = STATUS_LINES[status] + _lines(headers) + framing + self._connection_line()
        self.loop.call_soon(self._flush_head)

    def write(self, data: bytes) -> None:
        """Bytes of a streamed answer."""
        framed = b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data
        if self._head is not None:
            framed, self._head = self._head + framed, None
        self.transport.write(framed)

    def end(self, data: bytes) -> None:
        """The last bytes of a streamed answer."""
        if self._is_chunked:
            framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else LAST_CHUNK
        else:
            framed = data
        if self._head is not None:
            framed, self._head = self._head + framed, None
        self.transport.write(framed)
        self._answered()

    def abort(self) -> None:
        """Break a streamed answer off: the missing last chunk tells the client that it is not complete."""
        self._flush_head()
        self._call = None
        self.transport.close()

    def _flush_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self.transport.write(head)

    def _connection_line(self) -> bytes:
        return b"\r\n" if self._keeps_alive else b"connection: close\r\n\r\n"

    def _answered(self) -> None:
        self._call = None
        self.server_state.total_requests += 1
        if not self._keeps_alive or self._refused:
            self.transport.close()
            return
        self._wait(self._plane.bounds.keep_alive_s)

    # Refusals that need no call.

    def _refuse(self, error: GatewayError) -> None:
        """Answer and close; what the client goes on sending is thrown away."""
        if self._call is not None or (self.cycle is not None and not self.cycle.response_complete):
            self._close_after_this()
            return
        self._refused = True
        self._keeps_alive = False
        dialect: Dialect = self._format.dialect if self._format is not None else "openai"
        reply_refusal(self, error, dialect)

    def _close_after_this(self) -> None:
        self._refused = True
        self._keeps_alive = False
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _announced_too_large(self) -> bool:
        for name, value in self.headers:
            if name == b"content-length":
                return int(value) > self._plane.bounds.max_body_bytes
        return False

    def _body_too_large(self) -> TooLarge:
        bound = self._plane.bounds.max_body_bytes
        return TooLarge(
            "request_too_large",
            f"The request body is larger than {bound} bytes.",
            hint="Send a smaller body, or raise server.max_body_bytes.",
        )


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])
