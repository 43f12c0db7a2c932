"""Meters Responses streams beside their bytes.

A stream is `response.created`, items that are opened, continued and closed, and one last event that repeats
the whole answer with its usage: `response.completed`, `.incomplete` or `.failed`, whose `error` event comes
before it (openai-python, `types/responses/response_stream_event.py`). The hot path looks at no event: a few
searches over what arrived say whether anything in it deserves a reading. A look-alike inside a text costs a
reading and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from gateway.domain.errors import GatewayError
from gateway.domain.usage import Usage
from gateway.formats.base import Counter, InBandError, Intent, Report
from gateway.formats.kept_events import KeptEvents
from gateway.formats.openai_envelope import text_of
from gateway.formats.refusals import render_body
from gateway.formats.responses_envelope import (
    ENDED,
    Answer,
    Event,
    error_in,
    open_answer,
    open_event,
    report_of,
    write_usage,
)
from gateway.formats.responses_made import made_of, name_of
from gateway.formats.responses_texts import FRAME, reply_texts, texts_of
from gateway.formats.responses_usage import Used
from gateway.formats.sse import EventFramer, event_around, read_event, split_events, whole_events

__all__ = ["ResponsesMeter"]

# Events that end a stream, tell of an error, or close an item of a tool that the provider ran.
_NEEDLES: Final = (
    b'"response.completed"',
    b'"response.incomplete"',
    b'"response.failed"',
    b'"response.cancelled"',
    b'"error"',
    b'_call"',
)
_ITEM_DONE: Final = "response.output_item.done"
_ERROR: Final = "error"
_NUMBER: Final = re.compile(rb'"sequence_number"\s*:\s*(\d+)')
# After the terminal event nothing is expected; more than this of it is not kept.
_HELD_BYTES_MAX: Final = 64 * 1024
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ResponsesMeter:
    """See `gateway.formats.base.StreamMeter`."""

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        self._framer = EventFramer()
        self._kept = KeptEvents(texts_of, FRAME)
        # The answer as the first event had it, and as the last one has it.
        self._opening = msgspec.Raw()
        self._first: Answer | None = None
        self._last: Answer | None = None
        self._used = Used()
        self._understood = False
        self._error: InBandError | None = None
        self._number = 0
        self._ended = False
        self._cut = False
        self._held = b""

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def error(self) -> InBandError | None:
        return self._error

    @property
    def model(self) -> str | None:
        answer = self._last or self._first
        return text_of(answer.model) if answer is not None else None

    @property
    def relayed_output(self) -> int:
        return self._kept.tokens

    @property
    def made(self) -> tuple[str, ...]:
        answer = self._last or self._first
        return () if answer is None else made_of(answer)

    @property
    def unfinished(self) -> str | None:
        """The id of an answer that has begun and not ended."""
        return None if self._first is None or self._last is not None else name_of(self._first)

    @property
    def report(self) -> Report | None:
        return report_of(self._last or self._first or Answer(), self._used, self._kept.has_text)

    def feed(self, data: bytes) -> bytes:
        block = self._framer.feed(data)
        if not block or self._cut:
            return b""
        if self._ended:
            self._pass_on(block, [])
            return b""
        if self._first is not None and not self._held and not _deserves_reading(block):
            self._kept.keep(block)
            return block
        return self._sift(block)

    def finish(self) -> bytes:
        rest = self._framer.rest()
        if self._cut:
            return b""
        relayed = self._sift(rest) if rest else b""
        if not self._understood:
            self._read_unframed(rest)
        held, self._held = self._held, b""
        return relayed + held

    def fail(self, tail: bytes, error: GatewayError) -> bytes:
        data = b'{"type":"error","sequence_number":%d,%b' % (
            self._number + 1,
            render_body(error, "openai")[1:],
        )
        return whole_events(tail) + b"event: error\ndata: %b\n\n" % data

    def may_exceed(self, cap: int) -> bool:
        return self._kept.may_exceed(cap)

    def count(self, counter: Counter, budget_chars: int) -> bool:
        return self._kept.count(counter, budget_chars)

    def cut(self, usage: Usage | None = None) -> bytes:
        self._kept.read_all()
        self._ended, self._cut, self._held = True, True, b""
        event = b'{"type":"response.incomplete","sequence_number":%d,"response":%b}'
        return b"event: response.incomplete\ndata: %b\n\n" % (
            event % (self._number + 1, self._incomplete(usage or {"output": self._kept.tokens}))
        )

    def _incomplete(self, usage: Usage) -> bytes:
        """The answer as it was when it began, ended at its cap."""
        try:
            members = _FIELDS.decode(self._opening)
        except _DECODE_ERRORS:
            members = {"object": msgspec.Raw(b'"response"'), "output": msgspec.Raw(b"[]")}
        members["status"] = msgspec.Raw(b'"incomplete"')
        members["incomplete_details"] = msgspec.Raw(b'{"reason":"max_output_tokens"}')
        members["usage"] = msgspec.Raw(write_usage(usage))
        return msgspec.json.encode(members)

    def _sift(self, block: bytes) -> bytes:
        """Read those events of a block that deserve it; returns what may go on now."""
        relayed: list[bytes] = []
        at = 0
        for start, end in self._to_read(block):
            fate = self._read(block[start:end])
            if fate == "relay":
                continue
            self._pass_on(block[at:start], relayed)
            at = end
            if fate == "wait":
                relayed.append(self._held)
                self._held = block[start:end]
            else:
                self._held += block[start:]
                self._ended, at = True, len(block)
                break
        self._pass_on(block[at:], relayed)
        return b"".join(relayed)

    def _pass_on(self, run: bytes, relayed: list[bytes]) -> None:
        """Relay a run of events, and before it the error that waited for something to follow it."""
        if self._ended:
            if len(self._held) < _HELD_BYTES_MAX:
                self._held += run[:_HELD_BYTES_MAX]
        elif self._held and not run.strip(b"\r\n"):
            self._held += run
        elif run:
            self._kept.keep(run)
            relayed += (self._held, run)
            self._held = b""

    def _to_read(self, block: bytes) -> Iterator[tuple[int, int]]:
        """The events to read, as ranges: the first ones until an answer has begun, then by needle."""
        at, events = 0, split_events(block)
        while self._first is None and (raw := next(events, b"")):
            yield at, at + len(raw)
            at += len(raw)
        yield from _noteworthy(block, at)

    def _read(self, raw: bytes) -> Literal["relay", "wait", "end"]:
        """Take in one event, and say what becomes of it.

        An error waits for what follows: at the end of the stream it goes out after the close record, as the
        end itself does.
        """
        event = read_event(raw)
        envelope = open_event(event.data) if event is not None else None
        if event is None or envelope is None:
            return "relay"
        self._understood = True
        if number := _NUMBER.search(event.data):
            self._number = min(int(number[1]), 2**53)
        kind = text_of(envelope.type) or event.name
        if kind == _ITEM_DONE:
            self._used.take(envelope.item)
        elif kind == _ERROR or (error_in(envelope.error) and not bytes(envelope.response)):
            self._error = _told(envelope)
            return "wait"
        answer = open_answer(envelope.response)
        if answer is None:
            return "relay"
        if self._first is None:
            self._first, self._opening = answer, envelope.response
        if answer.standing not in ENDED:
            return "relay"
        self._last = answer
        self._used.take_all(answer.output)
        self._error = error_in(answer.error) or self._error
        return "end"

    def _read_unframed(self, rest: bytes) -> None:
        """An upstream that answered with plain JSON, or anything else, where a stream was asked for."""
        answer = open_answer(rest)
        if answer is None:
            self._error = InBandError("unreadable_reply", "the upstream's reply is not a stream of events")
            return
        self._first = self._last = answer
        self._error = error_in(answer.error)
        self._used.take_all(answer.output)
        for place, text in enumerate(reply_texts(rest)):
            self._kept.add(place, text)


def _told(event: Event) -> InBandError:
    """What an error event says: flat, as the SDK has it, or nested, as it comes."""
    return error_in(event.error) or InBandError(text_of(event.code) or "error", text_of(event.message) or "")


def _deserves_reading(block: bytes) -> bool:
    """Whether a block might hold the end of an answer, an error, or an item of a tool.

    Backward searches, because CPython's cost a third of its forward ones on this text.
    """
    return max(map(block.rfind, _NEEDLES)) >= 0


def _noteworthy(block: bytes, since: int) -> list[tuple[int, int]]:
    """The events after `since` that might hold such a thing, in order; each needle searched from the end."""
    found: set[tuple[int, int]] = set()
    for needle in _NEEDLES:
        end = len(block)
        while (at := block.rfind(needle, since, end)) >= 0:
            event = event_around(block, at)
            found.add(event)
            end = max(event[0], since)
    return sorted(found)
