"""Resumable calls: each owns its exchange and a log of frames; connections only follow it.

A call lives on for a grace time after its last follower left, and is cancelled then. Its log is kept for a
while after its end, in bounded memory: over the bound the oldest finished call goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.domain.errors import Ended, GatewayError, NotFound
from gateway.domain.money import format_usd
from gateway.formats.chat_frames import ChatFrames
from gateway.formats.refusals import render
from gateway.gate.admission import Offer
from gateway.gate.attempts import Attempt
from gateway.gate.call_log import CallLog, Follower
from gateway.gate.exchange import Exchange
from gateway.gate.gate import Gate
from gateway.gate.inbound import Downstream, Headers, InboundCall
from gateway.gate.settlement import Settlement
from gateway.ledger.ledger import Hold

__all__ = ["LogLimits", "ResumableCall", "ResumableCalls", "error_object", "visible"]


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How long and how much is kept."""

    grace_s: float
    keep_s: float
    call_bytes: int
    all_bytes: int


class ResumableExchange(Exchange):
    """An exchange that tells its call what becomes of it."""

    __slots__ = ("owner",)

    def __init__(self, gate: Gate, inbound: InboundCall, owner: ResumableCall) -> None:
        super().__init__(gate, inbound, owner)
        self.owner = owner

    def _reserved(self, offer: Offer, hold: Hold) -> None:
        self.owner.admitted(self.call_id, offer)
        super()._reserved(offer, hold)

    def _tell(
        self,
        downstream: Downstream,
        attempt: Attempt,
        settlement: Settlement,
        error: GatewayError | None,
    ) -> None:
        self.owner.settlement = settlement
        super()._tell(downstream, attempt, settlement, error)

    def _ended(self, failure: OSError | None) -> None:
        super()._ended(failure)
        self.owner.over()


