"""Delivers an answer at the chosen pace and breaks it in the chosen way. Knows no dialect.

A dialect hands over a `Body` or a `Stream`; both end up on the wire here, so every fault works in every
dialect. Tokens are billed as they are generated, which here is when the events that carry them are made.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field
from typing import Final

from gateway.simulators.behaviour import Behaviour, Fault
from gateway.simulators.bill import BilledCall, Ending
from gateway.simulators.events import Body, Event, Framing, Stream
from gateway.simulators.stage import Stage
from gateway.simulators.wire import Headers, Wire

__all__ = ["Call", "deliver"]

_HTML: Final = (
    b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
)
_WRONG: Final = (
    b'{"id":7,"type":["message"],"object":null,"model":{"name":1},"choices":"none","content":{"text":[]},'
    b'"output":12,"candidates":"none","data":false,"delta":[],"usage":["many"],"usageMetadata":"lots"}'
)
# A sequence that opens a three-byte character and never completes it (RFC 3629).
_NOT_UTF8: Final = b"\xe2\x28\xff"
_TEXT_FIELDS: Final = (
    b'"content":"',
    b'"text":"',
    b'"delta":"',
    b'"text": "',
    b'"thinking":"',
    b'"id":"',
    b'"',
)
_BREATH: Final = 32  # events between two chances for other calls, when nothing is paced
_BREAKS: Final = frozenset(
    {
        Fault.STALL,
        Fault.CUT_MIDSTREAM,
        Fault.CLOSE_MIDSTREAM,
        Fault.END_MIDSTREAM,
        Fault.CUT_JSON,
        Fault.HALF_JSON,
        Fault.ERROR_MIDSTREAM,
    }
)


@dataclass(slots=True)
class Call:
    """One call while it is being answered."""

    wire: Wire
    stage: Stage
    billed: BilledCall
    behaviour: Behaviour = field(default_factory=Behaviour)
    ending: Ending = "complete"
    _packer: zlib._Compress | None = None

    async def start(self, status: int, headers: Headers, content_type: bytes, length: int | None) -> None:
        """Send the headers, slowly if told to, with the content encoding that `gzip` asks for."""
        sent = [(b"content-type", content_type), *headers]
        if self.behaviour.close:
            sent.append((b"connection", b"close"))
        if self.behaviour.gzip:
            self._packer = zlib.compressobj(wbits=31)
            sent.append((b"content-encoding", b"gzip"))
        elif length is not None:
            sent.append((b"content-length", b"%d" % (length + self.behaviour.blank)))
        if self.behaviour.fault is Fault.SLOW_HEADERS:
            await self.wire.start_slowly(status, sent, self.behaviour.pace_ms / 1000)
        else:
            await self.wire.start(status, sent)
        await self.write(b"\n" * self.behaviour.blank)

    async def write(self, data: bytes) -> None:
        """Send part of the body."""
        if self._packer is not None:
            data = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        await self.wire.write(data, chunk=self.behaviour.chunk)

    async def end(self) -> None:
        """End the body."""
        if self._packer is not None:
            await self.wire.write(self._packer.flush())
        await self.wire.end()

    async def hold(self, name: str) -> None:
        """Wait until a name is released."""
        self.stage.holds.arrived(name)
        await self.stage.announce()
        await self.wire.wait(self.stage.holds.gate(name))

    def settle(self, ending: Ending | None = None) -> None:
        """Note how the call ends, which has to be before its client can know."""
        self.wire.check()
        self.billed.ending = ending or self.ending

    def charge(self, output: int, reasoning: int) -> None:
        """Bill tokens that have been generated."""
        self.billed.output += output
        self.billed.reasoning += reasoning


async def deliver(call: Call, answer: Body | Stream) -> None:
    """Send an answer as the call's behaviour says. Raises ClientGone when nobody is left to send it to."""
    if not await _open(call):
        return
    if call.behaviour.fault is Fault.HTML:
        # A proxy answered: the provider never saw the call.
        call.billed.forget_input()
        call.settle()
        await call.start(200, [], b"text/html", len(_HTML))
        await call.write(_HTML)
        await call.end()
    elif isinstance(answer, Body):
        await _deliver_body(call, answer)
    else:
        await _deliver_stream(call, answer)


async def _open(call: Call) -> bool:
    """Everything that happens before the first byte; False when there will be none."""
    chosen = call.behaviour
    if chosen.delay_ms:
        await call.wire.sleep(chosen.delay_ms / 1000)
    if chosen.hold_headers is not None:
        await call.hold(chosen.hold_headers)
    match chosen.fault:
        case Fault.STALL_HEADERS:
            await call.wire.forever()
        case Fault.REFUSE | Fault.HANG_UP:
            call.billed.forget_input()
            call.settle("cut")
            await (call.wire.reset() if chosen.fault is Fault.REFUSE else call.wire.hang_up())
            return False
    return True


