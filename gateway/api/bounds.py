"""The bounds of a public socket: how much and how long, who looks after it, and what a client is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.domain.errors import BadRequest, TooLarge, Unavailable

__all__ = [
    "Bounds",
    "Patient",
    "Watch",
    "body_too_large",
    "head_too_large",
    "not_http",
    "too_many_connections",
    "too_slow",
]


class Bounds(Protocol):
    """What one connection may ask of the gateway."""

    max_header_bytes: int
    max_body_bytes: int
    max_connections: int
    header_timeout_s: float
    body_timeout_s: float
    keep_alive_s: int


class Patient(Protocol):
    """A connection that waits for its client since an instant (0: it does not), and how long it will."""

    waits_since_s: float
    patience_s: float

    def lose_patience(self) -> None: ...


class Watch:
    """Ends the waiting of connections whose client is too slow: one look at all a second, no timer each."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s  # a monotonic clock
        self.connections: set[Patient] = set()

    def sweep(self) -> None:
        """Tell every connection that has waited past its patience."""
        now_s = self.now_s()
        for connection in tuple(self.connections):
            if connection.waits_since_s and now_s - connection.waits_since_s > connection.patience_s:
                connection.lose_patience()


def head_too_large(bounds: Bounds) -> TooLarge:
    """431."""
    return TooLarge(
        "headers_too_large",
        f"The request head is larger than {bounds.max_header_bytes} bytes.",
        hint="Send fewer or shorter headers.",
    )


def body_too_large(bounds: Bounds) -> TooLarge:
    """413."""
    return TooLarge(
        "request_too_large",
        f"The request body is larger than {bounds.max_body_bytes} bytes.",
        hint="Send a smaller body, or raise server.max_body_bytes.",
    )


def too_slow() -> BadRequest:
    """A head or a body that does not come."""
    return BadRequest(
        "invalid_value",
        "The request did not arrive in time.",
        hint="Send head and body without long pauses.",
    )


def not_http() -> BadRequest:
    """Garbage, and framing that two readers could read in two ways."""
    return BadRequest(
        "invalid_value", "The request is not valid HTTP/1.1.", hint="Check its framing and its headers."
    )


def too_many_connections() -> Unavailable:
    """One connection too many."""
    return Unavailable(
        "draining",
        "The gateway has as many connections as it accepts.",
        hint="Try again; use fewer connections, or raise server.max_connections.",
        retry_after_s=1,
    )
