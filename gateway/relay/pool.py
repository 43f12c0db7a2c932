"""The connections to one target: idle ones, busy ones, calls that wait, dials under way.

A call takes the idle connection used last, because that one is least likely to be closed by the other
side. Without one it waits, and a connection is dialled on its behalf while the bound allows. Whatever
connection becomes ready first, dialled or given back, serves the call that has waited longest. A dial
that fails fails the call it was begun for, if that still waits.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from itertools import islice

from gateway.relay.calls import Counters, Handle, Limits, Target, UpstreamFailure
from gateway.relay.connection import Connection
from gateway.relay.dialing import Dialer, LookUp, look_up

__all__ = ["Pool"]


class Pool:
    """A `Carrier` for calls without a connection and the `Owner` of the connections."""

    def __init__(
        self,
        target: Target,
        tls: ssl.SSLContext,
        limits: Limits,
        counters: Counters,
        look_up: LookUp = look_up,
    ) -> None:
        self.target = target
        self.limits = limits
        self.counters = counters
        self._dialer = Dialer(target, tls, look_up)
        self._loop = asyncio.get_running_loop()
        # Dicts for their order and their cheap removal from anywhere: the last idle connection and the
        # first waiting call are served next.
        self._idle: dict[Connection, None] = {}
        self._waiting: OrderedDict[Handle, None] = OrderedDict()
        self._dials: dict[Handle, asyncio.Task[None]] = {}
        self._open: set[Connection] = set()
        self._is_closed = False
        self._emptied = asyncio.Event()  # set once closed and without connections

    @property
    def is_quiet(self) -> bool:
        """Nothing is open, waiting or under way."""
        return not (self._open or self._waiting or self._dials)

    @property
    def idle(self) -> int:
        """Connections that wait for a call."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """Connections that carry a call."""
        return len(self._open) - len(self._idle)

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return len(self._waiting)

    def submit(self, handle: Handle) -> None:
        """Put the call on an idle connection now, or let it wait. Calls no listener."""
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.is_usable:
                self.counters.reused += 1
                connection.start(handle)
                return
        self._wait(handle)

    # Carrier: what a handle may do to a call that waits

    def pause(self) -> None:
        """The handle remembers it; its connection will ask."""

    def resume(self) -> None:
        """See `pause`."""

    def drop(self, handle: Handle) -> None:
        self._waiting.pop(handle, None)
        dial_task = self._dials.get(handle)
        if dial_task is not None:
            dial_task.cancel()

    # Owner: what connections tell

    def release(self, connection: Connection) -> None:
        if self._waiting:
            self._serve(connection)
        else:
            self._idle[connection] = None

    def retry(self, handle: Handle) -> None:
        self.counters.retried += 1
        self._wait(handle)

    def discard(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._is_closed and not self._open:
            self._emptied.set()
        self._top_up()

    # Time

    def sweep(self, now: float, read_since: float) -> None:
        """End what was silent for too long by `read_since`, after which every socket has been read.

        Not by `now`: the loop may have stalled since, and what came meanwhile is still in the sockets. See
        `Connection.moved`.
        """
        for connection in list(self._open):
            if connection.moved:
                connection.moved = False
                connection.since = now
            elif read_since - connection.since >= connection.patience:
                connection.expire()
        for handle in list(self._waiting):
            if read_since >= handle.deadline:
                self.drop(handle)
                seconds = f"{handle.timeouts.connect_s:g} s"
                detail = f"No connection to {self.target.authority} within {seconds}."
                handle.fail(UpstreamFailure("connect_timeout", "no", detail))

    def close(self) -> None:
        """End every call, dial and connection, and take no more."""
        self._is_closed = True
        failure = UpstreamFailure("closed", "no", "The gateway is shutting down.")
        for handle in list(self._waiting):
            self.drop(handle)
            handle.fail(failure)
        for task in list(self._dials.values()):
            task.cancel()
        for connection in list(self._open):
            connection.close()

    async def aclose(self) -> None:
        """`close`, and return when the sockets are closed."""
        self.close()
        await asyncio.gather(*self._dials.values(), return_exceptions=True)
        if self._open:
            await self._emptied.wait()

    # Waiting and dialling

    def _wait(self, handle: Handle) -> None:
        handle.carrier = self
        handle.deadline = self._loop.time() + handle.timeouts.connect_s
        room = self.limits.connections - len(self._open) - len(self._dials)
        if self._is_closed:
            self._refuse(handle, "The gateway is shutting down.")
        elif room <= 0 and len(self._waiting) - len(self._dials) >= self.limits.waiting:
            self._refuse(handle, f"All {self.limits.connections} connections to the upstream are busy.")
        else:
            self._waiting[handle] = None
            if room > 0 and handle not in self._dials:
                self._begin_dial(handle)

    def _refuse(self, handle: Handle, detail: str) -> None:
        """Later, since a listener must not be called from inside `send`."""
        self._loop.call_soon(handle.fail, UpstreamFailure("connect", "no", detail))

    def _begin_dial(self, handle: Handle) -> None:
        task = self._loop.create_task(self._dial(handle))
        self._dials[handle] = task
        task.add_done_callback(lambda _: self._dial_ended(handle))

    async def _dial(self, handle: Handle) -> None:
        result = await self._dialer.dial(lambda: Connection(self))
        if isinstance(result, Connection) and not result.is_usable:
            result = UpstreamFailure("closed", "no", "The upstream closed a new connection at once.")
        if isinstance(result, Connection):
            self.counters.opened += 1
            self._open.add(result)
            self.release(result)
            return
        self.counters.failed += 1
        if self._waiting.pop(handle, False) is None:
            handle.fail(result)

    def _dial_ended(self, handle: Handle) -> None:
        # A callback and no `finally`: a task cancelled before its first step runs none of its code.
        del self._dials[handle]
        self._top_up()

    def _serve(self, connection: Connection) -> None:
        handle, _ = self._waiting.popitem(last=False)
        connection.start(handle)

    def _top_up(self) -> None:
        """Dial for calls that wait without a dial of their own, while the bound allows."""
        room = self.limits.connections - len(self._open) - len(self._dials)
        missing = min(room, len(self._waiting) - len(self._dials))
        if missing > 0 and not self._is_closed:
            alone = (handle for handle in self._waiting if handle not in self._dials)
            for handle in list(islice(alone, missing)):
                self._begin_dial(handle)
