"""One call end to end: the only place with the control flow.

    begin -> identified -> admitted -> (open record written) -> sent
          -> relayed -> over -> (counted) -> closed -> (close record written) -> ended

The exchange owns the hold from admission to close. End, error, disconnect and cancel meet in `_over`, and
the first of them wins. Bytes leave as they arrive; only the end of an answer waits, for its close record: a
client that saw the end of a call can be sure that the ledger has it.

Everything is a callback on the event loop: with an idle upstream connection and covered budgets a call
runs without a task, a future or an await. The slow ways (a key not yet known, headroom to be leased, a
long count) are tasks that come back into the same callbacks. What goes wrong in any of them ends this one
call, and says so to its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import msgspec

from gateway.domain.errors import GatewayError, Unauthenticated, Unavailable, UpstreamFailed
from gateway.domain.keys import fingerprint
from gateway.formats.base import StreamMeter
from gateway.formats.refusals import render_event
from gateway.gate.admission import Offer
from gateway.gate.answers import Answer, Outcome, failed, whole_events
from gateway.gate.directory import Caller
from gateway.gate.inbound import Downstream, InboundCall, credential_of, fingerprint_of, reply_refusal
from gateway.gate.replies import call_headers, upstream_answer, wants_cost, with_cost
from gateway.gate.settlement import Ending, Settlement
from gateway.ledger.ledger import Hold
from gateway.relay.calls import Handle, UpstreamFailure

if TYPE_CHECKING:
    from gateway.gate.gate import Gate

__all__ = ["Exchange"]

P = ParamSpec("P")

# A stream that has said its last word is given this long to close its framing; then it is ended without.
END_GRACE_S = 0.25


def guarded(step: Callable[Concatenate[Exchange, P], None]) -> Callable[Concatenate[Exchange, P], None]:
    """A step of a call, whose failure ends the call and nothing else."""

    @wraps(step)
    def run(exchange: Exchange, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(exchange, *args, **kwargs)
        except Exception as error:
            exchange.went_wrong(error)

    return run


class Exchange:
    """The life of one HTTP call; it is the relay's Listener for the call's attempt."""

    __slots__ = (
        "_answer",
        "_downstream",
        "_end_timer",
        "_error",
        "_gate",
        "_handle",
        "_hold",
        "_inbound",
        "_is_closed",
        "_is_cut",
        "_is_over",
        "_is_started",
        "_moved",
        "_offer",
        "_settlement",
        "_tail",
        "_task",
        "call_id",
    )

    def __init__(self, gate: Gate, inbound: InboundCall, downstream: Downstream) -> None:
        self._gate = gate
        self._inbound = inbound
        self._downstream: Downstream | None = downstream  # None once the client is gone or has its end
        self._offer: Offer | None = None
        self._hold: Hold | None = None
        self._task: asyncio.Task[None] | None = None  # the slow way under way
        self._handle: Handle | None = None  # while the upstream answers
        self._answer: Answer | None = None
        self._tail = b""  # what the meter of a stream held back for its end
        self._end_timer: asyncio.TimerHandle | None = None
        self._is_started = False  # the client has the head of a streamed answer
        self._moved = False  # bytes were relayed since the last checkpoint
        self._is_cut = False  # the stream was ended at its cap
        self._is_over = False  # it is decided how the attempt ended; it may still have to be counted
        self._is_closed = False  # the close record is appended: nothing changes the charge any more
        self._error: GatewayError | None = None  # told instead of the answer, or of its rest
        self._settlement: Settlement | None = None
        self.call_id = ""

    # Down: from the request to the upstream.

    @guarded
    def begin(self) -> None:
        """Identify and admit the call; answer with the refusal that applies."""
        text = credential_of(self._inbound.headers)
        caller = self._gate.directory.caller(fingerprint(text))
        if caller is None:
            # The checksum refuses garbage before any look-up.
            self._spawn(self._identify(fingerprint_of(text)))
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
        offer = gate.desk.offer(caller, self._inbound, gate.clock.now_us())
        self.call_id = gate.new_call_id()
        hold = gate.ledger.admit(gate.facts(offer, self.call_id), offer.needs)
        if hold is None:
            self._spawn(self._acquire(offer))
        else:
            self._reserved(offer, hold)

    async def _acquire(self, offer: Offer) -> None:
        self._reserved(*await self._gate.waiting_room.acquire(offer, self.call_id))

    def _reserved(self, offer: Offer, hold: Hold) -> None:
        self._offer = offer
        self._hold = hold
        # Written, then sent: a provider never works on a call that the journal does not know.
        self._gate.ledger.after_write(self._send)

    @guarded
    def _send(self, failure: OSError | None) -> None:
        if failure is not None:
            self._over(Outcome(Ending("void", None, flags=("journal_failed",)), _unwritten()))
        elif self._downstream is None:
            self._over(Outcome(Ending("void", None)))
        else:
            upstream = self.offer.plan.upstream
            request = self._gate.request(self.offer)
            self._handle = self._gate.client.send(upstream.target, request, self, upstream.timeouts)

    # Up: from the upstream to the client (the relay's Listener).

    @guarded
    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the answer. That of a stream goes to the client at once."""
        gate, offer, inbound = self._gate, self.offer, self._inbound
        intent = offer.intent
        if intent.stream and wants_cost(inbound.headers):
            # The cost stands in the usage: who asks for the one asks for the other.
            intent = msgspec.structs.replace(intent, wants_usage=True)
        answer = self._answer = Answer(status, headers, inbound.format, intent, gate.max_reply_bytes)
        if answer.meter is not None:
            gate.streams.add(self)
            if self._downstream is not None:
                self._is_started = True
                self._downstream.start(
                    status, call_headers(offer, self.call_id, answer, gate.remaining(offer))
                )

    def on_data(self, data: bytes) -> None:
        """Body bytes as they came in one read."""
        answer = self._answer
        assert answer is not None
        try:
            relayed = answer.feed(data)
            if relayed:
                self._moved = True
                if self._downstream is not None:
                    self._downstream.write(relayed)
            if answer.meter is not None:
                self._watch(answer.meter)
        except Exception as error:
            self.went_wrong(error)

    def _watch(self, meter: StreamMeter) -> None:
        """Look whether a stream has said its last word, or goes on past its cap."""
        if meter.ended:
            if self._end_timer is None:
                # Should its connection stay open, the client does not wait for that.
                self._end_timer = self._gate.loop.call_later(END_GRACE_S, self.stop)
        elif meter.may_exceed(self.offer.cut_above):
            self._gate.count_slice(self.offer, meter)
            if meter.relayed_output > self.offer.cut_above:
                self._is_cut = True
                self._cancel_upstream()
                self._over(Outcome(Ending("done", self._status, meter.report, flags=("cut_at_cap",))))

    @guarded
    def on_end(self) -> None:
        """The answer is complete."""
        self._handle = None
        answer = self._answer
        assert answer is not None
        if answer.meter is not None:
            self._tail = answer.meter.finish()
        self._over(answer.ended())

    @guarded
    def on_failed(self, failure: UpstreamFailure) -> None:
        """The upstream was not reached, or went away."""
        self._handle = None
        if self._is_said:
            # It broke off nothing but its framing.
            self.on_end()
            return
        answer = self._answer
        if answer is not None and answer.meter is not None:
            self._tail = whole_events(answer.meter.finish())
        self._gate.upstream_failed(self.offer, failure)
        self._over(failed(answer, failure, self.offer.plan.upstream.provider.title))

    # From the client.

    @guarded
    def client_gone(self) -> None:
        """The client hung up: read the upstream to its end or stop it, as its setting says."""
        self._downstream = None
        if self._hold is None:
            if self._task is not None:
                self._task.cancel()
        elif self._handle is not None:
            self._handle.resume()
            if not self._gate.may_read_on(self, self.offer):
                self.stop()

    @guarded
    def stop(self) -> None:
        """Stop the upstream and settle by what is known; nothing once the answer is complete."""
        if self._handle is None:
            return
        self._cancel_upstream()
        if self._is_said:
            self.on_end()
            return
        flags = () if self._downstream is None else ("gateway_stopping",)
        error = Unavailable("draining", "The gateway is stopping.", hint="Try again.", retry_after_s=1)
        self._over(Outcome(self._broken(*flags), error))

    def pause(self) -> None:
        """The client reads slower than the upstream writes."""
        if self._handle is not None:
            self._handle.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._handle is not None:
            self._handle.resume()

    # Metering on the way.

    @guarded
    def checkpoint(self) -> None:
        """Record what was relayed since the last checkpoint; called every 200 ms while bytes move."""
        if not self._moved or self._is_closed:
            return
        offer, answer, hold = self.offer, self._answer, self._hold
        assert answer is not None
        assert answer.meter is not None
        assert hold is not None
        if self._gate.count_slice(offer, answer.meter):
            self._moved = False
        self._gate.ledger.check(hold, *self._gate.so_far(offer, answer.meter))

    # Settling.

    def _over(self, outcome: Outcome) -> None:
        """It is decided how the attempt ended. The first decision wins."""
        if self._is_over:
            return
        self._is_over = True
        self._disarm()
        self._error = outcome.error
        ending = outcome.ending
        if self._downstream is None:
            ending = ending.flagged("client_gone")
        if ending.is_known:
            self._close(ending)
        else:
            self._spawn(self._count(ending))

    async def _count(self, ending: Ending) -> None:
        answer = self._answer
        meter = None if answer is None else answer.meter
        text = "" if answer is None else answer.text()
        self._close(ending.with_count(await self._gate.count(self.offer, meter, text)))

    def _close(self, ending: Ending) -> None:
        """Book the call. The client's end of the answer waits for the record."""
        if self._is_closed:
            return
        gate = self._gate
        settlement = gate.settle(self.offer, ending)
        self._is_closed = True
        assert self._hold is not None
        self._settlement = settlement
        gate.ledger.close(self._hold, settlement.closing)
        gate.closed(self)
        gate.ledger.after_write(self._ended)

    @guarded
    def _ended(self, failure: OSError | None) -> None:
        """The close record is written: give the client the end of its answer."""
        settlement = self._settlement
        assert settlement is not None
        self._gate.finished(self.call_id, self.offer, settlement)
        if failure is not None and self._error is None:
            self._error = _unwritten()
        downstream = self._downstream
        if downstream is None:
            return
        if self._is_started:
            self._end_stream(downstream, settlement)
        elif self._error is not None:
            call = (b"x-tollgate-call-id", self.call_id.encode())
            reply_refusal(downstream, self._error, self._inbound.format.dialect, [call])
        else:
            self._end_reply(downstream, settlement)
        self._downstream = None

    def _end_stream(self, downstream: Downstream, settlement: Settlement) -> None:
        if self._error is not None:
            downstream.write(self._tail + render_event(self._error, self._inbound.format.dialect))
            downstream.abort()
            return
        tail = self._tail
        if self._is_cut:
            assert self._answer is not None
            assert self._answer.meter is not None
            tail = self._answer.meter.cut(settlement.closing.usage)
        downstream.end(with_cost(self._inbound.headers, tail, settlement))

    def _end_reply(self, downstream: Downstream, settlement: Settlement) -> None:
        answer, offer = self._answer, self.offer
        assert answer is not None
        headers = call_headers(offer, self.call_id, answer, self._gate.remaining(offer))
        told = upstream_answer(offer, self._inbound, answer, headers, settlement)
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
        if self._hold is None:
            self._refuse(error)
            return
        was_sent = self._handle is not None or self._answer is not None
        self._cancel_upstream()
        if self._is_closed:
            # The books are right; only the client has not got its end, and cannot get a clean one now.
            downstream, self._downstream = self._downstream, None
            if downstream is not None:
                downstream.abort()
        elif self._is_over:
            # Counting or settling failed: what was known when the call was admitted is charged.
            self._close(
                Ending("aborted", self._status, counted=self._hold.facts.usage, flags=("gateway_error",))
            )
        elif isinstance(error, UpstreamFailed):
            self._over(Outcome(self._broken("upstream_broke"), error))
        elif was_sent:
            self._over(Outcome(self._broken("gateway_error"), error))
        else:
            self._over(Outcome(Ending("void", None, flags=("gateway_error",)), error))

    def _broken(self, *flags: str) -> Ending:
        """The rest of the answer, perhaps all of it, will never come."""
        answer = self._answer
        return Ending("aborted", None, flags=flags) if answer is None else answer.broken(*flags)

    def _refuse(self, error: GatewayError) -> None:
        self._gate.refused(error)
        downstream, self._downstream = self._downstream, None
        if downstream is not None:
            reply_refusal(downstream, error, self._inbound.format.dialect)

    def _cancel_upstream(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _disarm(self) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None

    @property
    def offer(self) -> Offer:
        """What the call was admitted on; there is one from then on."""
        assert self._offer is not None
        return self._offer

    @property
    def _is_said(self) -> bool:
        """Whether a stream has said its last word."""
        answer = self._answer
        return answer is not None and answer.meter is not None and answer.meter.ended

    @property
    def _status(self) -> int | None:
        return None if self._answer is None else self._answer.status

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
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


def _unwritten() -> Unavailable:
    return Unavailable(
        "ledger_unavailable",
        "The journal cannot be written.",
        hint="Calls are refused rather than lost; the operator has to make room.",
        retry_after_s=5,
    )
