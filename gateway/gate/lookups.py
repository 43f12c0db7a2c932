"""Asking an upstream for something that costs nothing: an answer it keeps, its end, its items.

Such a request holds nothing and settles nothing; what it tells of a call that is still to be settled is for
`gate.background`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from gateway.domain.errors import UpstreamFailed
from gateway.gate.inbound import Headers
from gateway.gate.plans import Upstream
from gateway.relay.calls import Handle, UpstreamFailure
from gateway.relay.client import Client
from gateway.relay.headers import headers_up
from gateway.relay.requests import build_request

__all__ = ["Asked", "Lookup", "ask", "request_for"]

FORMAT: Final = "openai_responses"
# What has arrived and nobody has taken yet, before the upstream is told to wait.
_WAITING_MAX: Final = 32


class Asked(NamedTuple):
    """What the upstream said."""

    status: int
    headers: Headers
    body: bytes


def request_for(
    upstream: Upstream,
    method: str,
    id_: str,
    suffix: str = "",
    query: Iterable[tuple[str, str]] = (),
    headers: Headers = (),
) -> bytes:
    """A request about one stored answer. `suffix` follows its address; `headers` are the client's own."""
    path = upstream.provider.path(FORMAT, upstream.base_path, "", upstream.api_version)
    path, _, fixed = path.partition("?")
    parameters = "&".join(filter(None, (fixed, urlencode(list(query)))))
    address = f"{path}/{quote(id_, safe='')}{suffix}" + (f"?{parameters}" if parameters else "")
    sent: Mapping[bytes, bytes] = {
        **dict(upstream.provider.default_headers),
        **dict(headers_up(headers)),
        **dict(upstream.credential_headers),
    }
    return build_request(method, address, upstream.host, sent.items(), b"")


async def ask(client: Client, upstream: Upstream, request: bytes, limit_bytes: int) -> Asked:
    """The whole answer. Raises UpstreamFailed when there is none, or one beyond the limit."""
    lookup = Lookup(client, upstream, request)
    try:
        status, headers = await lookup.head()
        parts, size = [], 0
        async for part in lookup.parts():
            parts.append(part)
            size += len(part)
            if size > limit_bytes:
                raise _failed(f"{upstream.provider.title} sent more than {limit_bytes} bytes.")
        return Asked(status, headers, b"".join(parts))
    finally:
        lookup.cancel()


class Lookup:
    """One request under way; it is the relay's Listener. Whoever made it cancels it in the end."""

    def __init__(self, client: Client, upstream: Upstream, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._title = upstream.provider.title
        self._head: asyncio.Future[tuple[int, Headers]] = loop.create_future()
        self._parts: asyncio.Queue[bytes | UpstreamFailed | None] = asyncio.Queue()
        self._handle: Handle = client.send(upstream.target, request, self, upstream.timeouts)

    async def head(self) -> tuple[int, Headers]:
        """Status and headers; raises UpstreamFailed when they never come."""
        return await self._head

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it arrives; raises UpstreamFailed when it breaks off."""
        while (part := await self._parts.get()) is not None:
            if isinstance(part, UpstreamFailed):
                raise part
            if self._parts.qsize() < _WAITING_MAX:
                self._handle.resume()
            yield part

    def cancel(self) -> None:
        """Nothing more is wanted; harmless once all has come."""
        self._handle.cancel()

    # The relay's Listener.

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the answer."""
        if not self._head.done():
            self._head.set_result((status, headers))

    def on_data(self, data: bytes) -> None:
        """A part of the body."""
        self._parts.put_nowait(data)
        if self._parts.qsize() >= _WAITING_MAX:
            self._handle.pause()

    def on_end(self) -> None:
        """The body is complete."""
        self._parts.put_nowait(None)

    def on_failed(self, failure: UpstreamFailure) -> None:
        """There is no complete answer."""
        error = _failed(f"{self._title} could not be reached or went away.")
        if not self._head.done():
            self._head.set_exception(error)
        self._parts.put_nowait(error)


def _failed(message: str) -> UpstreamFailed:
    return UpstreamFailed("upstream_unavailable", message, hint="Try again.")
