"""One request to another worker, over a connection of its own: a socket file, or the address of its machine.

Seldom, so simple: a stream whose reader decides the pace. What the other worker says is HTTP/1.1 as this
gateway writes it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from gateway.relay.calls import Target

__all__ = ["Door", "Reply", "knock"]

CONNECT_S: Final = 2.0
HEAD_BYTES_MAX: Final = 64 * 1024
PART_BYTES: Final = 64 * 1024


class Door(NamedTuple):
    """Where a worker listens for the others: a socket file, or a machine's address."""

    path: str = ""
    target: Target | None = None

    @property
    def host(self) -> str:
        """What stands in the request's Host header."""
        return "worker" if self.target is None else self.target.authority


class Reply:
    """An answer under way. Whoever has it closes it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: Sequence[bytes]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.status = int(head[0].partition(b" ")[2][:3])
        pairs = (line.partition(b":") for line in head[1:] if line)
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]

    @property
    def length(self) -> int | None:
        """The size of the body where it was told; a streamed one has none."""
        return next((int(value) for name, value in self.headers if name == b"content-length"), None)

    async def body(self) -> bytes:
        """All of it."""
        return b"".join([part async for part in self.parts()])

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises OSError or EOFError when it breaks off."""
        length = self.length
        if length is not None:
            yield await self._reader.readexactly(length)
            return
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]

    def close(self) -> None:
        """Nothing more is wanted."""
        self._writer.transport.abort()


async def knock(door: Door, request: bytes, patience_s: float) -> Reply | None:
    """Send a whole request; None when nobody is there or no answer begins in time."""
    writer = None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await _connect(door)
        writer.write(request)
        async with asyncio.timeout(patience_s):
            head = await reader.readuntil(b"\r\n\r\n")
        return Reply(reader, writer, head[:-4].split(b"\r\n"))
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        if writer is not None:
            writer.transport.abort()
        return None
    except BaseException:
        if writer is not None:
            writer.transport.abort()
        raise


async def _connect(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    target = door.target
    if target is None:
        return await asyncio.open_unix_connection(door.path, limit=HEAD_BYTES_MAX)
    tls = ssl.create_default_context() if target.scheme == "https" else None
    return await asyncio.open_connection(target.host, target.port, ssl=tls, limit=HEAD_BYTES_MAX)
