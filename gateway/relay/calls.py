"""The narrow interface between a call and the upstream client: values, the listener, the handle.

A call goes in by `Client.send` and comes out as callbacks on its `Listener`; in between its `Handle`
slows it down or ends it. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

from gateway.domain.errors import BadRequest

__all__ = [
    "Carrier",
    "Counters",
    "FailureKind",
    "Handle",
    "Limits",
    "Listener",
    "Request",
    "RequestSent",
    "Target",
    "Timeouts",
    "UpstreamFailure",
]

FailureKind = Literal[
    "dns",  # the host's name has no address
    "connect",  # no connection: refused, unreachable, or no room in the pool
    "tls",  # the connection cannot be trusted
    "connect_timeout",  # no connection within `Timeouts.connect_s`, waiting for room included
    "first_byte_timeout",  # no response head within `Timeouts.first_byte_s`
    "idle_timeout",  # a response began, then nothing came for `Timeouts.idle_s`
    "closed",  # the upstream closed or reset the connection before its response was complete
    "protocol",  # what came is not HTTP/1.1
]
RequestSent = Literal["no", "partly", "yes"]
Request = bytes | Sequence[bytes]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """Where connections go: one pool each. `scheme` is `http` or `https`."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> tuple[Target, str]:
        """Split a base URL into its target and the path in front of every request, without a last slash.

        Raises BadRequest for what no request can be sent to. User and password are refused because a
        credential in a URL ends up in logs.
        """
        hint = "Give a URL such as https://api.openai.com/v1, without user, query or fragment."
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BadRequest("invalid_value", f"The URL cannot be read: {error}.", hint=hint) from error
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not url.isascii():
            raise BadRequest("invalid_value", "The URL needs a scheme (http, https) and a host.", hint=hint)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise BadRequest("invalid_value", "The URL holds more than host and path.", hint=hint)
        return cls(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]), parts.path.rstrip("/")

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only where it is not the scheme's own (RFC 9110 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to be patient, in seconds. They fire never early and at most two `Limits.tick_s` late.

    `connect_s` runs from `send` to an open connection: DNS, TCP, TLS and waiting for room. `first_byte_s`
    runs from the request to the complete response head. `idle_s` bounds each silence after that; it
    stands still while the listener has paused the response.
    """

    connect_s: float
    first_byte_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds one client.

    `connections` and `waiting` count per target; `idle_s` is how long an unused connection is kept, and
    stays below the usual keep-alive of servers and load balancers (60 s and more) so that a call seldom
    meets a connection that the other side is just closing; `head_bytes` bounds the bytes of a response
    that are not its body (head, trailers, chunk extensions); `tick_s` is how often timeouts are looked at.
    """

    connections: int = 10_000
    waiting: int = 1_000
    idle_s: float = 45.0
    head_bytes: int = 65_536
    tick_s: float = 0.1


@dataclass(slots=True)
class Counters:
    """What the client's connections did since it was made; read by the metrics."""

    opened: int = 0  # connections established
    reused: int = 0  # calls that found an idle connection
    failed: int = 0  # connections that could not be established
    retried: int = 0  # calls sent once more because their idle connection had gone


@dataclass(frozen=True, slots=True)
class UpstreamFailure:
    """Why a call has no complete response.

    `request_sent` is what the upstream may have seen: `no` (nothing), `partly` (never the whole request,
    so it was not processed), `yes` (perhaps all of it; perhaps it is billed). In doubt it is `yes`.
    `detail` names no path, header or credential.
    """

    kind: FailureKind
    request_sent: RequestSent
    detail: str


class Listener(Protocol):
    """Hears of one call. Exactly one of `on_end` and `on_failed` comes last, or neither after a cancel."""

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The final response's head; header names in lower case. 1xx responses are not reported."""

    def on_data(self, data: bytes) -> None:
        """Body bytes without their chunked framing: all that came with one read of the socket."""

    def on_end(self) -> None:
        """The body is complete."""

    def on_failed(self, failure: UpstreamFailure) -> None:
        """There is no complete response; what was reported before stays true."""


class Carrier(Protocol):
    """Whatever holds a call at the moment: the pool while it waits, then its connection."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def drop(self, handle: Handle) -> None: ...


class Handle:
    """One call on its way, from `send` until its listener heard the end."""

    __slots__ = ("carrier", "deadline", "listener", "paused", "request", "retried", "timeouts")

    def __init__(self, request: Request, listener: Listener, timeouts: Timeouts) -> None:
        self.request = request
        self.listener = listener
        self.timeouts = timeouts
        self.paused = False
        self.retried = False
        self.carrier: Carrier | None = None  # None once the call has ended
        self.deadline = 0.0  # of the wait for a connection; meaningful only while waiting

    def pause(self) -> None:
        """Stop reading the response: what one read has already brought is still delivered, no more."""
        self.paused = True
        if self.carrier is not None:
            self.carrier.pause()

    def resume(self) -> None:
        """Go on reading."""
        self.paused = False
        if self.carrier is not None:
            self.carrier.resume()

    def cancel(self) -> None:
        """End the call now; nothing is called after this. The connection is closed, not reused."""
        carrier, self.carrier = self.carrier, None
        if carrier is not None:
            carrier.drop(self)

    def fail(self, failure: UpstreamFailure) -> None:
        """Tell the listener, once."""
        if self.carrier is not None:
            self.carrier = None
            self.listener.on_failed(failure)

    def is_idempotent(self) -> bool:
        """May this request be sent twice without asking? RFC 9110 9.2.2; all that spends is POST."""
        return self._first().startswith((b"GET ", b"HEAD "))

    def expects_no_body(self) -> bool:
        """A response to HEAD has the headers of a body and no body (RFC 9110 9.3.2)."""
        return self._first().startswith(b"HEAD ")

    def _first(self) -> bytes:
        return self.request if isinstance(self.request, bytes) else self.request[0]
