"""The WebSocket protocol of the gateway's connections: uvicorn's, with a short way out and a good end.

Frames of an answer are written as they are made, without a task or a message for each. What the endpoint has
to hear beside frames (that the peer reads slowly, that the server stops) it hears from here. When the server
stops, uvicorn would close every socket at once (1012); here the endpoint lets its answers finish first.
It relies on uvicorn internals, as `api.wire` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

__all__ = ["SOCKET", "GatewaySockets", "Session"]

# In the scope of a socket's endpoint, its protocol.
SOCKET: Final = "tollgate.socket"
LINGER_S: Final = 2.0
# First byte of an unfragmented text frame (RFC 6455 5.2).
TEXT: Final = 0x81


class Session(Protocol):
    """The endpoint of one socket, while it is open."""

    def paced(self) -> None:
        """The peer reads slower than is written (`is_slow`), or has caught up."""

    def leave(self) -> None:
        """The server stops."""


class GatewaySockets(WebSocketsSansIOProtocol):
    """One socket."""

    session: Session | None = None
    is_slow = False
    is_leaving = False

    def handle_connect(self, event: Any) -> None:
        """Begin the endpoint's task; it runs in the next step of the loop."""
        super().handle_connect(event)
        if getattr(self, "scope", None) is not None:
            self.scope[SOCKET] = self  # type: ignore[typeddict-unknown-key]

    @property
    def is_open(self) -> bool:
        """Whether frames can be written."""
        return self.handshake_complete and not (self.close_sent or self.disconnected)

    def send_texts(self, texts: Sequence[bytes]) -> None:
        """Write text frames, which are UTF-8; nothing once the socket is closed."""
        if self.is_open and not self.transport.is_closing():
            self.transport.write(b"".join([part for text in texts for part in (_head(len(text)), text)]))

    def end(self, code: int, reason: str) -> None:
        """Close with this code; the peer's own close, or a moment, ends the connection."""
        if not self.is_open:
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def pause_writing(self) -> None:
        """The peer reads slower than is written."""
        super().pause_writing()
        self.is_slow = True
        if self.session is not None:
            self.session.paced()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        super().resume_writing()
        self.is_slow = False
        if self.session is not None:
            self.session.paced()

    def keepalive_timeout(self) -> None:
        """The peer is not there: what was written to it will never leave, so nothing waits for that."""
        super().keepalive_timeout()
        self.transport.abort()

    def handle_parser_exception(self) -> None:
        """A frame that is too large or none: close in two steps, for a close with bytes unread is a reset,
        which may take the reason with it."""
        if self.close_timer is not None:
            return
        assert self.conn.close_sent is not None
        self.queue.put_nowait(
            {
                "type": "websocket.disconnect",
                "code": self.conn.close_sent.code,
                "reason": self.conn.close_sent.reason,
            }
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def shutdown(self) -> None:
        """The server stops."""
        self.is_leaving = True
        if self.is_open and self.session is not None:
            self.session.leave()
        else:
            super().shutdown()


def _head(size: int) -> bytes:
    """What stands before the text of a server's frame (RFC 6455 5.2)."""
    if size < 126:
        return bytes((TEXT, size))
    if size < 65_536:
        return bytes((TEXT, 126)) + size.to_bytes(2, "big")
    return bytes((TEXT, 127)) + size.to_bytes(8, "big")