async def _deliver_body(call: Call, answer: Body) -> None:
    await _generate(call, answer)
    data = _spoiled(answer.data, call.behaviour)
    length = len(data) if answer.counted else None
    await call.start(answer.status, answer.headers, answer.content_type, length)
    if call.behaviour.fault in _BREAKS:
        call.billed.reported = None
        await call.write(data[: len(data) // 2])
        await _break(call)
        return
    call.settle()
    await call.write(data)
    await call.end()


async def _generate(call: Call, answer: Body) -> None:
    """Take the time the tokens take, and stop at the hold."""
    chosen = call.behaviour
    call.charge(0, answer.reasoning)
    if chosen.hold is None and not chosen.pace_ms:
        call.charge(answer.output, 0)
        return
    held = min(chosen.after, answer.output)
    for made in range(answer.output + 1):
        if made == held and chosen.hold is not None:
            await call.hold(chosen.hold)
        if made < answer.output:
            await call.wire.sleep(chosen.pace_ms / 1000)
            call.charge(1, 0)


async def _deliver_stream(call: Call, answer: Stream) -> None:
    chosen = call.behaviour
    await call.start(200, answer.headers, answer.framing.content_type, None)
    await call.write(answer.framing.opening)
    due = asyncio.get_running_loop().time()
    told = 0
    if chosen.after == 0 and await _interrupt(call, answer):
        return
    for event in answer.events:
        await _tell(call, answer.framing, event, told)
        if not event.paced:
            continue
        told += 1
        if told == chosen.after and await _interrupt(call, answer):
            return
        due = await _pace(call, due, told)
    await _close(call, answer)


async def _tell(call: Call, framing: Framing, event: Event, told: int) -> None:
    """Bill and send one event, spoiled if it is the one to be."""
    chosen = call.behaviour
    call.charge(event.output, event.reasoning)
    if event.paced:
        call.billed.events += 1
        if chosen.comments and told % chosen.comments == 0:
            await call.write(framing.comment())
        if told == chosen.after:
            event = Event(_spoiled(event.data, chosen), event.name)
    await call.write(framing.frame(event))


async def _pace(call: Call, due: float, told: int) -> float:
    """Wait for the next event's time, which does not drift with the time the events take; says when it is."""
    if call.behaviour.pace_ms:
        now = asyncio.get_running_loop().time()
        due = max(due + call.behaviour.pace_ms / 1000, now)
        await call.wire.sleep(due - now)
    elif told % _BREATH == 0:
        await asyncio.sleep(0)
    return due


async def _interrupt(call: Call, answer: Stream) -> bool:
    """What happens after `after` events: a hold, a break, or nothing. True when the stream is over."""
    chosen = call.behaviour
    if chosen.hold is not None:
        await call.hold(chosen.hold)
    if chosen.fault not in _BREAKS:
        return False
    if chosen.fault is Fault.ERROR_MIDSTREAM:
        await call.write(answer.failure())
    elif chosen.fault in (Fault.CUT_JSON, Fault.HALF_JSON):
        event = next(answer.events, Event(b"{}"))
        call.charge(event.output, event.reasoning)
        half = len(event.data) // 2
        await call.write(answer.framing.frame(event).partition(event.data[half:])[0])
    await _break(call)
    return True


async def _break(call: Call) -> None:
    """Stop in the way the fault says."""
    if call.behaviour.fault is Fault.STALL:
        await call.wire.forever()
    call.settle("cut")
    match call.behaviour.fault:
        case Fault.CUT_MIDSTREAM:
            await call.wire.reset()
        case Fault.CLOSE_MIDSTREAM | Fault.CUT_JSON:
            await call.wire.hang_up()
        case _ if call.wire.counts_bytes:
            # A body with a length cannot end early but by closing.
            await call.wire.hang_up()
        case _:
            await call.end()


async def _close(call: Call, answer: Stream) -> None:
    """The terminator as often as the fault says, and the end of the body."""
    call.settle()
    repeats = {Fault.NO_DONE: 0, Fault.DOUBLE_DONE: 2}
    last = answer.terminator
    if last is not None:
        said = repeats.get(call.behaviour.fault, 1) if call.behaviour.fault else 1
        await call.write(answer.framing.frame(last) * said)
    await call.write(answer.framing.closing)
    await call.end()


def _spoiled(data: bytes, chosen: Behaviour) -> bytes:
    """JSON made wrong in the way a fault asks for; the same when none does."""
    match chosen.fault:
        case Fault.WRONG_TYPES:
            return _WRONG
        case Fault.BIG_LINE:
            # White space inside JSON is the one padding that every dialect has to accept (RFC 8259, 2).
            return data[:-1] + b" " * chosen.size + data[-1:]
        case Fault.BAD_UTF8:
            needle = next(mark for mark in _TEXT_FIELDS if mark in data)
            return data.replace(needle, needle + _NOT_UTF8, 1)
        case _:
            return data
