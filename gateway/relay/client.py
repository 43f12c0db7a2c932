"""The upstream client: sends calls, keeps connections, watches the clock.

While a connection to the target is idle, a call costs no task, no future and no await: `send` writes the
request, and the listener hears of the response from inside the loop's read callback. Timeouts cost no
timer per call or per chunk: one sweep looks at all connections (see `Limits.tick_s`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.relay.calls import Counters, Handle, Limits, Listener, Request, Target, Timeouts
from gateway.relay.dialing import LookUp, look_up
from gateway.relay.pool import Pool

__all__ = ["Client"]

_READING_S: Final = 0.001  # the shortest wait that both event loops spend in their selector


class Client:
    """Makes HTTP/1.1 calls to upstreams. Lives on one event loop, and is made while that runs."""

    def __init__(
        self,
        limits: Limits,
        ca_file: str | None = None,
        look_up: LookUp = look_up,
        connections: Mapping[Target, int] | None = None,
    ) -> None:
        """`ca_file` holds further trusted CAs in PEM, beside the system's. Certificates are always verified.
        `look_up` says to which addresses a target may be connected, and nothing else is. `connections` are
        the bounds of targets that have one of their own.

        Raises OSError (an ssl.SSLError is one) for a file that cannot be read.
        """
        self.limits = limits
        self.counters = Counters()
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        if ca_file is not None:
            self._tls.load_verify_locations(ca_file)
        self._look_up = look_up
        self._connections = dict(connections or {})
        self._loop = asyncio.get_running_loop()
        self._pools: dict[Target, Pool] = {}
        self._ticking: asyncio.TimerHandle | None = None  # None while there is nothing to watch
        self._is_closed = False

    @property
    def pools(self) -> list[Pool]:
        """One pool per target so far, for the metrics."""
        return list(self._pools.values())

    def send(self, target: Target, request: Request, listener: Listener, timeouts: Timeouts) -> Handle:
        """Begin a call: `request` is a whole HTTP/1.1 request (see `build_request`), in pieces or not.

        The listener hears everything later, never from inside this method. A GET or HEAD that loses its
        re-used connection is sent once more; anything else only while it cannot have been processed.
        """
        handle = Handle(request, listener, timeouts)
        pool = self._pools.get(target)
        if pool is None:
            pool = self._open_pool(target)
        pool.submit(handle)
        if self._ticking is None and not self._is_closed:
            self._ticking = self._loop.call_later(self.limits.tick_s, self._tick)
        return handle

    async def aclose(self) -> None:
        """Fail what runs, close every connection, and return when the sockets are closed."""
        self._is_closed = True
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.gather(*(pool.aclose() for pool in self._pools.values()))

    def _open_pool(self, target: Target) -> Pool:
        most = self._connections.get(target, self.limits.connections)
        limits = replace(self.limits, connections=most)
        pool = self._pools[target] = Pool(target, self._tls, limits, self.counters, self._look_up)
        if self._is_closed:
            pool.close()
        return pool

    def _tick(self) -> None:
        """Let the loop read its sockets once more: after a stall, what seems silent may have spoken."""
        self._ticking = self._loop.call_later(_READING_S, self._sweep, self._loop.time())

    def _sweep(self, ticked: float) -> None:
        self._ticking = self._loop.call_later(self.limits.tick_s, self._tick)
        now = self._loop.time()
        for pool in self.pools:
            pool.sweep(now, ticked)
        if all(pool.is_quiet for pool in self._pools.values()):
            self._ticking.cancel()
            self._ticking = None
