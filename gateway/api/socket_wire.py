"""The WebSocket protocol of the gateway's connections: uvicorn's, which leaves the goodbye to the endpoint.

When the server stops, uvicorn would close every socket at once (1012). Here the endpoint hears of it through
`LEAVING` in its scope, lets the answers under way finish, and then closes with 1001.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

__all__ = ["LEAVING", "GatewaySockets"]

LEAVING: Final = "tollgate.leaving"
LINGER_S: Final = 2.0


class GatewaySockets(WebSocketsSansIOProtocol):
    """One socket."""

    _leaving: asyncio.Event | None = None

    def handle_connect(self, event: Any) -> None:
        """Begin the endpoint's task; it runs in the next step of the loop."""
        super().handle_connect(event)
        if getattr(self, "scope", None) is not None:
            self._leaving = asyncio.Event()
            self.scope[LEAVING] = self._leaving  # type: ignore[typeddict-unknown-key]

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
        if self.handshake_complete and self._leaving is not None and not self.close_sent:
            self._leaving.set()
        else:
            super().shutdown()
