"""One resumable call: it owns its exchange and a log of its answer; connections only follow it.

Numbered frames are for followers that may stop and come back, on any transport. A call that came over HTTP
keeps the bytes of its answer as well, for whoever repeats it. The call lives on for a grace time after its
last follower left, and is cancelled then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from gateway.domain.errors import Ended, GatewayError
from gateway.domain.money import format_usd
from gateway.formats.chat_frames import ChatFrames
from gateway.formats.openai_envelope import write_usage
from gateway.formats.raw_frames import RawFrames
from gateway.formats.refusals import render
from gateway.gate.admission import Offer
from gateway.gate.attempts import Attempt
from gateway.gate.call_log import CallLog
from gateway.gate.exchange import Exchange
from gateway.gate.gate import Gate
from gateway.gate.inbound import Downstream, Headers, InboundCall
from gateway.gate.settlement import Settlement
from gateway.ledger.ledger import Hold

__all__ = ["Follower", "Head", "LogLimits", "ResumableCall", "error_object", "gone"]


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How long and how much is kept."""

    grace_s: float
    keep_s: float
    call_bytes: int
    all_bytes: int


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer over HTTP begins; one that is whole has all its bytes in one piece."""

    status: int
    headers: Headers
    is_whole: bool


class Follower(Protocol):
    """One connection that reads a call's answer, at a pace of its own."""

    @property
    def is_slow(self) -> bool:
        """Whether it has more before it than it should: once all are slow, the upstream waits."""

    def wake(self) -> None:
        """The call has a name now, its log has more, or it is over."""


class Frames(Protocol):
    """Makes the numbered frames of an answer."""

    error: bytes | None

    def feed(self, data: bytes) -> list[bytes]: ...

    def end(self, usage: Mapping[str, Any], cost: Mapping[str, Any]) -> list[bytes]: ...

    def whole(self, body: bytes) -> list[bytes]: ...


class ResumableExchange(Exchange):
    """An exchange that tells its call what becomes of it."""

    __slots__ = ("owner",)

    def __init__(self, gate: Gate, inbound: InboundCall, owner: ResumableCall) -> None:
        super().__init__(gate, inbound, owner)
        self.owner: ResumableCall | None = owner  # None once it is over

    def _reserved(self, offer: Offer, hold: Hold) -> None:
        if self.owner is not None:
            self.owner.admitted(self.call_id, offer)
        super()._reserved(offer, hold)

    def _tell(
        self,
        downstream: Downstream,
        attempt: Attempt,
        settlement: Settlement,
        error: GatewayError | None,
    ) -> None:
        if self.owner is not None:
            self.owner.settlement = settlement
        super()._tell(downstream, attempt, settlement, error)

    def _ended(self, failure: OSError | None) -> None:
        super()._ended(failure)
        if self.owner is not None:
            self.owner.over()


