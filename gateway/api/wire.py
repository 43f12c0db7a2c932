"""The data plane's HTTP protocol: calls go from the parser straight to the gate.

uvicorn accepts a protocol class of one's own. This one takes the paths of the wire formats ahead of
ASGI (no scope, no task, no per-event message objects: a third of the CPU of a call) and hands every
other path, and every WebSocket upgrade, to uvicorn's own protocol and so to Starlette. It relies on
uvicorn internals; the version is pinned in a narrow range for that reason.

It also keeps the bounds that a public socket needs, on every path: head size, time to a complete head, body
size, pace of a body, pace of reading, connections at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.api.addresses import format_at
from gateway.api.bounds import (
    Bounds,
    Watch,
    body_too_large,
    head_too_large,
    not_http,
    too_many_connections,
    too_slow,
)
from gateway.api.heads import CONTINUE, LAST_CHUNK, STATUS_LINES, VERSIONS, header_lines
from gateway.api.repeats import KnownHead, known_head
from gateway.domain.errors import GatewayError
from gateway.formats.base import Dialect, Format
from gateway.gate.inbound import Downstream, Headers, InboundCall, reply_refusal

__all__ = ["DataPlane", "GatewayProtocol", "RunningCall", "Watch"]


class RunningCall(Protocol):
    """A call the gate is working on, as the connection sees it."""

    def begin(self) -> None: ...

    def client_gone(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class DataPlane(Protocol):
    """What the connection needs of the gate; handed over in the lifespan state as `data_plane`."""

    bounds: Bounds
    watch: Watch
    formats: Mapping[bytes, Format]  # by path, for POST

    def exchange(self, inbound: InboundCall, downstream: Downstream) -> RunningCall: ...


# A body has `body_timeout_s` for each so many bytes: a byte now and then is no progress.
BODY_STEP_BYTES = 16 * 1024
# After a refusal, this long for the client to read it before its connection is cut.
LINGER_S = 2.0


class GatewayProtocol(HttpToolsProtocol):
    """One client connection. One call at a time runs on it; it is the Downstream of that call."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # Without uvicorn's leniency for data after `Connection: close`: a strict parser, nothing smuggled.
        self.parser = httptools.HttpRequestParser(self)
        self._plane: DataPlane = app_state["data_plane"]
        self.timeout_keep_alive = self._plane.bounds.keep_alive_s
        self._format: Format | None = None  # of the request being read, when it is a data-plane call
        self._call: RunningCall | None = None  # the call being answered
        self._known: KnownHead | None = None  # of the last call that came in one read
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_step = 0  # bytes of the body since its wait began anew
        self._head_bytes = 0
        self._in_head = True  # between requests, too
        self._is_deaf = False  # what else comes from this client is thrown away
        self._keeps_alive = True
        self._head: bytes | None = None  # of a streamed answer, sent with its first bytes
        self._is_chunked = True
        self._unsent_bytes = math.inf  # when it was last looked at how fast the client reads
        self.waits_since_s = 0.0
        self.patience_s = 0.0

    # Connection.

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._plane.watch.connections.add(self)
        self._wait(self._plane.bounds.header_timeout_s)
        if len(self.connections) > self._plane.bounds.max_connections:
            self._refuse(too_many_connections())
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._plane.watch.connections.discard(self)
        call, self._call = self._call, None
        if call is not None:
            call.client_gone()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._plane.watch.connections.discard(self)
        super().handle_websocket_upgrade()

    def _should_upgrade(self) -> bool:
        return self._format is None and super()._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """An offer to upgrade may be passed over (RFC 9110 7.8); Java's HTTP client makes one every time."""

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        begins = self._in_head and not self._head_bytes
        if begins and self._known is not None and self._is_repeated(self._known, data):
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head:
            self._body_came(len(data))
        elif self._head_bytes:
            self._head_came(begins)
        elif begins and self._format is not None and self._keeps_alive and not self.expect_100_continue:
            bound = self._plane.bounds.max_header_bytes
            self._known = known_head(data, self._body_bytes, bound, self._format, *self._asked())

    def _is_repeated(self, known: KnownHead, data: bytes) -> bool:
        """Whether this is the known head with another body: then the call begins without the parser."""
        body = None if self._is_busy else known.body_in(data)
        if body is None or len(body) > self._plane.bounds.max_body_bytes:
            return False
        self._unset_keepalive_if_required()
        self._format = known.format
        self._is_chunked = self._keeps_alive = True
        self._begin(InboundCall(known.format, known.path, known.headers, body))
        return True

    def _head_came(self, begins: bool) -> None:
        """A part of a head: all of it has to come within the time that its first byte began."""
        if begins and not self._is_deaf:
            self._wait(self._plane.bounds.header_timeout_s)
        if self._head_bytes > self._plane.bounds.max_header_bytes:
            self._refuse(head_too_large(self._plane.bounds))

    def _body_came(self, size: int) -> None:
        """A part of a body: every step of it has its own time."""
        self._body_step += size
        if self._body_step >= BODY_STEP_BYTES and not self._is_deaf:
            self._body_step = 0
            self._wait(self._plane.bounds.body_timeout_s)

    def _wait(self, patience_s: float) -> None:
        self.waits_since_s = self._plane.watch.now_s()
        self.patience_s = patience_s

    def lose_patience(self) -> None:
        """The client was too slow to send or to read, or had nothing more to ask for."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if 0 < unsent_bytes < self._unsent_bytes:
            # It reads, if slowly.
            self._unsent_bytes = unsent_bytes
            self._wait(self.patience_s)
        elif unsent_bytes:
            self.transport.abort()
        elif self._is_deaf or (self._in_head and not self._head_bytes):
            self.transport.close()
        else:
            self._refuse(too_slow())

    def send_400_response(self, msg: str) -> None:
        self._refuse(not_http())

    def shutdown(self) -> None:
        if self._call is not None or (self._format is not None and not self._in_head):
            self._keeps_alive = False
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(self._plane.bounds.keep_alive_s)
        if self._call is not None:
            self._call.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent_bytes = math.inf
        if self._is_busy:
            self.waits_since_s = 0.0
        else:
            self._wait(self._plane.bounds.keep_alive_s)
        if self._call is not None:
            self._call.resume()

    @property
    def _is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._call is not None or (self.cycle is not None and not self.cycle.response_complete)

    # Parser callbacks.

    def on_message_begin(self) -> None:
        self._in_head = True
        if self._is_busy:
            # A pipelined request. No SDK sends one, and answers must keep their order: finish the running
            # one, then close, as RFC 9112 section 9.3.2 allows; the client sends the rest again.
            self._hear_no_more()
        if self._is_deaf:
            return
        super().on_message_begin()
        self._format = None
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        if not self._is_deaf:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_deaf:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        in_head, self._in_head = self._head_bytes, False
        self._head_bytes = 0
        self._body_step = 0
        if self._is_deaf:
            return
        self._wait(self._plane.bounds.body_timeout_s)
        version = self.parser.get_http_version()
        if self.parser.get_method() == b"POST":
            self._format = format_at(self._plane.formats, self._path(), self.url, self.headers)
        if in_head > self._plane.bounds.max_header_bytes and self._is_head_too_large():
            self._refuse(head_too_large(self._plane.bounds))
        elif self._announced_bytes() > self._plane.bounds.max_body_bytes:
            self._refuse(body_too_large(self._plane.bounds))
        elif version not in VERSIONS:
            self._refuse(not_http())
        elif self._format is None:
            super().on_headers_complete()
        else:
            self._is_chunked = version == "1.1"
            self._keeps_alive = self._is_chunked and self.parser.should_keep_alive()
            if self.expect_100_continue:
                self.transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._plane.bounds.max_body_bytes:
            self._refuse(body_too_large(self._plane.bounds))
        elif self._format is None:
            super().on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        if self._is_deaf:
            return
        wire_format = self._format
        if wire_format is None:
            self.waits_since_s = 0.0
            super().on_message_complete()
            return
        parts = self._body
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._body = []
        self._begin(InboundCall(wire_format, *self._asked(), body))

    def _begin(self, inbound: InboundCall) -> None:
        self.waits_since_s = 0.0
        self._call = self._plane.exchange(inbound, self)
        self._call.begin()

    def _asked(self) -> tuple[str, Headers]:
        """Path and headers of the request that the parser has read."""
        return self._path().decode("latin-1"), self.headers

    def _path(self) -> bytes:
        """The path asked for; a query has no say on the data plane."""
        if self.url.startswith(b"/"):
            return self.url.partition(b"?")[0]
        return httptools.parse_url(self.url).path or b""  # with scheme and host (RFC 9112 3.2.2)

    def _announced_bytes(self) -> int:
        for name, value in self.headers:
            if name == b"content-length":
                return int(value)
        return 0

    def _is_head_too_large(self) -> bool:
        """The read that brought the end of the head may have brought a large body, too."""
        size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.url) + size > self._plane.bounds.max_header_bytes

    # Downstream: the answer of the running call.

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        self.transport.write(
            b"%b%bcontent-length: %d\r\n%b%b"
            % (STATUS_LINES[status], header_lines(headers), len(body), self._connection_line(), body)
        )
        self._answered()

    def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer; it leaves with the first bytes, or at the end of this tick."""
        framing = b"transfer-encoding: chunked\r\n" if self._is_chunked else b""
        self._head = STATUS_LINES[status] + header_lines(headers) + framing + self._connection_line()
        self.loop.call_soon(self._flush_head)

    def write(self, data: bytes) -> None:
        """Bytes of a streamed answer, not none: an empty chunk would end it."""
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
        self._keeps_alive = False
        self._answered()

    def _flush_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self.transport.write(head)

    def _connection_line(self) -> bytes:
        return b"\r\n" if self._keeps_alive else b"connection: close\r\n\r\n"

    def _answered(self) -> None:
        self._call = None
        self.server_state.total_requests += 1
        self._wait(self._plane.bounds.keep_alive_s)
        if self._is_deaf:
            self._linger()
        elif not self._keeps_alive:
            self.transport.close()

    def _linger(self) -> None:
        """Close in two steps: with bytes unread a close is a reset, which may take the answer with it."""
        if not self.transport.is_closing():
            self.transport.write_eof()
            self._wait(LINGER_S)

    # Refusals that need no call.

    def _refuse(self, error: GatewayError) -> None:
        """Answer and close; what the client goes on sending is thrown away."""
        if self._is_deaf:
            return
        self._hear_no_more()
        if self._call is not None:
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                return
            # The application hears that its client has gone: the answer is ours.
            cycle.disconnected = True
            cycle.message_event.set()
        dialect: Dialect = self._format.dialect if self._format is not None else "openai"
        reply_refusal(self, error, dialect)

    def _hear_no_more(self) -> None:
        self._is_deaf = True
        self._keeps_alive = False
        if self.cycle is not None:
            self.cycle.keep_alive = False
