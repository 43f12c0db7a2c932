"""One call end to end: the only place with the control flow.

    begin -> identified -> admitted -> attempted (gate.attempts) -> closed -> (close record written) -> ended

The client's end of an answer waits for the close record: a client that saw the end of a call can be sure
that the ledger has it.

Everything is a callback on the event loop: with an idle upstream connection and covered budgets a call
runs without a task, a future or an await. The slow ways (a key not yet known, headroom to be leased, a
long count) are tasks that come back into the same callbacks. What goes wrong in any of them ends this one
call, and says so to its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from gateway.domain.errors import GatewayError, Unauthenticated, Unavailable, UpstreamFailed
from gateway.domain.keys import fingerprint
from gateway.gate.admission import Offer
from gateway.gate.answers import Answer
from gateway.gate.attempts import Attempt
from gateway.gate.directory import Caller
from gateway.gate.inbound import Downstream, InboundCall, credential_of, fingerprint_of, reply_refusal
from gateway.gate.replies import call_headers, upstream_answer, with_cost
from gateway.gate.retries import Next
from gateway.gate.settlement import Settlement
from gateway.gate.steps import guarded, unwritten
from gateway.ledger.ledger import Hold

if TYPE_CHECKING:
    from gateway.gate.gate import Gate

__all__ = ["Exchange"]


class Exchange:
    """The life of one HTTP call."""

    __slots__ = ("_attempt", "_gate", "_is_started", "_task", "_tried", "call_id", "downstream", "inbound")

    def __init__(self, gate: Gate, inbound: InboundCall, downstream: Downstream) -> None:
        self._gate = gate
        self._attempt: Attempt | None = None  # from the hold until the client has its end
        self._task: asyncio.Task[None] | None = None  # the slow way under way
        self._tried: list[Attempt] | None = None  # the attempts so far, once one came to nothing
        self._is_started = False  # the client has the head of a streamed answer
        self.inbound = inbound
        self.downstream: Downstream | None = downstream  # None once the client is gone or has its end
        self.call_id = ""

    # From the request to an attempt.

    @guarded
    def begin(self) -> None:
        """Identify and admit the call; answer with the refusal that applies."""
        text = credential_of(self.inbound.headers)
        caller = self._gate.directory.caller(fingerprint(text))
        if caller is None:
            # The checksum refuses garbage before any look-up.
            self.spawn(self._identify(fingerprint_of(text)))
        else:
            self._admit(caller)

    async def _identify(self, key: bytes) -> None:
        caller = await self._gate.directory.find(key)
        if caller is None:
            raise Unauthenticated(
                "invalid_api_key",
                "The API key is unknown.",
                hint="It may be from another gateway; ask for a new one.",
            )
        self._admit(caller)

    def _admit(self, caller: Caller) -> None:
        gate = self._gate
        gate.check_open()
        now_us = gate.clock.now_us()
        counted = gate.own_counts.model_of(caller, self.inbound, now_us)
        if counted is not None:
            self.spawn(self._count(counted))
            return
        offer = gate.desk.offer(caller, self.inbound, now_us)
        stored = offer.intent.stored
        if stored and not gate.belongings.has(offer.plan.upstream.name, stored, caller.key.account):
            self.spawn(self._own(offer))
        else:
            self._hold(offer)

    async def _count(self, model: str) -> None:
        """Answer a question that needs no provider."""
        body = await self._gate.own_counts.body(model, self.inbound)
        downstream, self.downstream = self.downstream, None
        if downstream is not None:
            downstream.reply(200, [(b"content-type", b"application/json")], body)

    async def _own(self, offer: Offer) -> None:
        """The call names what is stored at its provider: go on if that is the caller's."""
        account = offer.caller.key.account
        await self._gate.belongings.check(offer.plan.upstream.name, offer.intent.stored, account)
        self._hold(offer)

    def _hold(self, offer: Offer) -> None:
        gate = self._gate
        self.call_id = self.call_id or gate.new_call_id()
        hold = gate.ledger.admit(gate.facts(offer, self.call_id), offer.needs)
        if hold is None:
            self.spawn(self._acquire(offer))
        else:
            self._reserved(offer, hold)

    async def _acquire(self, offer: Offer) -> None:
        self._reserved(*await self._gate.waiting_room.acquire(offer, self.call_id))

    def _reserved(self, offer: Offer, hold: Hold) -> None:
        attempt = self._attempt = Attempt(self._gate, self, offer, hold)
        # Written, then sent: a provider never works on a call that the journal does not know.
        self._gate.ledger.after_write(attempt.send)

    # From the client.

    @guarded
    def client_gone(self) -> None:
        """The client hung up: what is under way for it goes on or stops, as the upstream's setting says."""
        self.downstream = None
        if self._attempt is not None:
            self._attempt.abandon()
        elif self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        """Stop the upstream and settle by what is known; nothing once the answer is complete."""
        if self._attempt is not None:
            self._attempt.stop()

    def pause(self) -> None:
        """The client reads slower than the upstream writes."""
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._attempt is not None:
            self._attempt.resume()

    # From the attempt.

    def began(self, attempt: Attempt, answer: Answer) -> None:
        """A streamed answer begins: its head goes to the client at once."""
        downstream = self.downstream
        if downstream is not None:
            self._is_started = True
            offer = attempt.offer
            headers = call_headers(offer, self.call_id, answer, self._gate.remaining(offer))
            downstream.start(answer.status, headers)

    def queued(self, attempt: Attempt) -> None:
        """The answer is made in the background: the client has what there is, and may look it up later."""
        downstream, self.downstream = self.downstream, None
        if downstream is None:
            return
        if self._is_started:
            # Its stream broke off: the rest can be had by looking the answer up.
            downstream.abort()
            return
        answer = attempt.answer
        assert answer is not None
        headers = call_headers(attempt.offer, self.call_id, answer, self._gate.remaining(attempt.offer))
        downstream.reply(answer.status, headers, answer.body)

    def closed(self, attempt: Attempt) -> None:
        """The attempt is booked. The client's end of the answer waits for the record, or for another try."""
        self._gate.noted(attempt)
        following = self._following(attempt)
        if following is None:
            self._gate.ledger.after_write(self._ended)
        else:
            self._gate.loop.call_later(following.wait_s, self._again, following.offer)

    def _following(self, attempt: Attempt) -> Next | None:
        settlement = attempt.settlement
        assert settlement is not None
        if settlement.closing.outcome != "void" or self.downstream is None or self._is_started:
            return None
        if self._tried is None:
            self._tried = []
        self._tried.append(attempt)
        return self._gate.retries.after(self._tried, self._gate.clock.now_us())

    @guarded
    def _again(self, offer: Offer) -> None:
        """The attempt came to nothing that anybody bills: make another."""
        if self.downstream is None or self._gate.is_stopping:
            self._gate.ledger.after_write(self._ended)
            return
        attempt = self._attempt
        assert attempt is not None
        assert attempt.settlement is not None
        hold = self._gate.ledger.admit(self._gate.facts(offer, self.call_id), offer.needs)
        if hold is None:
            self.spawn(self._acquire_again(offer))
        else:
            self._gate.finished(self.call_id, attempt.offer, attempt.settlement)
            self._reserved(offer, hold)

    async def _acquire_again(self, offer: Offer) -> None:
        """Where there is no money for another try, the answer there is stands."""
        attempt = self._attempt
        assert attempt is not None
        assert attempt.settlement is not None
        try:
            held = await self._gate.ledger.acquire(self._gate.facts(offer, self.call_id), offer.needs)
        except GatewayError:
            self._gate.ledger.after_write(self._ended)
            return
        self._gate.finished(self.call_id, attempt.offer, attempt.settlement)
        self._reserved(offer, held)

    @guarded
    def _ended(self, failure: OSError | None) -> None:
        """The close record is written: give the client the end of its answer."""
        attempt = self._attempt
        assert attempt is not None
        settlement = attempt.settlement
        assert settlement is not None
        self._gate.finished(self.call_id, attempt.offer, settlement)
        error = unwritten() if failure is not None and attempt.error is None else attempt.error
        if self.downstream is not None:
            self._tell(self.downstream, attempt, settlement, error)
            self.downstream = None
        # Each holds the other: let go, or every call waits for the garbage collector.
        self._attempt = self._tried = None

    def _tell(
        self, downstream: Downstream, attempt: Attempt, settlement: Settlement, error: GatewayError | None
    ) -> None:
        if self._is_started:
            self._end_stream(downstream, attempt, settlement, error)
        elif error is not None:
            call = (b"x-tollgate-call-id", self.call_id.encode())
            reply_refusal(downstream, error, self.inbound.format.dialect, [call])
        else:
            self._end_reply(downstream, attempt, settlement)

    def _end_stream(
        self, downstream: Downstream, attempt: Attempt, settlement: Settlement, error: GatewayError | None
    ) -> None:
        assert attempt.answer is not None
        meter = attempt.answer.meter
        assert meter is not None
        if error is not None:
            downstream.write(meter.fail(attempt.tail, error))
            downstream.abort()
            return
        tail = meter.cut(settlement.closing.usage) if attempt.is_cut else attempt.tail
        downstream.end(with_cost(self.inbound.headers, tail, settlement))

    def _end_reply(self, downstream: Downstream, attempt: Attempt, settlement: Settlement) -> None:
        answer, offer = attempt.answer, attempt.offer
        assert answer is not None
        headers = call_headers(offer, self.call_id, answer, self._gate.remaining(offer))
        try:
            told = upstream_answer(offer, self.inbound, answer, headers, settlement)
        except UpstreamFailed as error:
            call = (b"x-tollgate-call-id", self.call_id.encode())
            reply_refusal(downstream, error, self.inbound.format.dialect, [call])
            return
        if told.is_ours:
            self._gate.credential_refused(offer, answer.status)
        downstream.reply(told.status, told.headers, told.body)

    # What goes wrong.

    def went_wrong(self, error: BaseException) -> None:
        """Refuse the call or, when it is under way, end it: never leave its client or its money hanging."""
        if not isinstance(error, GatewayError):
            self._gate.crashed(self.call_id, error)
            error = Unavailable(
                "ledger_unavailable",
                "The gateway failed on this call; it has been logged.",
                hint="Try again.",
            )
        attempt = self._attempt
        if attempt is None:
            self._refuse(error)
        elif attempt.settlement is None:
            attempt.fail(error)
        else:
            # The books are right; only the client has not got its end, and cannot get a clean one now.
            downstream, self.downstream = self.downstream, None
            if downstream is not None:
                downstream.abort()

    def _refuse(self, error: GatewayError) -> None:
        self._gate.refused(error)
        downstream, self.downstream = self.downstream, None
        if downstream is not None:
            reply_refusal(downstream, error, self.inbound.format.dialect)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Go on in a task; its failure is the call's."""
        self._task = task = self._gate.loop.create_task(work)
        self._gate.tasks.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._gate.tasks.discard(task)
        if self._task is task:
            self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.went_wrong(error)
