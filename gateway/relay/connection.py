"""One HTTP/1.1 connection to an upstream: writes a request, parses the response, reports it.

llhttp (by httptools) finds the framing: Content-Length, chunked, none for 1xx, 204 and 304. What it
leaves to its user is here: a body that ends with the connection, HEAD, bounds, bytes that nobody asked
for, and what a broken connection means for the request that was on it.
"""

from __future__ import annotations

import asyncio
import math
import re
from typing import Final, Protocol, cast

import httptools

from gateway.relay.calls import FailureKind, Handle, Limits, RequestSent, UpstreamFailure

__all__ = ["Connection", "Owner"]

# With a water mark of one byte the transport calls `pause_writing` whenever the kernel did not take a
# request whole, which is how we know what `request_sent` is.
_HIGH_WATER: Final = 1
_FIRST_INTERIM: Final = 100
_FIRST_FINAL: Final = 200
_KEEP_ALIVE: Final = re.compile(rb"timeout=\s*(\d{1,9})")
_HEAD_TOO_LARGE: Final = "The response's headers are larger than allowed."


class Owner(Protocol):
    """The pool, as its connections see it."""

    @property
    def limits(self) -> Limits: ...

    def release(self, connection: Connection) -> None:
        """The connection is ready for another call."""

    def retry(self, handle: Handle) -> None:
        """Send the call again on a fresh connection."""

    def discard(self, connection: Connection) -> None:
        """The connection takes no more calls, though it may not be gone yet."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """Carries one call at a time; a `Carrier` for it.

    `moved`, `since` and `patience` belong to the pool's sweep: an event sets `moved`, the next sweep
    turns it into a time, and silence longer than `patience` seconds ends the call or the connection. So
    an event costs an attribute, not a clock reading.
    """

    __slots__ = (
        "_barren",
        "_complete",
        "_handle",
        "_head_bytes",
        "_headers",
        "_idle_s",
        "_is_reusable",
        "_owner",
        "_parser",
        "_parts",
        "_responded",
        "_status",
        "_surplus",
        "_transport",
        "_unsent",
        "_until_close",
        "_write_failed",
        "calls",
        "moved",
        "patience",
        "since",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._head_bytes = owner.limits.head_bytes
        self._idle_s = owner.limits.idle_s
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._handle: Handle | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._status = 0  # 0 until the final response's head is complete
        self._responded = False  # the listener heard on_response
        self._complete = True  # the parser is between two messages
        self._surplus = False  # bytes came after the end of a message
        self._until_close = False  # the body ends with the connection (RFC 9112 6.3, rule 8)
        self._is_reusable = False  # the response lets another one follow it
        self._barren = 0  # bytes since the last body byte that were no body
        self._unsent = False  # the kernel has not taken the whole request yet
        self._write_failed = False
        self.calls = 0
        self.moved = True
        self.since = 0.0
        self.patience = self._idle_s

    @property
    def is_usable(self) -> bool:
        """Nothing says that this connection is going away."""
        return not self._transport.is_closing()

    def start(self, handle: Handle) -> None:
        """Send the call's request. Calls no listener."""
        self._handle = handle
        handle.carrier = self
        self._headers = []
        self._status = 0
        self._responded = self._complete = False
        self._barren = 0
        self.calls += 1
        self.moved = True
        self.patience = handle.timeouts.first_byte_s
        request, transport = handle.request, self._transport
        if isinstance(request, bytes):
            transport.write(request)
        else:
            transport.writelines(request)
        if transport.is_closing():
            # The kernel refused the first write: it had learnt that the peer is gone. Nothing was sent.
            self._write_failed = True
        if handle.paused:
            self.pause()

    # Carrier: what a handle may do to its call.

    def pause(self) -> None:
        self.patience = math.inf
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._handle is not None:
            timeouts = self._handle.timeouts
            self.patience = timeouts.idle_s if self._responded else timeouts.first_byte_s
        self.moved = True
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def drop(self, handle: Handle) -> None:
        assert handle is self._handle
        self._handle = None
        self.abort()

    def abort(self) -> None:
        """Close without waiting for the peer. The pool hears `lost` in the loop's next round."""
        self._owner.discard(self)
        self._transport.abort()

    def expire(self) -> None:
        """The sweep found more silence than `patience` allows."""
        if self._responded:
            self._fail("idle_timeout", "The upstream fell silent in the middle of its response.")
        else:
            self._fail("first_byte_timeout", "The upstream did not begin to answer in time.")

    def close(self) -> None:
        """End whatever is here because the client closes."""
        self._fail("closed", "The gateway is shutting down.")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER, low=0)

    def pause_writing(self) -> None:
        self._unsent = True

    def resume_writing(self) -> None:
        self._unsent = False
        self.moved = True  # the upstream's time to answer begins when it has the whole request

    def data_received(self, data: bytes) -> None:
        handle = self._handle
        if handle is None:
            # Nobody asked for these bytes: they could only be mistaken for the next call's response.
            self.abort()
            return
        problem = ""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            problem = f"The response is not HTTP/1.1 as it was asked for: {error}."
        if self._status and not self._responded:
            self._respond(handle, len(data))
            if self._handle is not handle:
                return
        if self._parts:
            self._deliver(handle)
            if self._handle is not handle:
                return
        elif not self._complete:
            self._barren += len(data)
            if self._barren > self._head_bytes:
                problem = _HEAD_TOO_LARGE
        if self._complete:
            self._finish(handle)
        elif problem:
            self._fail("protocol", problem)

    def eof_received(self) -> None:
        # An idle connection must not be given to a call in the moment between its end and its loss.
        self._owner.discard(self)

    def connection_lost(self, exc: Exception | None) -> None:
        handle, self._handle = self._handle, None
        self._owner.discard(self)
        if handle is not None:
            self._interrupted(handle, exc)
        self._owner.lost(self)

    # httptools' callbacks; all of them run inside `feed_data`

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # A name that follows the head is a trailer's: RFC 9110 6.5.1 lets a recipient discard trailers.
        if not self._status:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < _FIRST_INTERIM:
            raise httptools.HttpParserError("a status has three digits, the first not 0")
        if status < _FIRST_FINAL:
            self._headers = []  # 100 and 103 announce; only what follows is the response
            return
        self._status = status
        self._is_reusable = self._parser.should_keep_alive()
        self._until_close = not self._is_reusable and not _is_delimited(self._headers)

    def on_body(self, data: bytes) -> None:
        if not self._complete:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        if self._status:
            self._complete = True

    # What a read means

    def _respond(self, handle: Handle, read_bytes: int) -> None:
        limit = self._head_bytes
        if self._barren + read_bytes > limit and _size(self._headers) > limit:
            self._fail("protocol", _HEAD_TOO_LARGE)
            return
        if not self._complete and handle.expects_no_body():
            self._complete, self._is_reusable = True, False
            self._parts.clear()
        if self.calls == 1:
            self._idle_s = min(self._idle_s, _promised_s(self._headers))
        self._responded = self.moved = True
        self._barren = 0
        if not handle.paused:
            self.patience = handle.timeouts.idle_s
        handle.request = b""  # it cannot be sent again: a large prompt need not outlive its answer's head
        handle.listener.on_response(self._status, self._headers)

    def _deliver(self, handle: Handle) -> None:
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._barren = 0
        self.moved = True
        handle.listener.on_data(data)

    def _finish(self, handle: Handle) -> None:
        """The connection is given back first, so that a call begun inside `on_end` can have it."""
        self._handle = handle.carrier = None
        if not self._is_reusable or self._surplus or self._unsent:
            self.abort()
        else:
            if handle.paused:
                self._transport.resume_reading()
            self.moved = True
            self.patience = self._idle_s
            self._owner.release(self)
        handle.listener.on_end()

    def _fail(self, kind: FailureKind, detail: str) -> None:
        handle, self._handle = self._handle, None
        self.abort()
        if handle is not None:
            handle.fail(UpstreamFailure(kind, self._request_sent(), detail))

    def _interrupted(self, handle: Handle, exc: Exception | None) -> None:
        """The connection went away under a call."""
        if self._responded and self._until_close and exc is None:
            handle.carrier = None
            handle.listener.on_end()
        elif self._may_retry(handle):
            handle.retried = True
            self._owner.retry(handle)
        else:
            how = "closed" if exc is None else "broke"
            when = "in the middle of its response" if self._responded else "without a response"
            detail = f"The upstream {how} the connection {when}."
            handle.fail(UpstreamFailure("closed", self._request_sent(), detail))

    def _may_retry(self, handle: Handle) -> bool:
        """Is it certain that sending again cannot make the upstream do the work twice?

        A server may close an idle connection at any moment, also the one in which we write to it (RFC
        9112 9.3.1). It then never saw the request, but neither end can tell that from a server that read
        the request and died. RFC 9110 9.2.2 forbids to repeat a POST on such a guess, and here a guess
        would be billed: so it is repeated only when the kernel never took it whole, in which case the
        Content-Length was not reached and the upstream had nothing to act on. The common case is caught
        earlier: a connection whose end was seen is never picked, and idle ones are closed by us first.
        """
        if self.calls == 1 or handle.retried or self._status or self._barren:
            return False
        return self._request_sent() != "yes" or handle.is_idempotent()

    def _request_sent(self) -> RequestSent:
        if self._write_failed:
            return "no"
        return "partly" if self._unsent else "yes"


def _is_delimited(headers: list[tuple[bytes, bytes]]) -> bool:
    """Does the head tell where the body ends?"""
    return any(
        name == b"content-length"
        or (name == b"transfer-encoding" and value.lower().rstrip().endswith(b"chunked"))
        for name, value in headers
    )


def _promised_s(headers: list[tuple[bytes, bytes]]) -> float:
    """How long to keep the connection idle, by the server's own word, less a second for the way.

    `Keep-Alive: timeout=5` (RFC 2068 19.7.1.1) is sent by Node's servers, which close on the dot.
    """
    for name, value in headers:
        promise = _KEEP_ALIVE.search(value) if name == b"keep-alive" else None
        if promise is not None:
            return max(0.0, float(promise[1]) - 1.0)
    return math.inf


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    """Bytes of the header lines as they were on the wire, near enough."""
    return sum(len(name) + len(value) + 4 for name, value in headers)
