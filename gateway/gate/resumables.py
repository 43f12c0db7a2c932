"""The resumable calls of one worker: those that run, and those that ended as long as they are kept.

Memory is bounded: over the bound the finished call that is oldest goes first. A key of idempotency stands for
one call: it is claimed in SQL before anything is sent, and whoever repeats it gets that call.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine

from gateway.domain.errors import BadRequest, Conflict, Ended, GatewayError, NotFound, Unavailable
from gateway.domain.tenancy import AdminKey, VirtualKey
from gateway.gate.directory import Caller
from gateway.gate.gate import Gate
from gateway.gate.inbound import InboundCall
from gateway.gate.resumable import Follower, LogLimits, ResumableCall
from gateway.store.claims import Claim, Verdict, claim, free_claim
from gateway.store.engine import Database
from gateway.store.receipts import entries_of_call

__all__ = ["Elsewhere", "ResumableCalls", "interrupted", "may_see", "unknown_call", "visible"]

KEY_MAX_CHARACTERS = 255
CLAIMED_US = 24 * 3_600_000_000
SWEEP_EVERY_S = 1.0


class Elsewhere(Exception):
    """Another worker has the call; `error` is what to say if that worker does not answer."""

    def __init__(self, call: str, error: GatewayError) -> None:
        super().__init__(call)
        self.call = call
        self.error = error


class ResumableCalls:
    """Begins calls, finds them, forgets them."""

    def __init__(self, gate: Gate, database: Database, limits: LogLimits) -> None:
        self.gate = gate
        self._database = database
        self._limits = limits
        self._calls: dict[str, ResumableCall] = {}  # in the order of their admission
        self._running: set[ResumableCall] = set()
        self._until_s: dict[str, float] = {}  # until when they are kept, in the order of their ends
        self._ended_bytes = 0
        # What a key stands for, with the hash of what was asked.
        self._keyed: dict[tuple[str, str], tuple[ResumableCall, bytes]] = {}
        self._names: dict[ResumableCall, tuple[str, str]] = {}
        self._claiming: dict[tuple[str, str], asyncio.Event] = {}

    # Finding.

    def find(self, call: str) -> ResumableCall | None:
        """A call that is still kept."""
        return self._calls.get(call)

    # Beginning.

    def begin(self, inbound: InboundCall, follower: Follower, *, is_socket: bool) -> ResumableCall:
        """A new call, followed from its start; it is under way."""
        call = self._make(inbound, is_socket=is_socket)
        call.follow(follower, 0)
        call.exchange.begin()
        return call

    async def begin_keyed(
        self, caller: Caller, key: str, inbound: InboundCall, follower: Follower, *, is_socket: bool
    ) -> ResumableCall:
        """The call that this key stands for: a new one, or the one there is, followed from its start.

        Raises Elsewhere when another worker has it, Ended when its answer is gone, Conflict
        (`idempotency_mismatch`) for a key that was used for something else, Unavailable while SQL is away.
        """
        if not 0 < len(key) <= KEY_MAX_CHARACTERS:
            raise BadRequest(
                "invalid_value",
                f"An Idempotency-Key has 1 to {KEY_MAX_CHARACTERS} characters.",
                hint="A UUID is a good one.",
                param="Idempotency-Key",
            )
        name = (caller.key.charged_to, key)
        asked = hashlib.sha256(b"%b\n%d\n%b" % (inbound.path.encode(), is_socket, inbound.body)).digest()
        # One at a time: who comes second finds what the first has made.
        while (busy := self._claiming.get(name)) is not None:
            await busy.wait()
        known = self._keyed.get(name)
        if known is not None:
            if known[1] != asked:
                raise _mismatch()
            known[0].follow(follower, 0)
            return known[0]
        done = self._claiming[name] = asyncio.Event()
        try:
            return await self._claim(name, asked, inbound, follower, is_socket=is_socket)
        finally:
            del self._claiming[name]
            done.set()

    async def _claim(
        self,
        name: tuple[str, str],
        asked: bytes,
        inbound: InboundCall,
        follower: Follower,
        *,
        is_socket: bool,
    ) -> ResumableCall:
        gate = self.gate
        gate.check_open()
        call_id = gate.new_call_id()
        journal, now_us = gate.ledger.journal_id, gate.clock.now_us()
        wanted = Claim(*name, asked, call_id, journal, now_us + CLAIMED_US)
        verdict = await self._database.write(claim, wanted, now_us)
        if verdict.kind == "running" and verdict.journal == journal and await self._was_refused(verdict.call):
            # A refusal whose claim could not be freed.
            await self._database.write(free_claim, *name, verdict.call)
            verdict = await self._database.write(claim, wanted, now_us)
        _check(verdict, journal)
        call = self._make(inbound, is_socket=is_socket)
        call.exchange.call_id = call_id
        self._keyed[name] = (call, asked)
        self._names[call] = name
        call.follow(follower, 0)
        call.exchange.begin()
        return call

    async def _was_refused(self, call: str) -> bool:
        """Whether nothing was made of a call of this worker that is not kept: no attempt, or void ones."""
        # The journal is looked at first: what is posted meanwhile is in both, never in neither.
        if self.gate.running(call) is not None or self.gate.ledger.unposted(call):
            return False
        entries = await self._database.read(entries_of_call, call)
        return all(entry.outcome == "void" for entry in entries)

    def _make(self, inbound: InboundCall, *, is_socket: bool) -> ResumableCall:
        return ResumableCall(
            self.gate,
            self._limits,
            inbound,
            self._changed,
            is_chat=inbound.format.name == "openai_chat",
            keeps_bytes=not is_socket,
        )

    # Keeping.

    def _changed(self, call: ResumableCall) -> None:
        if call.is_over:
            self._over(call)
        else:
            self._calls[call.call] = call
            self._running.add(call)

    def _over(self, call: ResumableCall) -> None:
        name = self._names.get(call)
        if name is not None and call.is_refused:
            self._forget_name(call)
            self._spawn(self._free(name, call.exchange.call_id))
        if call.call:
            self._running.discard(call)
            self._until_s[call.call] = self.gate.loop.time() + self._limits.keep_s
            self._ended_bytes += call.size
            self._forget(self._limits.all_bytes)

    async def run(self) -> None:
        """Keep the bounds, for ever."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            self.sweep()

    def sweep(self) -> None:
        """Forget what was kept for long enough, and what there is no room for."""
        running_bytes = sum(call.size for call in self._running)
        self._forget(self._limits.all_bytes - running_bytes)
        for call in sorted(self._running, key=lambda each: each.size, reverse=True):
            if running_bytes <= self._limits.all_bytes:
                return
            running_bytes -= call.size
            call.trim()
            running_bytes += call.size

    def _forget(self, most_bytes: int) -> None:
        """Let calls that ended go, the oldest first, until the rest is young enough and takes no more."""
        now_s = self.gate.loop.time()
        for call_id, until_s in tuple(self._until_s.items()) if self._is_due(now_s, most_bytes) else ():
            if until_s > now_s and self._ended_bytes <= most_bytes:
                return
            del self._until_s[call_id]
            call = self._calls.pop(call_id)
            self._ended_bytes -= call.size
            self._forget_name(call)

    def _is_due(self, now_s: float, most_bytes: int) -> bool:
        return bool(self._until_s) and (
            self._ended_bytes > most_bytes or next(iter(self._until_s.values())) <= now_s
        )

    def _forget_name(self, call: ResumableCall) -> None:
        name = self._names.pop(call, None)
        if name is not None:
            del self._keyed[name]

    async def _free(self, name: tuple[str, str], call: str) -> None:
        try:
            await self._database.write(free_claim, *name, call)
        except Unavailable:
            pass  # whoever repeats the key finds that the call was never sent

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self.gate.loop.create_task(work)
        self.gate.tasks.add(task)
        task.add_done_callback(self.gate.tasks.discard)


