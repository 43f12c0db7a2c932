"""Load on one core: idle sockets, and streams of stamped tokens over one kind of connection.

    python -m bench.socket_load PORT KEY --way ws|sse|fresh --idle 1000 --streams 300 --seconds 6

Prints `idle` once the idle sockets are open and waits for a line; then prints one JSON object: the delay
between the upstream's sending of a token (its stamp) and its arrival here, in microseconds. `sse` keeps its
connections, `fresh` makes one for each call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["main"]

STAMP: Final = re.compile(rb'"content":"t(\d+) ')
# Longer than a stamp and what stands before it: it may be cut by a read.
SEAM_BYTES: Final = 48
RAMP_S: Final = 2.0
MODEL: Final = "mock-n100-i20000-t"
BODY: Final = json.dumps(
    {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 200,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
).encode()
UPGRADE: Final = (
    b"GET /v1/chat/completions/stream HTTP/1.1\r\nhost: bench\r\n"
    b"upgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"authorization: Bearer %b\r\n\r\n"
)
POST: Final = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n"
)
# What the last piece of an answer contains.
LAST: Final = {"ws": b'"usage":{', "sse": b"data: [DONE]", "fresh": b"data: [DONE]"}


class Stream(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, way: str, key: bytes, take: Callable[[int], None]) -> None:
        self._way = way
        self._key = key
        self._take = take
        self._seam = b""
        self._is_up = way != "ws"
        self._transport: asyncio.Transport | None = None
        self.answers = 0
        self.is_over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._is_up:
            self._ask()
        else:
            transport.write(UPGRADE % self._key)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_over.done():
            self.is_over.set_result(None)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if not self._is_up:
            self._is_up = b"\r\n\r\n" in data
            self._ask()
            return
        seen = self._seam + data
        end = 0
        for match in STAMP.finditer(seen):
            end = match.end()
            self._take(now_ns - int(match[1]))
        self._seam = seen[max(end, len(seen) - SEAM_BYTES) :]
        if LAST[self._way] in seen:
            self._seam = b""
            self.answers += 1
            if self._way == "fresh":
                self.close()
            else:
                self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        if self._way == "ws":
            # A masked text frame (RFC 6455 5.2); the mask is zeros.
            self._transport.write(bytes((0x81, 0x80 | 126)) + len(BODY).to_bytes(2, "big") + bytes(4) + BODY)
        else:
            self._transport.write(POST % (self._key, len(BODY)) + BODY)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


async def load(arguments: argparse.Namespace) -> dict[str, Any]:
    """Open the idle sockets, wait for the word, run the streams."""
    loop, key = asyncio.get_running_loop(), arguments.key.encode()
    idle = [await _idle(arguments.port, key) for _ in range(arguments.idle)]
    sys.stdout.write("idle\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.readline)
    delays: list[int] = []
    begins = loop.time() + RAMP_S
    ends = begins + arguments.seconds

    def take(delay_ns: int) -> None:
        if loop.time() >= begins:
            delays.append(delay_ns)

    async def run() -> int:
        await asyncio.sleep(random.uniform(0, RAMP_S))
        answers = 0
        while loop.time() < ends:
            _, stream = await loop.create_connection(
                lambda: Stream(arguments.way, key, take), "127.0.0.1", arguments.port
            )
            await asyncio.wait([stream.is_over], timeout=ends - loop.time())
            answers += stream.answers
            stream.close()
        return answers

    answers = await asyncio.gather(*(run() for _ in range(arguments.streams)))
    for writer in idle:
        writer.transport.abort()
    marks = statistics.quantiles(delays, n=100)
    return {
        "answers": sum(answers),
        "frames_per_s": len(delays) / arguments.seconds,
        "p50_us": marks[49] / 1e3,
        "p99_us": marks[98] / 1e3,
    }


async def _idle(port: int, key: bytes) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE % key)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in head:
        raise SystemExit(f"bench: no socket: {head.decode()}")
    return writer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("key")
    parser.add_argument("--way", choices=list(LAST), required=True)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=6)
    sys.stdout.write(json.dumps(asyncio.run(load(parser.parse_args()))))


if __name__ == "__main__":
    main()
