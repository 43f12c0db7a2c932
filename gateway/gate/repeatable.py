"""A call over HTTP with an Idempotency-Key: whoever sends it again gets the same bytes."""

from __future__ import annotations

import asyncio

from gateway.domain.errors import Ended, GatewayError, Unauthenticated
from gateway.gate.admission import check_caller
from gateway.gate.directory import Caller
from gateway.gate.exchange import Exchange
from gateway.gate.gate import Gate
from gateway.gate.inbound import (
    Downstream,
    InboundCall,
    credential_of,
    fingerprint_of,
    header,
    reply_refusal,
)
from gateway.gate.neighbours import Neighbours
from gateway.gate.resumable import Head, ResumableCall
from gateway.gate.resumables import Elsewhere, ResumableCalls
from gateway.relay.neighbour import Reply

__all__ = ["RepeatableCall", "caller_of", "exchange_of"]

IDEMPOTENCY_KEY = b"idempotency-key"
PIECES_AT_ONCE = 64
_OF_CONNECTION = (b"connection", b"content-length", b"transfer-encoding", b"date", b"server")


class RepeatableCall:
    """One request; it follows a resumable call and writes its bytes to the client."""

    def __init__(
        self, calls: ResumableCalls, neighbours: Neighbours, inbound: InboundCall, downstream: Downstream
    ) -> None:
        self._calls = calls
        self._neighbours = neighbours
        self._inbound = inbound
        self._downstream: Downstream | None = downstream  # None once the client is gone or has its end
        self._call: ResumableCall | None = None
        self._task: asyncio.Task[None] | None = None
        self._head: Head | None = None  # once the client has it
        self._position = 0
        self._caught_up = asyncio.Event()
        self._caught_up.set()

    @property
    def is_slow(self) -> bool:
        """The client has more to read than it should."""
        return not self._caught_up.is_set()

    # From the connection.

    def begin(self) -> None:
        """Find out whose the key is and what it stands for."""
        gate = self._calls.gate
        self._task = task = gate.loop.create_task(self._begin())
        gate.tasks.add(task)
        task.add_done_callback(self._begun)

    async def _begin(self) -> None:
        key = header(self._inbound.headers, IDEMPOTENCY_KEY) or b""
        caller = await caller_of(self._calls, credential_of(self._inbound.headers))
        text = key.decode("latin-1").strip()
        try:
            call = await self._calls.begin_keyed(caller, text, self._inbound, self, is_socket=False)
        except Elsewhere as there:
            reply = await self._neighbours.repeat(there.call, self._inbound)
            if reply is None:
                raise there.error from None
            await self._pass_on(reply)
            return
        if self._downstream is None:
            call.leave(self)
            return
        self._call = call
        self.wake()

    async def _pass_on(self, reply: Reply) -> None:
        """Give the client what the worker that has the call answers."""
        headers = [pair for pair in reply.headers if pair[0] not in _OF_CONNECTION]
        try:
            if reply.length is not None:
                body = await reply.body()
                if self._downstream is not None:
                    self._downstream.reply(reply.status, headers, body)
            elif self._downstream is not None:
                self._downstream.start(reply.status, headers)
                await self._pass_on_stream(reply)
        finally:
            self._downstream = None
            reply.close()

    async def _pass_on_stream(self, reply: Reply) -> None:
        try:
            async for part in reply.parts():
                if self._downstream is not None:
                    self._downstream.write(part)
                await self._caught_up.wait()
        except (OSError, EOFError, ValueError):
            # Its worker died: the missing end says so.
            if self._downstream is not None:
                self._downstream.abort()
        else:
            if self._downstream is not None:
                self._downstream.end(b"")

    def _begun(self, task: asyncio.Task[None]) -> None:
        self._calls.gate.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if not isinstance(error, GatewayError):
            self._calls.gate.crashed("", error)
            error = Ended("answer_gone", "The gateway failed on this call.", hint="It has been logged.")
        downstream, self._downstream = self._downstream, None
        if downstream is not None:
            reply_refusal(downstream, error, self._inbound.format.dialect)

    def client_gone(self) -> None:
        """The client hung up; the call goes on for its grace time."""
        self._downstream = None
        if self._call is not None:
            self._call.leave(self)
        elif self._task is not None:
            self._task.cancel()

    def pause(self) -> None:
        """The client reads slower than the answer comes."""
        self._caught_up.clear()
        if self._call is not None:
            self._call.pace()

    def resume(self) -> None:
        """The client has caught up."""
        self._caught_up.set()
        if self._call is not None:
            self.wake()
            self._call.pace()

    # From the call (it is a Follower).

    def wake(self) -> None:
        """Write what there is; nothing before `begin` has found the call."""
        call, downstream = self._call, self._downstream
        if call is None or downstream is None:
            return
        if call.head is None:
            if call.is_over:
                self._finish(call)
                ended = Ended("cancelled", "The call was cancelled before it was answered.")
                reply_refusal(downstream, ended, self._inbound.format.dialect)
        elif call.head.is_whole:
            if call.is_over:
                self._finish(call)
                downstream.reply(call.head.status, call.head.headers, b"".join(self._pieces(call, 1)))
        else:
            self._stream(call, call.head, downstream)

    def _stream(self, call: ResumableCall, head: Head, downstream: Downstream) -> None:
        if self._head is None:
            self._head = head
            downstream.start(head.status, head.headers)
        while not self.is_slow and (pieces := self._pieces(call, PIECES_AT_ONCE)):
            self._position += len(pieces)
            downstream.write(b"".join(pieces))
        assert call.bytes is not None
        is_behind = not call.bytes.has_after(self._position)
        if is_behind or (call.is_over and self._position == call.bytes.last):
            self._finish(call)
            if call.is_broken or is_behind:
                downstream.abort()
            else:
                downstream.end(b"")

    def _pieces(self, call: ResumableCall, most: int) -> list[bytes]:
        assert call.bytes is not None, "it came over HTTP"
        return call.bytes.after(self._position, most) if call.bytes.has_after(self._position) else []

    def _finish(self, call: ResumableCall) -> None:
        self._downstream = None
        call.leave(self)


async def caller_of(calls: ResumableCalls, text: str) -> Caller:
    """Whose key this is; raise for one that may not call."""
    directory = calls.gate.directory
    known = fingerprint_of(text)
    caller = directory.caller(known) or await directory.find(known)
    if caller is None:
        raise Unauthenticated("invalid_api_key", "The API key is unknown.", hint="Ask for a new one.")
    check_caller(caller, calls.gate.clock.now_us())
    return caller


def exchange_of(
    gate: Gate, calls: ResumableCalls, neighbours: Neighbours, inbound: InboundCall, downstream: Downstream
) -> Exchange | RepeatableCall:
    """A new call; its owner calls `begin`. One without a key pays for nothing of this."""
    if header(inbound.headers, IDEMPOTENCY_KEY) is None:
        return gate.exchange(inbound, downstream)
    return RepeatableCall(calls, neighbours, inbound, downstream)
