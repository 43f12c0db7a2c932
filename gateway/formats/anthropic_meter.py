"""Meters Anthropic's message streams beside their bytes.

A stream is `message_start`, blocks that are opened, continued and closed, `message_delta`, `message_stop`,
and pings anywhere between (anthropic-sdk-python, `types/beta/beta_raw_message_stream_event.py`). The start
tells the input as known before anything was generated and a placeholder of the output; the delta at the
end takes its place, field by field. The hot path looks at no event: two searches over what arrived say
whether anything in it deserves a reading. A look-alike inside a text costs a reading and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from gateway.domain.errors import GatewayError
from gateway.domain.usage import Usage
from gateway.formats.anthropic_blocks import FRAME, Blocks, reply_texts
from gateway.formats.anthropic_envelope import (
    Envelope,
    container_notes,
    error_in,
    open_envelope,
    read_reply,
    write_usage,
)
from gateway.formats.anthropic_made import EXECUTED, container_in, files_in, reply_made
from gateway.formats.anthropic_usage import has_figures, merged_usage, read_usage, usage_fields
from gateway.formats.base import Counter, InBandError, Intent, Report
from gateway.formats.kept_events import KeptEvents
from gateway.formats.kept_ids import kept_ids
from gateway.formats.openai_envelope import text_of
from gateway.formats.refusals import render_event
from gateway.formats.sse import EventFramer, event_around, read_event, split_events, whole_events

__all__ = ["AnthropicMeter"]

# The types of the events that matter: message_start, message_delta, message_stop; error.
_MESSAGE: Final = b'"message_'
_ERROR: Final = b'"error"'
_NEEDLES: Final = (_MESSAGE, _ERROR)
# Where Anthropic runs tools, those that tell of files as well.
_NEEDLES_OF_LOOPS: Final = (*_NEEDLES, b'%b"' % EXECUTED.encode())
# After the terminal event nothing is expected; more than this of it is not kept.
_HELD_BYTES_MAX: Final = 64 * 1024
_STOPPED: Final = b',"delta":{"stop_reason":"max_tokens","stop_sequence":null}'
_SEVERAL: Final = "several messages in one stream: the last one counts"
_LOOPED: Final = "input of the first turn only"

Fate = Literal["relay", "start", "wait", "end"]


class AnthropicMeter:
    """See `gateway.formats.base.StreamMeter`."""

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        self._needles = _NEEDLES_OF_LOOPS if intent.loops > 1 else _NEEDLES
        self._framer = EventFramer()
        self._blocks = Blocks()
        self._kept = KeptEvents(self._blocks.texts_of, FRAME)
        # The message that began last, what usage was told of it so far, and whether that was the last word.
        self._message: Envelope | None = None
        self._has_begun = False
        self._usage: dict[str, msgspec.Raw] = {}
        self._is_final = False
        self._notes: tuple[str, ...] = ()
        self._made: tuple[str, ...] = ()
        # The report of a message that came whole although a stream was asked for.
        self._whole: Report | None = None
        self._understood = False
        self._error: InBandError | None = None
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
        return text_of(self._message.model) if self._message is not None else None

    @property
    def relayed_output(self) -> int:
        return self._kept.tokens

    @property
    def made(self) -> tuple[str, ...]:
        return self._made

    @property
    def report(self) -> Report | None:
        if not self._usage:
            return self._whole
        notes = self._notes
        if not self._is_final and self._intent.loops > 1:
            notes = (*notes, _LOOPED)
        members = (b"%b:%b" % (msgspec.json.encode(name), bytes(raw)) for name, raw in self._usage.items())
        return read_usage(
            b"{" + b",".join(members) + b"}",
            has_output=self._kept.has_text,
            model=self.model,
            requested=self._intent.model,
            is_final=self._is_final,
            notes=notes,
        )

    def feed(self, data: bytes) -> bytes:
        block = self._framer.feed(data)
        if not block or self._cut:
            return b""
        if self._has_begun and not self._held and not self._deserves_reading(block):
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
        return whole_events(tail) + render_event(error, "anthropic")

    def may_exceed(self, cap: int) -> bool:
        return self._kept.may_exceed(cap)

    def count(self, counter: Counter, budget_chars: int) -> bool:
        return self._kept.count(counter, budget_chars)

    def cut(self, usage: Usage | None = None) -> bytes:
        self._kept.read_all()
        events = [] if self._has_begun else [_event("message_start", self._opening())]
        for index in sorted(self._blocks.open):
            events.append(_event("content_block_stop", b',"index":%d' % index))
        told = write_usage(usage or {}, self._kept.tokens)
        events.append(_event("message_delta", b'%b,"usage":%b' % (_STOPPED, told)))
        events.append(_event("message_stop"))
        self._ended, self._cut, self._held = True, True, b""
        return b"".join(events)

    def _opening(self) -> bytes:
        """The start of a message of which nothing arrived."""
        return b',"message":' + msgspec.json.encode(
            {
                "id": "msg_cut",
                "type": "message",
                "role": "assistant",
                "model": self._intent.model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 0},
            }
        )

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
            if fate == "start":
                relayed.append(self._held)
                self._held, self._ended, at = b"", False, start
            elif fate == "wait" and not self._ended:
                relayed.append(self._held)
                self._held = block[start:end]
            else:
                self._held += block[start:end]
                self._ended = True
        self._pass_on(block[at:], relayed)
        return b"".join(relayed)

    def _pass_on(self, run: bytes, relayed: list[bytes]) -> None:
        """Relay a run of events, and before it what waited for something to follow it."""
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
        """The events to read, as ranges: the first ones until a message has begun, then by needle."""
        at, events = 0, split_events(block)
        while not self._has_begun and (raw := next(events, b"")):
            yield at, at + len(raw)
            at += len(raw)
        yield from self._noteworthy(block, at)

    def _deserves_reading(self, block: bytes) -> bool:
        """Whether a block might hold the start or the end of a message, its usage, or an error.

        Backward searches, because CPython's cost a third of its forward ones on this text.
        """
        return max(map(block.rfind, self._needles)) >= 0

    def _noteworthy(self, block: bytes, since: int) -> list[tuple[int, int]]:
        """The events after `since` that might hold such a thing, in order; each searched from the end."""
        found: set[tuple[int, int]] = set()
        for needle in self._needles:
            end = len(block)
            while (at := block.rfind(needle, since, end)) >= 0:
                event = event_around(block, at)
                found.add(event)
                end = max(event[0], since)
        return sorted(found)

    def _read(self, raw: bytes) -> Fate:
        """Take in one event, and say what becomes of it.

        The last usage waits for what follows, and so does an error: at the end of the stream they go out
        after the close record, as the end itself does.
        """
        event = read_event(raw)
        envelope = open_envelope(event.data) if event is not None else None
        if event is None or envelope is None:
            return "relay"
        kind = envelope.kind or event.name
        self._understood = True
        match kind:
            case "message_start":
                self._begin(open_envelope(envelope.message) or Envelope())
                return "start"
            case "message_delta":
                self._take_usage(envelope)
                return "wait"
            case "content_block_start":
                self._keep(*files_in(envelope.content_block))
            case "message_stop":
                return "end"
            case "error":
                self._error = error_in(envelope) or InBandError("error", "")
                return "wait"
        return "relay"

    def _begin(self, message: Envelope) -> None:
        if self._has_begun:
            self._notes = (_SEVERAL,)
        self._message, self._has_begun = message, True
        fields = usage_fields(message.usage)
        if has_figures(fields) or not self._usage:
            self._usage, self._is_final = fields, False
        self._notes += container_notes(message)
        self._keep(container_in(message))

    def _keep(self, *ids: str | None) -> None:
        self._made = kept_ids((*self._made, *ids))

    def _take_usage(self, envelope: Envelope) -> None:
        delta = open_envelope(envelope.delta) or Envelope()
        self._notes += container_notes(delta)
        self._keep(container_in(delta))
        fields = usage_fields(envelope.usage)
        if has_figures(fields) or not self._usage:
            self._usage = merged_usage(self._usage, fields)
            self._is_final = True

    def _read_unframed(self, rest: bytes) -> None:
        """An upstream that answered with plain JSON, or anything else, where a stream was asked for."""
        self._whole, self._error = read_reply(rest, self._intent)
        self._message = open_envelope(rest)
        self._made = reply_made(rest)
        for place, text in enumerate(reply_texts(rest)):
            self._kept.add(place, text)


def _event(kind: str, members: bytes = b"") -> bytes:
    name = kind.encode()
    return b'event: %b\ndata: {"type":"%b"%b}\n\n' % (name, name, members)
