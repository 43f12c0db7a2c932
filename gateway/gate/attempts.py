"""One try upstream: from its open record to its close record.

    opened -> (open record written) -> sent -> relayed -> over -> (counted) -> closed

The attempt owns its hold. End, error, disconnect and cancel meet in `_over`, and the first of them wins.
Bytes leave as they arrive; only the end of an answer stays here, for the call to give once the close record
is written. Whatever goes wrong in a step goes to the call, which knows what its client was told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from gateway.domain.errors import GatewayError, Unavailable, UpstreamFailed
from gateway.formats.base import StreamMeter
from gateway.gate.admission import Offer
from gateway.gate.answers import Answer, Outcome, failed
from gateway.gate.background import unfinished
from gateway.gate.call import Call
from gateway.gate.replies import wants_cost
from gateway.gate.settlement import Ending, Settlement
from gateway.gate.steps import guarded, unwritten
from gateway.ledger.ledger import Hold
from gateway.relay.calls import Handle, UpstreamFailure

if TYPE_CHECKING:
    from gateway.gate.gate import Gate

__all__ = ["Attempt"]

# A stream that has said its last word is given this long to close its framing; then it is ended without.
END_GRACE_S = 0.25
# A read that could pass the cap is looked at in pieces of so many bytes: some seventy tokens.
PIECE_BYTES = 16 * 1024


class Attempt:
    """One try upstream; it is the relay's Listener."""

    __slots__ = (
        "_call",
        "_end_timer",
        "_gate",
        "_handle",
        "_hold",
        "_is_held_up",
        "_is_known",
        "_is_paused",
        "answer",
        "error",
        "is_cut",
        "is_over",
        "offer",
        "settlement",
        "tail",
    )

    def __init__(self, gate: Gate, call: Call, offer: Offer, hold: Hold) -> None:
        self._gate = gate
        self._call = call
        self._hold = hold
        self._handle: Handle | None = None  # while the upstream answers
        self._end_timer: asyncio.TimerHandle | None = None
        self._is_held_up = False  # the upstream waits until what it sent can be counted
        self._is_paused = False  # the client has not caught up
        self._is_known = False  # every worker knows whose the answer is; only of one in the background
        self.offer = offer
        self.answer: Answer | None = None
        self.tail = b""  # what the meter of a stream held back for its end
        self.is_cut = False  # the stream was ended at its cap
        self.is_over = False  # it is decided how the attempt ended; it may still have to be counted
        self.error: GatewayError | None = None  # told instead of the answer, or of its rest
        self.settlement: Settlement | None = None  # once closed: nothing changes the charge any more

    @property
    def was_failed(self) -> bool:
        """Whether its upstream was not reached, went away, or is broken."""
        if self.answer is not None and self.answer.status >= 500:
            return True
        return isinstance(self.error, UpstreamFailed)

    @property
    def id(self) -> str:
        """The attempt's id in the ledger."""
        return self._hold.facts.attempt

    # Down: from the hold to the upstream.

    @guarded
    def send(self, failure: OSError | None) -> None:
        """The open record is written, or cannot be: send the request."""
        if failure is not None:
            self._over(Outcome(Ending("void", None, flags=("journal_failed",)), unwritten()))
        elif self._call.downstream is None:
            self._over(Outcome(Ending("void", None)))
        else:
            upstream = self.offer.plan.upstream
            request = self._gate.requests.of(self.offer)
            self._handle = self._gate.client.send(upstream.target, request, self, upstream.timeouts)

    # Up: from the upstream to the client (the relay's Listener).

    @guarded
    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the answer. That of a stream goes to the client at once."""
        gate, offer = self._gate, self.offer
        intent = offer.intent
        if intent.stream and wants_cost(self._call.inbound.headers):
            # The cost stands in the usage: who asks for the one asks for the other.
            intent = msgspec.structs.replace(intent, wants_usage=True)
        answer = self.answer = Answer(
            status, headers, offer.sent.format, intent, gate.max_reply_bytes, offer.translator
        )
        if answer.meter is not None:
            gate.streams.add(self)
            self._call.began(self, answer)

    def on_data(self, data: bytes) -> None:
        """Body bytes as they came in one read. A token is a byte at least: few reads could pass the cap."""
        if len(data) <= PIECE_BYTES or len(data) <= self.offer.cut_above:
            self._take(data)
            return
        for at in range(0, len(data), PIECE_BYTES):
            if not self.is_over:
                self._take(data[at : at + PIECE_BYTES])

    def _take(self, data: bytes) -> None:
        answer = self.answer
        assert answer is not None
        try:
            relayed = answer.feed(data)
            if relayed:
                if answer.meter is not None:
                    self._gate.moving.add(self)
                downstream = self._call.downstream
                if downstream is not None:
                    downstream.write(relayed)
            if answer.meter is not None:
                self._watch(answer.meter)
                if self.offer.intent.background:
                    self._watch_background(answer)
        except Exception as error:
            self.went_wrong(error)

    def _watch(self, meter: StreamMeter) -> None:
        """Look whether a stream has said its last word, or goes on past its cap."""
        if meter.ended:
            if self._end_timer is None:
                # Should its connection stay open, the client does not wait for that.
                self._end_timer = self._gate.loop.call_later(END_GRACE_S, self.stop)
        elif not meter.may_exceed(self.offer.cut_above):
            return
        elif self._gate.counters.ready(self.offer.plan.model) is None:
            self._hold_up(meter)
        else:
            self._gate.count_slice(self.offer, meter)
            if meter.relayed_output > self.offer.cut_above:
                self.is_cut = True
                self._cancel_upstream()
                self._over(Outcome(Ending("done", self._status, meter.report, flags=("cut_at_cap",))))

    def _hold_up(self, meter: StreamMeter) -> None:
        """Let the upstream wait until the tokenizer is loaded: once for a worker and encoding, 0.3 s."""
        if not self._is_held_up and self._handle is not None:
            self._is_held_up = True
            self._handle.pause()
            self._call.spawn(self._count_on(meter))

    async def _count_on(self, meter: StreamMeter) -> None:
        await self._gate.counters.load(self.offer.plan.model)
        self._is_held_up = False
        self._watch(meter)
        if not self._is_paused:
            self.resume()

    @guarded
    def on_end(self) -> None:
        """The answer is complete."""
        self._handle = None
        answer = self.answer
        assert answer is not None
        if answer.meter is not None:
            self.tail = answer.meter.finish()
        if not self._goes_on():
            self._over(answer.ended())

    @guarded
    def on_failed(self, failure: UpstreamFailure) -> None:
        """The upstream was not reached, or went away."""
        self._handle = None
        if self._is_said:
            # It broke off nothing but its framing.
            self.on_end()
            return
        if self._goes_on():
            return
        answer = self.answer
        if answer is not None and answer.meter is not None:
            self.tail = answer.meter.finish()
        self._gate.upstream_failed(self.offer, failure)
        self._over(failed(answer, failure, self.offer.plan.upstream.provider.title))

    # From the client.

    @guarded
    def abandon(self) -> None:
        """The client hung up: read the upstream to its end or stop it, as its setting says."""
        if self._handle is not None:
            self.resume()
            is_background = self.offer.intent.background
            if not self._goes_on() and not is_background and not self._gate.may_read_on(self, self.offer):
                self.stop()

    @guarded
    def stop(self) -> None:
        """Stop the upstream and settle by what is known; nothing once the answer is complete."""
        if self._handle is None:
            return
        if self._goes_on():
            return
        self._cancel_upstream()
        if self._is_said:
            self.on_end()
            return
        flags = () if self._call.downstream is None else ("gateway_stopping",)
        error = Unavailable("draining", "The gateway is stopping.", hint="Try again.", retry_after_s=1)
        self._over(Outcome(self._broken(*flags), error))

    def pause(self) -> None:
        """The client reads slower than the upstream writes."""
        self._is_paused = True
        if self._handle is not None and not self._is_held_up:
            self._handle.pause()

    def resume(self) -> None:
        """The client has caught up."""
        self._is_paused = False
        if self._handle is not None and not self._is_held_up:
            self._handle.resume()

    # Metering on the way.

    @guarded
    def checkpoint(self) -> None:
        """Record what was relayed since the last checkpoint; called every 200 ms until it is counted."""
        if self not in self._gate.moving or self.settlement is not None:
            return
        answer = self.answer
        assert answer is not None
        assert answer.meter is not None
        if self._gate.count_slice(self.offer, answer.meter):
            self._gate.moving.discard(self)
        self._note(answer)

    def _note(self, answer: Answer) -> None:
        """Append a checkpoint, with the answer in the background that is to be asked for if we die."""
        so_far = self._gate.so_far(self.offer, answer.meter)
        id_ = unfinished(answer) if self.offer.intent.background else None
        if id_ is None:
            self._gate.ledger.check(self._hold, *so_far)
        else:
            self._gate.ledger.check(self._hold, *so_far, made=answer.made(), awaited=id_)

    # In the background.

    def _watch_background(self, answer: Answer) -> None:
        """A streamed answer that has told its id goes on without the stream."""
        id_ = unfinished(answer)
        if id_ is not None and not self._is_known:
            self._is_known = True
            self._note(answer)
            self._gate.background.announce(self, id_)
        if id_ is not None and self._call.downstream is None:
            self._goes_on()

    def _goes_on(self) -> bool:
        """Leave an answer to the background if it can be: the hold lives until its end is known."""
        answer = self.answer
        if answer is None or not self.offer.intent.background or self.is_over:
            return False
        id_ = unfinished(answer)
        if id_ is None:
            return False
        self._cancel_upstream()
        self._note(answer)
        self._gate.streams.discard(self)
        self._gate.belongings.keep(self.offer.plan.upstream.name, [id_], self.offer.caller.key.account)
        self._gate.background.follow(self, id_)
        return True

    @guarded
    def queued(self) -> None:
        """Every worker knows whose the answer is: the client may have what there is of it."""
        self._call.queued(self)

    @guarded
    def conclude(self, body: bytes) -> None:
        """An answer in the background has ended like this."""
        if not self.is_over:
            intent = msgspec.structs.replace(self.offer.intent, stream=False)
            answer = Answer(200, [], self.offer.sent.format, intent, self._gate.max_reply_bytes)
            answer.feed(body)
            self.answer = answer
            self._over(answer.ended())

    @guarded
    def lost(self) -> None:
        """Nobody will ever tell how an answer in the background ended."""
        self._over(Outcome(Ending("aborted", self._status, flags=("background_lost",))))

    # Settling.

    def _over(self, outcome: Outcome) -> None:
        """It is decided how the attempt ended. The first decision wins."""
        if self.is_over:
            return
        self.is_over = True
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None
        self.error = outcome.error
        ending = outcome.ending
        if self._call.downstream is None and not self.offer.intent.background:
            ending = ending.flagged("client_gone")
        if ending.is_known:
            self._close(ending)
        else:
            self._call.spawn(self._count(ending))

    async def _count(self, ending: Ending) -> None:
        answer = self.answer
        meter = None if answer is None else answer.meter
        text = "" if answer is None else answer.text()
        self._close(ending.with_count(await self._gate.count(self.offer, meter, text)))

    def _close(self, ending: Ending) -> None:
        """Book the attempt."""
        if self.settlement is not None:
            return
        gate = self._gate
        settlement = self.settlement = gate.settle(self.offer, ending)
        if self.answer is not None:
            gate.keep_made(self.offer, settlement.closing, self.answer.made())
        gate.ledger.close(self._hold, settlement.closing)
        gate.closed(self)
        self._call.closed(self)

    # What goes wrong.

    def went_wrong(self, error: BaseException) -> None:
        """The call is told, and comes back with `fail`."""
        self._call.went_wrong(error)

    def fail(self, error: GatewayError) -> None:
        """End an attempt that is not closed: never leave its money hanging."""
        was_sent = self._handle is not None or self.answer is not None
        self._cancel_upstream()
        if self.is_over:
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
        answer = self.answer
        return Ending("aborted", None, flags=flags) if answer is None else answer.broken(*flags)

    def _cancel_upstream(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    @property
    def _is_said(self) -> bool:
        """Whether a stream has said its last word."""
        answer = self.answer
        return answer is not None and answer.meter is not None and answer.meter.ended

    @property
    def _status(self) -> int | None:
        return None if self.answer is None else self.answer.status
