"""A client that writes its own bytes and keeps all that comes back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

from tests.running import Gateway
from tests.simulators.raw import Heard, hear

__all__ = ["CHAT", "connect", "request", "say"]

CHAT: Final = "/v1/chat/completions"
_PATIENCE_S: Final = 60.0


def request(
    key: str,
    body: Any = None,
    *,
    method: str = "POST",
    path: str = CHAT,
    headers: Mapping[str, str] | None = None,
    close: bool = True,
) -> bytes:
    """A whole request; bytes are sent as they are."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = {"host": "gateway", "content-type": "application/json", "content-length": str(len(data))}
    sent |= {"authorization": f"Bearer {key}"} if key else {}
    sent |= {"connection": "close"} if close else {}
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in (sent | dict(headers or {})).items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def connect(gateway: Gateway) -> socket.socket:
    """An open connection that does not wait for ever."""
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=_PATIENCE_S)


def say(gateway: Gateway, data: bytes, *more: bytes, pause_s: float = 0.0) -> Heard:
    """Send these bytes (with pauses between the pieces) and hear all that comes back."""
    with connect(gateway) as sock:
        try:
            for number, piece in enumerate((data, *more)):
                if number and pause_s:
                    time.sleep(pause_s)
                sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the gateway has heard enough; what it says counts
        return hear(sock)