class ResumableCall:
    """One call and its log; it is the Downstream of its exchange."""

    def __init__(self, calls: ResumableCalls, gate: Gate, inbound: InboundCall) -> None:
        self._calls = calls
        self._gate = gate
        self._frames: ChatFrames | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        self.exchange = ResumableExchange(gate, inbound, self)
        self.settlement: Settlement | None = None
        self.call = ""  # its id, once it is admitted
        self.key = self.account = ""
        self.log = CallLog(calls.limits.call_bytes)
        self.error: bytes | None = None  # the error object it ended with
        self.is_known = asyncio.Event()  # admitted, or refused

    # Its life.

    def admitted(self, call: str, offer: Offer) -> None:
        """It has a hold, and from now on a name."""
        self.call = call
        self.key, self.account = offer.scope.key, offer.caller.key.account
        self._frames = ChatFrames(call)
        self._calls.keep(self)
        self.is_known.set()

    def follow(self, after: int) -> Follower:
        """Read from behind this frame on; raise Ended when that is not kept any more."""
        if not self.log.has_after(after):
            raise Ended(
                "answer_gone",
                f"Frames after {after} are not kept: the log holds {self.log.last} frames or lost its first.",
                hint=f"GET /v1/calls/{self.call} has the receipt.",
            )
        self._disarm()
        return Follower(self.log, after)

    def left(self, follower: Follower) -> None:
        """A follower is gone; the last one starts the grace time."""
        follower.leave()
        self.pace()
        if not self.log.followers and not self.log.is_over:
            self._disarm()
            self._timer = self._gate.loop.call_later(self._calls.limits.grace_s, self.cancel)

    def cancel(self) -> None:
        """Stop the upstream, settle by what is known, and tell the followers."""
        if not self.log.is_over:
            self.exchange.downstream = None
            self.error = self.error or error_object(
                Ended("cancelled", "The call was cancelled.", hint="What was relayed is charged.")
            )
            self.exchange.client_gone()
            self.exchange.stop()
            if not self.call:
                self.over()  # it was not admitted yet: nothing else will end it

    def over(self) -> None:
        """Its close record is written, or it never had one."""
        self._disarm()
        if not self.log.is_over:
            self.log.close()
            self._calls.ended(self)
        self.is_known.set()

    def pace(self) -> None:
        """Hold the upstream up, or let it go on, as the followers read."""
        if self.log.is_behind != self._is_paused:
            self._is_paused = not self._is_paused
            if self._is_paused:
                self.exchange.pause()
            else:
                self.exchange.resume()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Downstream: what its exchange answers.

    def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer; a frame has no head."""

    def write(self, data: bytes) -> None:
        """More of a streamed answer."""
        assert self._frames is not None
        for frame in self._frames.feed(data):
            self.log.append(frame)
        self.error = self._frames.error
        self.pace()

    def end(self, data: bytes) -> None:
        """The rest of a streamed answer, once it is booked."""
        assert self._frames is not None
        for frame in (*self._frames.feed(data), *self._frames.end(_usage_of(self.settlement))):
            self.log.append(frame)
        self.error = self._frames.error
        self.over()

    def abort(self) -> None:
        """The stream broke off; its last event says why."""
        self.over()

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """An answer in one piece: an error, unless the upstream does not stream."""
        try:
            answer = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            if status < 400 and self._frames is not None:
                for frame in self._frames.whole(body):
                    self.log.append(frame)
            else:
                self.error = bytes(answer["error"])
        except (msgspec.MsgspecError, KeyError, IndexError):
            self.error = msgspec.json.encode({"message": f"The provider answered {status}.", "code": status})
        self.over()


class ResumableCalls:
    """The resumable calls of one worker, those that ended too as long as they are kept."""

    def __init__(self, gate: Gate, limits: LogLimits) -> None:
        self.limits = limits
        self._gate = gate
        self._calls: dict[str, ResumableCall] = {}  # in the order of their admission

    def begin(self, inbound: InboundCall) -> ResumableCall:
        """A new call; it is under way."""
        call = ResumableCall(self, self._gate, inbound)
        call.exchange.begin()
        return call

    def find(self, call: str) -> ResumableCall | None:
        """A call that is still kept."""
        return self._calls.get(call)

    def keep(self, call: ResumableCall) -> None:
        """It can be found from now on."""
        self._calls[call.call] = call

    def ended(self, call: ResumableCall) -> None:
        """Keep it a while longer, within the bound."""
        self._gate.loop.call_later(self.limits.keep_s, self._calls.pop, call.call, None)
        size = sum(each.log.size for each in self._calls.values())
        for each in list(self._calls.values()):
            if size <= self.limits.all_bytes:
                return
            if each.log.is_over:
                size -= each.log.size
                del self._calls[each.call]


def error_object(error: GatewayError) -> bytes:
    """What stands under `error` in OpenAI's dialect."""
    found = msgspec.json.decode(render(error, "openai").body, type=dict[str, msgspec.Raw])
    return bytes(found["error"])


def _usage_of(settlement: Settlement | None) -> Mapping[str, Any]:
    """Usage in OpenAI's words from what was booked, for a stream that told none."""
    if settlement is None:
        return {}
    used = settlement.closing.usage
    inside = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
    prompt = sum(used.get(meter, 0) for meter in inside)
    output = sum(used.get(meter, 0) for meter in ("output", "reasoning", "audio_output", "image_output"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "cost": msgspec.Raw(format_usd(settlement.charge.total_nano).encode()),
        "cost_details": {
            line.meter: msgspec.Raw(format_usd(line.cost_nano).encode()) for line in settlement.charge.lines
        },
    }


def visible(call: ResumableCall | None, key: str, account: str | None) -> ResumableCall:
    """The call, if this key made it or may see its account; else it is like one that does not exist."""
    if call is None or (call.key != key and call.account != account):
        raise NotFound("call_not_found", "There is no such call.", hint="A call's id is in its first frame.")
    return call
