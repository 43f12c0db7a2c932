"""A client without manners or cleverness: what came back from a socket, byte by byte."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

from gateway.simulators import SimulatedProviders

__all__ = ["Heard", "call", "connect", "hear", "request_bytes"]

PATHS = {
    "openai": "/openai/v1/chat/completions",
    "deepseek": "/deepseek/v1/chat/completions",
    "azure": "/azure/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
    "anthropic": "/anthropic/v1/messages",
    "gemini": "/gemini/v1beta/models/gemini-2.5-flash:generateContent",
}


@dataclass(frozen=True)
class Heard:
    """Everything a server said, and whether it broke off with a reset."""

    raw: bytes
    reset: bool
    reads: int

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def chunks(self) -> list[bytes]:
        """The HTTP chunks that came whole, the closing empty one included."""
        rest, found = self.raw.partition(b"\r\n\r\n")[2], []
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            found.append(rest[:length])
            rest = rest[length + 2 :]
        return found

    @property
    def body(self) -> bytes:
        if b"transfer-encoding: chunked" in self.head:
            return b"".join(self.chunks)
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def finished(self) -> bool:
        """Whether HTTP says that the body is whole."""
        return self.raw.endswith(b"0\r\n\r\n")


def request_bytes(path: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
    """One POST, after which the server is to close the connection."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"host": "localhost", "connection": "close", "content-length": str(len(data))}
    sent |= {"authorization": "Bearer sk-raw-1234"} | (headers or {})
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def connect(providers: SimulatedProviders) -> socket.socket:
    """An open connection that does not wait for ever."""
    return socket.create_connection((providers.host, providers.port), timeout=60)


def hear(sock: socket.socket) -> Heard:
    """Read until the other side closes or breaks off."""
    parts: list[bytes] = []
    reset = False
    try:
        while part := sock.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        reset = True
    return Heard(b"".join(parts), reset, len(parts))


def call(providers: SimulatedProviders, text: str, *, provider: str = "openai", **fields: Any) -> Heard:
    """Say one thing to a chat model and hear all that comes back."""
    model = "deepseek-chat" if provider == "deepseek" else "gpt-4o"
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    with connect(providers) as sock:
        sock.sendall(request_bytes(PATHS[provider], body))
        return hear(sock)
