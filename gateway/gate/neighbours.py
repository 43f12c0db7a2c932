"""Calls that other workers have: asked for over a socket file on this machine, by address on another.

A call's id names the journal, and so the worker, it was admitted in. The other worker is asked as any client
would ask it, with the client's own key; it decides who may see what. What a worker that is gone has left is
read from the ledger.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.domain.errors import Ended, GatewayError, NotFound, Unauthenticated, Unavailable
from gateway.domain.ids import journal_of
from gateway.domain.tenancy import AdminKey, VirtualKey
from gateway.formats.sse import EventReader
from gateway.gate.gate import Gate
from gateway.gate.inbound import Headers, InboundCall
from gateway.gate.resumable import gone
from gateway.gate.resumables import interrupted, may_see, unknown_call
from gateway.relay.calls import Target
from gateway.relay.neighbour import Door, Reply, knock
from gateway.relay.requests import build_request
from gateway.store.doors import Whereabouts, close_door, open_door, whereabouts
from gateway.store.engine import Database
from gateway.store.receipts import entries_of_call

__all__ = ["HOP", "Neighbours", "hops_of"]

# How often a request was passed on: a worker asks a machine, the machine asks its worker, and no further.
HOP: Final = b"x-tollgate-hop"
HOPS_MAX: Final = 2
# A request waits for an answer to begin as long as a provider may think.
PATIENCE_S: Final = 600.0
ASK_PATIENCE_S: Final = 10.0
# How long, and how often, to look for what a dead worker's adopter is about to post.
LOOKS: Final = 50
LOOK_S: Final = 0.1
_DONE: Final = b"[DONE]"
_JOURNAL: Final = slice(5, 16)
_OF_CONNECTION: Final = (b"host", b"connection", b"content-length", b"transfer-encoding", b"expect", HOP)


class Neighbours:
    """The other workers, as one worker reaches them."""

    def __init__(self, gate: Gate, database: Database, folder: Path) -> None:
        """`folder` has the socket files of this machine's workers."""
        self._gate = gate
        self._database = database
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        short = Path(f"/proc/self/fd/{self._fd}")
        # A socket's address has 107 bytes at most; a data directory's path may be longer.
        self._folder = short if short.exists() else folder
        self._own: str = gate.ledger.journal_id

    # This worker's own door.

    def listen(self) -> socket.socket:
        """A socket that the workers of this machine can reach this one by."""
        for left in self._folder.glob("*.sock"):
            _clear_away(left)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.bind(str(self._path(self._own)))
        return door

    async def announce(self, address: str) -> None:
        """Tell those of other machines where this one is reached."""
        if address:
            await self._database.write(open_door, self._own, address)

    async def leave(self) -> None:
        """Be reached no more."""
        self._path(self._own).unlink(missing_ok=True)
        os.close(self._fd)
        with suppress(Unavailable):
            await self._database.write(close_door, self._own)

    def _path(self, journal: str) -> Path:
        return self._folder / f"{journal}.sock"

    # Asking.

    async def events(
        self, call: str, after: int, authorization: bytes, hops: int = 0
    ) -> AsyncIterator[bytes] | None:
        """The events after this one, raw and with their blank lines; None when nobody can be asked.

        Raises what the other worker said no with.
        """
        reply = await self._get("GET", f"/v1/calls/{call}/events?after={after}", call, authorization, hops)
        if reply is None:
            return None
        if reply.status != 200:
            raise await _refusal(reply)
        return _whole(reply)

    async def frames(self, call: str, after: int, authorization: bytes) -> AsyncIterator[bytes] | None:
        """The same as the frames themselves, ending as the call did; raises Ended when its worker dies."""
        events = await self.events(call, after, authorization)
        return None if events is None else self._frames(call, events)

    async def _frames(self, call: str, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        reader = EventReader()
        async for data in events:
            for _, event in reader.feed(data):
                if event is None:
                    continue
                if event.data == _DONE:
                    return
                yield event.data
        raise interrupted(call)

    async def cancel(self, call: str, authorization: bytes, hops: int = 0) -> bytes | None:
        """Have a call cancelled: what its worker says; None when nobody can be asked."""
        reply = await self._get("POST", f"/v1/calls/{call}/cancel", call, authorization, hops)
        if reply is None:
            return None
        if reply.status != 200:
            raise await _refusal(reply)
        try:
            return await reply.body()
        finally:
            reply.close()

    async def repeat(self, call: str, inbound: InboundCall) -> Reply | None:
        """Have the worker that has a call answer a request that repeats it."""
        headers = [pair for pair in inbound.headers if pair[0] not in _OF_CONNECTION]
        return await self._ask("POST", inbound.path, call, headers, inbound.body, hops_of(inbound.headers))

    async def _get(self, method: str, path: str, call: str, authorization: bytes, hops: int) -> Reply | None:
        return await self._ask(method, path, call, [(b"authorization", authorization)], b"", hops)

    async def _ask(
        self, method: str, path: str, call: str, headers: Headers, body: bytes, hops: int
    ) -> Reply | None:
        if journal_of(call) is None or call[_JOURNAL] == self._own or hops >= HOPS_MAX:
            return None
        here = self._path(call[_JOURNAL])
        if here.exists():
            # It is the worker itself, or was: nobody is asked after it.
            return await self._knock(Door(str(here)), method, path, headers, body, HOPS_MAX)
        known = await self._database.read(whereabouts, call[_JOURNAL])
        if known is None or not known.address or known.state != "live" or hops:
            return None
        target, _ = Target.parse(known.address)
        return await self._knock(Door(target=target), method, path, headers, body, 1)

    async def _knock(
        self, door: Door, method: str, path: str, headers: Headers, body: bytes, hops: int
    ) -> Reply | None:
        sent = [*headers, (HOP, b"%d" % hops)]
        patience_s = PATIENCE_S if body else ASK_PATIENCE_S
        return await knock(door, build_request(method, path, door.host, sent, body), patience_s)

    # What became of a call.

    async def fate(self, call: str, reader: AdminKey | VirtualKey) -> GatewayError:
        """Why nobody has the answer of a call, as far as this reader may know that there is such a call."""
        if journal_of(call) is None:
            return unknown_call()
        running = self._gate.running(call)
        if running is not None:
            return gone(call) if may_see(reader, running.key, running.account) else unknown_call()
        for _ in range(LOOKS):
            found = await self._outcome(call)
            if found is not None:
                key, account, outcome = found
                if not may_see(reader, key, account):
                    return unknown_call()
                return interrupted(call) if outcome == "interrupted" else gone(call)
            known: Whereabouts | None = await self._database.read(whereabouts, call[_JOURNAL])
            if known is None or known.state != "live" or call[_JOURNAL] == self._own:
                return unknown_call()
            await asyncio.sleep(LOOK_S)
        return Unavailable(
            "ledger_unavailable",
            "The worker that has this call cannot be reached.",
            hint="Try again: its calls are in the ledger soon.",
            retry_after_s=1,
        )

    async def _outcome(self, call: str) -> tuple[str, str, str] | None:
        for facts, closing, _ in self._gate.ledger.unposted(call):
            return facts.key, facts.account, closing.outcome
        rows = await self._database.read(entries_of_call, call)
        return (rows[-1].key, rows[-1].account, rows[-1].outcome) if rows else None


def hops_of(headers: Headers) -> int:
    """How often a request was passed on."""
    for name, value in headers:
        if name == HOP:
            return int(value) if value.isdigit() and len(value) < 3 else HOPS_MAX
    return 0


async def _whole(reply: Reply) -> AsyncIterator[bytes]:
    """The body; one that breaks off just ends."""
    try:
        with suppress(OSError, EOFError, ValueError):
            async for part in reply.parts():
                yield part
    finally:
        reply.close()


class _Error(msgspec.Struct):
    message: str
    tollgate: _Tollgate


class _Tollgate(msgspec.Struct):
    code: str
    hint: str = ""


class _Refused(msgspec.Struct):
    error: _Error


async def _refusal(reply: Reply) -> GatewayError:
    """What another worker said no with, to be said again here."""
    try:
        said = msgspec.json.decode(await reply.body(), type=_Refused).error
    except (msgspec.MsgspecError, OSError, EOFError, ValueError):
        return Unavailable("ledger_unavailable", "Another worker has this call and cannot tell of it.")
    finally:
        reply.close()
    for kind in (NotFound, Ended, Unauthenticated, Unavailable):
        if said.tollgate.code in kind.codes:
            return kind(said.tollgate.code, said.message, hint=said.tollgate.hint)
    return Unavailable("ledger_unavailable", said.message, hint=said.tollgate.hint)


def _clear_away(path: Path) -> None:
    """Remove the socket file of a worker that died."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            pass