class ResumableCall:
    """One call and its log; it is the Downstream of its exchange.

    `is_chat`: its frames are those of a chat socket; otherwise they are the events of its dialect as they
    came. `keeps_bytes`: the answer can be repeated over HTTP. `on_change` hears when it is admitted and over.
    """

    def __init__(
        self,
        gate: Gate,
        limits: LogLimits,
        inbound: InboundCall,
        on_change: Callable[[ResumableCall], None],
        *,
        is_chat: bool,
        keeps_bytes: bool,
    ) -> None:
        self._gate = gate
        self._grace_s = limits.grace_s
        self._on_change = on_change
        self._frames: Frames = ChatFrames() if is_chat else RawFrames()
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._followers: list[Follower] = []
        self.is_chat = is_chat
        self.exchange = ResumableExchange(gate, inbound, self)
        self.settlement: Settlement | None = None
        self.call = ""  # its id, once it is admitted
        self.key = self.account = ""
        self.log = CallLog(limits.call_bytes)
        self.bytes = CallLog(limits.call_bytes) if keeps_bytes else None
        self.head: Head | None = None  # once its answer begins
        self.error: bytes | None = None  # the error object it ended with
        self.is_broken = False  # its answer was broken off
        self.is_over = False

    @property
    def size(self) -> int:
        """The bytes it takes."""
        return self.log.size + (0 if self.bytes is None else self.bytes.size)

    def trim(self) -> None:
        """Give half of it back: there is no room for so many."""
        self.log.trim()
        if self.bytes is not None:
            self.bytes.trim()

    @property
    def is_refused(self) -> bool:
        """It ended with an error before anything was answered: nothing of it is worth remembering."""
        return self.is_over and (not self.call or (self.head is not None and self.head.status >= 400))

    # Its followers.

    def follow(self, follower: Follower, after: int) -> None:
        """Be woken for what follows this frame; raise Ended when that is not kept any more."""
        if not self.log.has_after(after):
            raise gone(self.call)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._followers.append(follower)
        self.pace()

    def leave(self, follower: Follower) -> None:
        """A follower is gone; the last one starts the grace time."""
        if follower not in self._followers:
            return
        self._followers.remove(follower)
        self.pace()
        if not self._followers and not self.is_over:
            if self.call:
                self._timer = self._gate.loop.call_later(self._grace_s, self.cancel)
            else:
                self.cancel()  # nobody could name it

    def pace(self) -> None:
        """Hold the upstream up, or let it go on, as the followers read."""
        if self._followers:
            is_behind = all(follower.is_slow for follower in self._followers)
        else:
            is_behind = self.log.is_full
        if is_behind != self._is_paused:
            self._is_paused = is_behind
            if is_behind:
                self.exchange.pause()
            else:
                self.exchange.resume()

    def _wake(self) -> None:
        for follower in tuple(self._followers):
            follower.wake()

    # Its life.

    def admitted(self, call: str, offer: Offer) -> None:
        """It has a hold, and from now on a name."""
        self.call = call
        self.key, self.account = offer.scope.key, offer.caller.key.account
        self._on_change(self)
        self._wake()

    def cancel(self) -> None:
        """Stop the upstream, settle by what is known, and tell the followers."""
        if self.is_over:
            return
        cancelled = Ended("cancelled", "The call was cancelled.", hint="What was relayed is charged.")
        self.error = self.error or error_object(cancelled)
        self.is_broken = True
        self.exchange.downstream = None
        self.exchange.client_gone()
        self.exchange.stop()
        if not self.call:
            self.over()  # it was not admitted yet: nothing else will end it

    def over(self) -> None:
        """Its close record is written, or it never had one."""
        if self.is_over:
            return
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_change(self)
        self._wake()
        # Each holds the other: let go, or its log waits for the garbage collector.
        self.exchange.owner = None

    # Downstream: what its exchange answers.

    def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer; a frame has no head."""
        self.head = Head(status, headers, is_whole=False)
        self._wake()

    def write(self, data: bytes) -> None:
        """More of a streamed answer."""
        self._keep(data, self._frames.feed(data))
        self._wake()
        self.pace()

    def end(self, data: bytes) -> None:
        """The rest of a streamed answer, once it is booked."""
        frames = self._frames.feed(data)
        self._keep(data, [*frames, *self._frames.end(*_told(self.settlement))])
        self.error = self._frames.error
        self.over()

    def abort(self) -> None:
        """The stream broke off; its last event says why."""
        self._keep(b"", self._frames.end(*_told(self.settlement)))
        self.error = self._frames.error
        self.is_broken = True
        self.over()

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """An answer in one piece: an error, or one that is not streamed."""
        self.head = Head(status, headers, is_whole=True)
        if self.bytes is not None:
            self.bytes.append(body)
        try:
            if status >= 400:
                self.error = bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["error"])
            else:
                frames = self._frames.whole(body)
                self._keep(b"", [*frames, *self._frames.end(*_told(self.settlement))])
                self.error = self._frames.error
        except (msgspec.MsgspecError, KeyError, IndexError):
            self.error = msgspec.json.encode({"message": f"The provider answered {status}.", "code": status})
        self.over()

    def _keep(self, data: bytes, frames: list[bytes]) -> None:
        if data and self.bytes is not None:
            self.bytes.append(data)
        for frame in frames:
            self.log.append(frame)


def error_object(error: GatewayError) -> bytes:
    """What stands under `error` in OpenAI's dialect."""
    found = msgspec.json.decode(render(error, "openai").body, type=dict[str, msgspec.Raw])
    return bytes(found["error"])


def gone(call: str) -> Ended:
    """What was asked for is not kept any more."""
    return Ended(
        "answer_gone",
        "This answer, or the part of it that was asked for, is not kept any more.",
        hint=f"GET /v1/calls/{call} has the receipt.",
    )


def _told(settlement: Settlement | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Usage in OpenAI's words from what was booked, for a stream that told none; and what it cost."""
    if settlement is None:
        return {}, {}
    usage: dict[str, Any] = msgspec.json.decode(write_usage(settlement.closing.usage))
    charge = settlement.charge
    return usage, {
        "cost": msgspec.Raw(format_usd(charge.total_nano).encode()),
        "cost_details": {
            line.meter: msgspec.Raw(format_usd(line.cost_nano).encode()) for line in charge.lines
        },
    }
