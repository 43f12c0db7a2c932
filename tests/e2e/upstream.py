"""A provider whose every byte a test decides: a real server that plays scripts and remembers requests.

A script is what one connection does after it has read one request: bytes are sent as they are, each in a
write of its own; `HANG_UP` closes in order, `RESET` breaks off, `WAIT` goes on when the test says `go`.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["HANG_UP", "RESET", "WAIT", "ScriptedUpstream", "answer", "chunked", "sse", "stream"]

HANG_UP: Final = "hang up"
RESET: Final = "reset"
WAIT: Final = "wait"

_PATIENCE_S: Final = 60.0
_HEAD_END: Final = b"\r\n\r\n"
_LINGER_0: Final = struct.pack("ii", 1, 0)

Step = bytes | str


def answer(
    body: bytes, status: int = 200, content_type: str = "application/json", *headers: str
) -> Sequence[Step]:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status} Simulated", f"content-type: {content_type}", f"content-length: {len(body)}"]
    return ["\r\n".join([*lines, *headers]).encode() + _HEAD_END + body]


def stream(
    parts: Iterable[Step], *, content_type: str = "text/event-stream", ends: bool = True
) -> list[Step]:
    """A chunked answer, every part of bytes a chunk and a write of its own."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked".encode()
    steps: list[Step] = [head + _HEAD_END]
    steps += [chunked(part) if isinstance(part, bytes) else part for part in parts]
    return [*steps, b"0\r\n\r\n"] if ends else steps


def chunked(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(*events: str, end: str = "\n") -> bytes:
    """Events with their blank lines."""
    return "".join(f"data: {event}{end}{end}" for event in events).encode()


class ScriptedUpstream:
    """Listens from the start. Scripts are played in the order in which they were put."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._scripts: deque[Sequence[Step]] = deque()
        self._go = threading.Semaphore(0)
        self._open: list[socket.socket] = []
        self._seen: list[bytes] = []
        self._changed = threading.Condition()
        self.sent_bytes = 0
        threading.Thread(target=self._accept, name="scripted-upstream", daemon=True).start()

    @property
    def url(self) -> str:
        """Where its base URL ends."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def play(self, *scripts: Sequence[Step]) -> None:
        """Play these next; what was left of a test before is forgotten."""
        self._scripts = deque(scripts)
        self._seen.clear()
        self._go = threading.Semaphore(0)
        self.sent_bytes = 0

    def go(self) -> None:
        """Let one `WAIT` pass."""
        self._go.release()

    def requests(self, count: int = 1) -> list[bytes]:
        """The requests since `play`, heads and bodies, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._seen) >= count, _PATIENCE_S), "no request came"
            return list(self._seen)

    def body(self) -> bytes:
        """The body of the one request since `play`."""
        (request,) = self.requests()
        return request.partition(_HEAD_END)[2]

    @property
    def called(self) -> int:
        """How many requests came since `play`."""
        return len(self._seen)

    def stop(self) -> None:
        """Close every socket."""
        self._listener.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            while (request := _read(sock)) is not None:
                script = self._scripts.popleft() if self._scripts else answer(b"{}", 500)
                with self._changed:
                    self._seen.append(request)
                    self._changed.notify_all()
                if not self._perform(sock, script):
                    return
        except OSError:
            pass  # the gateway left, as it may
        finally:
            sock.close()

    def _perform(self, sock: socket.socket, script: Sequence[Step]) -> bool:
        for step in script:
            if isinstance(step, bytes):
                sock.sendall(step)
                self.sent_bytes += len(step)
            elif step == WAIT:
                assert self._go.acquire(timeout=_PATIENCE_S), "the test never said go"
            else:
                if step == RESET:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
                sock.close()
                return False
        return True


def _read(sock: socket.socket) -> bytes | None:
    """One request; None when the other side has left."""
    data = b""
    while _HEAD_END not in data:
        more = sock.recv(65_536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(_HEAD_END)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
    while len(body) < length:
        body += sock.recv(65_536)
    return head + _HEAD_END + body