def _check(verdict: Verdict, journal: str) -> None:
    """Raise unless the claim is ours."""
    if verdict.kind == "mismatch":
        raise _mismatch()
    if verdict.kind == "interrupted":
        raise interrupted(verdict.call)
    if verdict.kind == "mine":
        return
    used = Conflict(
        "idempotency_conflict",
        "This Idempotency-Key was used, and the answer is not kept any more.",
        hint=f"GET /v1/calls/{verdict.call} has the receipt; take a new key to ask again.",
        fields={"call": verdict.call},
    )
    if verdict.journal == journal:
        raise used
    raise Elsewhere(verdict.call, used if verdict.kind == "ended" else interrupted(verdict.call))


def interrupted(call: str) -> Ended:
    """The worker of a call died."""
    return Ended(
        "interrupted",
        "The worker that made this call died, and its answer with it; what was relayed is charged.",
        hint=f"GET /v1/calls/{call} has the receipt.",
        fields={"call": call},
    )


def _mismatch() -> GatewayError:
    return Conflict(
        "idempotency_mismatch",
        "This Idempotency-Key was used for another request.",
        hint="Use a new key for a new request; a repeat must be the same to the byte.",
        param="Idempotency-Key",
    )


def visible(call: ResumableCall, reader: AdminKey | VirtualKey) -> ResumableCall:
    """The call, if it is this reader's business; else it is like one that does not exist."""
    if not may_see(reader, call.key, call.account):
        raise unknown_call()
    return call


def may_see(reader: AdminKey | VirtualKey, key: str, account: str) -> bool:
    """Whether a call is this reader's business: its own, its account's if the key says so, an admin's."""
    if isinstance(reader, AdminKey):
        return True
    return key == reader.charged_to or (reader.sees_account and account == reader.account)


def unknown_call() -> NotFound:
    """No such call, as far as this reader is concerned."""
    return NotFound("call_not_found", "There is no such call.", hint="A call's id is in its first frame.")
