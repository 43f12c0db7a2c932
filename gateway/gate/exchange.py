"""One call end to end: the only place with the control flow.

    begin -> identified -> admitted -> (open record written) -> sent
          -> relayed -> closed -> (close record written) -> ended

The exchange owns the hold from admission to close. End, error, disconnect and cancel meet in `_close`,
and the first of them wins. Bytes leave as they arrive; only the end of an answer waits, for its close
record: a client that saw the end of a call can be sure that the ledger has it.

Everything is a callback on the event loop: with an idle upstream connection and covered budgets a call
runs without a task, a future or an await. The slow ways (a key not yet known, headroom to be leased, a
long count) are tasks that come back into the same callbacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from gateway.domain.errors import GatewayError, Unauthenticated, Unavailable, UpstreamFailed
from gateway.domain.keys import fingerprint
from gateway.formats.base import Report, StreamMeter
from gateway.formats.refusals import render_event
from gateway.gate.admission import Offer
from gateway.gate.directory import Caller
from gateway.gate.inbound import Downstream, InboundCall, credential_of, fingerprint_of, reply_refusal
from gateway.gate.replies import call_headers, is_event_stream, upstream_answer
from gateway.gate.settlement import Ending, Settlement
from gateway.ledger.ledger import Hold
from gateway.relay.calls import Handle, UpstreamFailure

if TYPE_CHECKING:
    from gateway.gate.gate import Gate

__all__ = ["Exchange"]

# A stream that has said its last word is given this long to close its framing; then it is ended without.
END_GRACE_S = 0.25
TIMEOUTS = ("connect_timeout", "first_byte_timeout", "idle_timeout")


class Exchange:
    """The life of one HTTP call; it is the relay's Listener for the call's attempt."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_downstream",
        "_end_timer",
        "_failure",
        "_gate",
        "_handle",
        "_headers",
        "_hold",
        "_inbound",
        "_is_closed",
        "_is_cut",
        "_is_started",
        "_meter",
        "_moved",
        "_offer",
        "_report",
        "_settlement",
        "_status",
        "_task",
        "call_id",
    )

    def __init__(self, gate: Gate, inbound: InboundCall, downstream: Downstream) -> None:
        self._gate = gate
        self._inbound = inbound
        self._downstream: Downstream | None = downstream  # None once the client is gone or has its end
        self._offer: Offer | None = None
        self._hold: Hold | None = None
        self._handle: Handle | None = None  # while the upstream answers
        self._task: asyncio.Task[None] | None = None  # the slow way under way
        self._end_timer: asyncio.TimerHandle | None = None
        self._status = 0  # of the upstream's answer, once it began
        self._headers: list[tuple[bytes, bytes]] = []
        self._failure: UpstreamFailure | None = None
        self._meter: StreamMeter | None = None  # of a streamed answer
        self._report: Report | None = None  # the provider's usage, once the answer is complete
        self._body: list[bytes] = []  # of an answer that is not streamed
        self._body_bytes = 0
        self._is_started = False  # the client has the head of a streamed answer
        self._is_cut = False  # the stream was ended at its cap
        self._moved = False  # bytes were relayed since the last checkpoint
        self._is_closed = False  # the close record is appended: nothing changes the charge any more
        self._settlement: Settlement | None = None
        self.call_id = ""

    # Down: from the request to the upstream.

    def begin(self) -> None:
        """Identify and admit the call; answer with the refusal that applies."""
        try:
            text = credential_of(self._inbound.headers)
            caller = self._gate.directory.caller(fingerprint(text))
            if caller is None:
                # The checksum refuses garbage before any look-up.
                self._spawn(self._identify(fingerprint_of(text)))
            else:
                self._admit(caller)
        except GatewayError as error:
            self._refuse(error)
        except Exception as bug:
            self._crashed(bug)

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
        self._reserved(*await self._gate.acquire(offer, self.call_id))

    def _reserved(self, offer: Offer, hold: Hold) -> None:
        self._offer = offer
        self._hold = hold
        # Written, then sent: a provider never works on a call that the journal does not know.
        self._gate.ledger.after_write(self._send)

    def _send(self, failure: OSError | None) -> None:
        if failure is not None:
            self._close(Ending("void", None, flags=("journal_failed",)))
        elif self._downstream is None:
            self._close(Ending("void", None, flags=("client_gone",)))
        else:
            assert self._offer is not None
            upstream = self._offer.plan.upstream
            request = self._gate.request(self._offer)
            self._handle = self._gate.client.send(upstream.target, request, self, upstream.timeouts)

    # Up: from the upstream to the client (the relay's Listener).

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the answer. A streamed success goes to the client at once, all else is collected."""
        offer = self._offer
        assert offer is not None
        self._status = status
        self._headers = headers
        if offer.intent.stream and status < 300 and is_event_stream(headers):
            self._meter = self._inbound.format.meter(offer.intent)
            self._gate.streams.add(self)
            if self._downstream is not None:
                self._is_started = True
                head = call_headers(offer, self.call_id, status, headers, self._gate.balance(offer))
                self._downstream.start(status, head)

    def on_data(self, data: bytes) -> None:
        """Body bytes as they came in one read."""
        try:
            if self._meter is None:
                self._collect(data)
            elif not self._is_closed:
                self._relay(self._meter, data)
        except Exception as bug:
            self._crashed(bug)

    def on_end(self) -> None:
        """The answer is complete."""
        self._handle = None
        try:
            if self._meter is None:
                self._answered()
            else:
                self._streamed(self._meter)
        except Exception as bug:
            self._crashed(bug)

    def on_failed(self, failure: UpstreamFailure) -> None:
        """The upstream was not reached, or went away."""
        self._handle = None
        self._failure = failure
        self._gate.upstream_failed(self._offer, failure)
        if self._meter is not None:
            self._settle_stream(self._meter, "aborted", ("upstream_died",))
        elif failure.request_sent == "yes":
            # It may have worked on the prompt, and what it works on it bills.
            self._settle_counted("aborted", ("upstream_died",))
        else:
            self._close(Ending("void", None, flags=("upstream_unreached",)))

    def _relay(self, meter: StreamMeter, data: bytes) -> None:
        relayed = meter.feed(data)
        if relayed:
            self._moved = True
            if self._downstream is not None:
                self._downstream.write(relayed)
        offer = self._offer
        assert offer is not None
        if meter.ended:
            if self._end_timer is None:
                self._end_timer = self._gate.loop.call_later(END_GRACE_S, self._end_without_framing)
        elif meter.may_exceed(offer.output_cap * offer.intent.choices):
            self._enforce_cap(meter, offer)

    def _streamed(self, meter: StreamMeter) -> None:
        if meter.error is not None:
            self._settle_stream(meter, "aborted", ("upstream_error",))
        else:
            self._settle_stream(meter, "done", () if meter.ended or meter.report else ("cut",))

    def _collect(self, data: bytes) -> None:
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > self._gate.max_reply_bytes:
            self._cancel_upstream()
            self._failure = UpstreamFailure(
                "protocol", "yes", "the answer is larger than limits.max_reply_bytes"
            )
            self._settle_counted("aborted", ("reply_too_large",))

    def _answered(self) -> None:
        """An answer that was not streamed is complete: read its usage and settle."""
        if self._status >= 300:
            self._close(Ending("void", self._status, flags=("upstream_refused",)))
            return
        assert self._offer is not None
        self._report, error = self._inbound.format.read_reply(b"".join(self._body), self._offer.intent)
        if self._report is not None and not self._report.missing:
            self._close(Ending("done", self._status, report=self._report))
        elif error is not None:
            self._close(Ending("void", self._status, flags=("upstream_error",)))
        else:
            self._settle_counted("done", ())

    def _end_without_framing(self) -> None:
        """The stream said its last word but its connection stays open: do not let the client wait for it."""
        self._end_timer = None
        self._cancel_upstream()
        self.on_end()

    # From the client.

    def client_gone(self) -> None:
        """The client hung up: read the upstream to its end or stop it, as its setting says."""
        self._downstream = None
        if self._hold is None:
            if self._task is not None:
                self._task.cancel()
        elif self._handle is not None:
            self._handle.resume()
            assert self._offer is not None
            if not self._gate.may_read_on(self, self._offer):
                self.stop()

    def stop(self) -> None:
        """Stop the upstream and settle what is known; nothing to do once the answer is complete."""
        if self._handle is None or self._is_closed:
            return
        self._cancel_upstream()
        if self._meter is not None:
            self._settle_stream(self._meter, "aborted", ("client_gone",))
        else:
            self._settle_counted("aborted", ("client_gone",))

    def pause(self) -> None:
        """The client reads slower than the upstream writes."""
        if self._handle is not None:
            self._handle.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._handle is not None:
            self._handle.resume()

    # Metering on the way.

    def checkpoint(self) -> None:
        """Record what was relayed since the last checkpoint; called every 200 ms while bytes move."""
        if not self._moved or self._is_closed:
            return
        assert self._meter is not None
        assert self._offer is not None
        assert self._hold is not None
        if self._gate.count_slice(self._offer, self._meter):
            self._moved = False
        usage, charge_nano, tokens = self._gate.so_far(self._offer, self._meter)
        self._gate.ledger.check(self._hold, usage, charge_nano, tokens)

    def _enforce_cap(self, meter: StreamMeter, offer: Offer) -> None:
        """Cut a stream whose upstream goes on past the cap it was sent."""
        self._gate.count_slice(offer, meter)
        if meter.relayed_output > offer.output_cap * offer.intent.choices:
            self._is_cut = True
            self._cancel_upstream()
            self._settle_stream(meter, "done", ("cut_at_cap",))

    # Settling.

    def _settle_stream(self, meter: StreamMeter, outcome: str, flags: tuple[str, ...]) -> None:
        """Settle by what the stream reported or, failing that, by what was relayed."""
        self._report = meter.report
        if self._report is not None and not self._report.missing:
            self._close(Ending(outcome, self._status, report=self._report, flags=flags))
        else:
            self._spawn(self._count(outcome, flags))

    def _settle_counted(self, outcome: str, flags: tuple[str, ...]) -> None:
        self._spawn(self._count(outcome, flags))

    async def _count(self, outcome: str, flags: tuple[str, ...]) -> None:
        assert self._offer is not None
        self._disarm()
        text = ""
        if self._meter is None and outcome == "done":
            text = self._inbound.format.reply_text(b"".join(self._body))
        counted = await self._gate.count(self._offer, self._meter, text)
        has_output = counted.get("output") or self._report is not None
        if self._meter is not None and self._meter.error is not None and not has_output:
            # The provider refused before it produced anything, and bills no refused call.
            self._close(Ending("void", self._status, flags=flags))
        else:
            self._close(Ending(outcome, self._status or None, self._report, counted, flags))

    def _close(self, ending: Ending) -> None:
        """Book the call. The first close wins; the client's end of the answer waits for the record."""
        if self._is_closed:
            return
        self._is_closed = True
        self._disarm()
        assert self._offer is not None
        assert self._hold is not None
        gate = self._gate
        gate.closed(self)
        self._settlement = gate.settle(self._offer, ending)
        gate.ledger.close(self._hold, self._settlement.closing)
        gate.ledger.after_write(self._ended)

    def _ended(self, failure: OSError | None) -> None:
        """The close record is written: give the client the end of its answer."""
        offer, settlement = self._offer, self._settlement
        assert offer is not None
        assert settlement is not None
        downstream, self._downstream = self._downstream, None
        self._gate.finished(self.call_id, offer, settlement)
        if downstream is None:
            return
        if self._is_started:
            if failure is None:
                self._end_stream(downstream, settlement)
            else:
                downstream.abort()
        elif failure is None and self._status and self._failure is None:
            self._end_reply(downstream, offer, settlement)
        else:
            self._answer_failure(downstream, offer, failure)

    def _end_stream(self, downstream: Downstream, settlement: Settlement) -> None:
        meter = self._meter
        assert meter is not None
        dialect = self._inbound.format.dialect
        if self._is_cut:
            downstream.end(meter.cut(settlement.closing.usage))
        elif self._failure is not None:
            error = UpstreamFailed(
                "upstream_unavailable", "The provider went away in the middle of its answer."
            )
            downstream.write(meter.finish() + render_event(error, dialect))
            downstream.abort()
        else:
            downstream.end(self._gate.with_cost(self._inbound, meter.finish(), settlement))

    def _end_reply(self, downstream: Downstream, offer: Offer, settlement: Settlement) -> None:
        headers = call_headers(offer, self.call_id, self._status, self._headers, self._gate.balance(offer))
        body = self._gate.with_cost(self._inbound, b"".join(self._body), settlement)
        downstream.reply(
            *upstream_answer(offer, self._inbound.format.dialect, self._status, headers, body, settlement)
        )

    # What goes wrong.

    def _answer_failure(self, downstream: Downstream, offer: Offer, failure: OSError | None) -> None:
        """No answer of the provider's: say so, and whose fault it is."""
        title = offer.plan.upstream.provider.title
        if failure is not None:
            error: GatewayError = Unavailable(
                "ledger_unavailable", "The journal cannot be written.", retry_after_s=5
            )
        elif self._failure is not None and self._failure.kind in TIMEOUTS:
            error = UpstreamFailed("upstream_timeout", f"{title} did not answer in time.")
        else:
            error = UpstreamFailed("upstream_unavailable", f"{title} could not be reached or went away.")
        call = (b"x-tollgate-call-id", self.call_id.encode())
        reply_refusal(downstream, error, self._inbound.format.dialect, [call])

    def _refuse(self, error: GatewayError) -> None:
        self._gate.refused(self.call_id, error)
        downstream, self._downstream = self._downstream, None
        if downstream is not None:
            reply_refusal(downstream, error, self._inbound.format.dialect)

    def _crashed(self, bug: BaseException) -> None:
        """A defect of ours ends one call, loudly, and never leaves money held."""
        self._gate.crashed(self.call_id, bug)
        self._cancel_upstream()
        if self._hold is None:
            self._refuse(
                Unavailable("ledger_unavailable", "The gateway failed on this call; it has been logged.")
            )
        elif not self._is_closed:
            self._failure = self._failure or UpstreamFailure("protocol", "yes", "gateway error")
            assert self._offer is not None
            usage, _, _ = self._gate.so_far(self._offer, self._meter)
            self._close(Ending("aborted", self._status or None, counted=usage, flags=("gateway_error",)))

    def _cancel_upstream(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _disarm(self) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._task = task = self._gate.loop.create_task(work)
        self._gate.tasks.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._gate.tasks.discard(task)
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, GatewayError):
            self._refuse(error)
        elif error is not None:
            self._crashed(error)
