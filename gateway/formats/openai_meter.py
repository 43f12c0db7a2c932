"""Meters OpenAI-shaped streams beside their bytes: chat completions and legacy completions.

A stream is role chunk, deltas, finish chunk, usage chunk, `data: [DONE]` (openai-python,
`types/chat/chat_completion_chunk.py`). The hot path looks at no event: three searches over what arrived
say whether anything in it deserves a reading. What they look for cannot stand inside a JSON string,
where a quote is escaped, but at its very end; so a look-alike costs a reading and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from gateway.domain.errors import GatewayError
from gateway.domain.usage import Usage
from gateway.formats.base import Counter, InBandError, Intent, Report
from gateway.formats.kept_ids import kept_ids
from gateway.formats.openai_envelope import (
    Envelope,
    audio_ids,
    error_in,
    is_empty,
    is_object,
    open_envelope,
    report_of,
    text_of,
    write_usage,
)
from gateway.formats.refusals import render_event
from gateway.formats.sse import EventFramer, event_around, read_event, split_events, whole_events
from gateway.formats.transcript import Transcript

__all__ = ["CHAT", "COMPLETION", "ChunkShape", "OpenAIMeter"]


class ChunkShape(NamedTuple):
    """What the last chunk of a choice looks like: the chunk's `object`, and the members before its reason."""

    object: bytes
    choice: bytes


CHAT: Final = ChunkShape(b'"chat.completion.chunk"', b'"delta":{}')
COMPLETION: Final = ChunkShape(b'"text_completion"', b'"text":""')

_DONE: Final = b"[DONE]"
# Every usage object of this dialect has a member whose name ends so.
_TOKENS: Final = b'_tokens"'
_ERROR: Final = b'"error"'
_FINISHED: Final = re.compile(rb'"finish_reason"\s*:\s*"')
_NOT_ZERO: Final = re.compile(rb"[1-9]")
# After the terminal event nothing is expected; more than this of it is not kept.
_HELD_BYTES_MAX: Final = 64 * 1024


class OpenAIMeter:
    """See `gateway.formats.base.StreamMeter`."""

    def __init__(self, intent: Intent, shape: ChunkShape = CHAT) -> None:
        self._intent = intent
        self._shape = shape
        self._framer = EventFramer()
        self._transcript = Transcript()
        # The first chunk that names its model; a cut ends the stream in its shape.
        self._identity: Envelope | None = None
        self._speaks = "audio_output" in intent.prices_apart
        self._made: tuple[str, ...] = ()
        # The last chunk that reported usage, and whether any event could be read at all.
        self._usage: Envelope | None = None
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
        return text_of(self._identity.model) if self._identity is not None else None

    @property
    def relayed_output(self) -> int:
        return self._transcript.tokens

    @property
    def made(self) -> tuple[str, ...]:
        return self._made

    @property
    def report(self) -> Report | None:
        if self._usage is None:
            return None
        return report_of(self._usage, self._identity, self._intent, self._transcript.has_text)

    def feed(self, data: bytes) -> bytes:
        block = self._framer.feed(data)
        if not block or self._cut:
            return b""
        if self._speaks:
            self._made = kept_ids((*self._made, *audio_ids(block)))
        if self._identity is not None and not self._held and not _deserves_reading(block):
            self._transcript.keep(block)
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
        return whole_events(tail) + render_event(error, "openai")

    def may_exceed(self, cap: int) -> bool:
        return self._transcript.may_exceed(cap)

    def count(self, counter: Counter, budget_chars: int) -> bool:
        return self._transcript.count(counter, budget_chars)

    def cut(self, usage: Usage | None = None) -> bytes:
        chunks = [
            self._chunk(
                b'[{"index":%d,%b,"logprobs":null,"finish_reason":"length"}]' % (index, self._shape.choice)
            )
            for index in self._transcript.open_choices(self._intent.choices)
        ]
        if usage is not None and self._intent.wants_usage:
            chunks.append(self._chunk(b"[]", write_usage(usage)))
        self._ended, self._cut, self._held = True, True, b""
        return b"".join(b"data: %b\n\n" % chunk for chunk in (*chunks, _DONE))

    def _sift(self, block: bytes) -> bytes:
        """Read those events of a block that deserve it; returns what may go on now."""
        if self._ended:
            if len(self._held) < _HELD_BYTES_MAX:
                self._held += block[:_HELD_BYTES_MAX]
            return b""
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
                self._transcript.keep(self._held)
            elif fate == "end":
                self._held += block[start:]
                return b"".join(relayed)
        self._pass_on(block[at:], relayed)
        return b"".join(relayed)

    def _pass_on(self, run: bytes, relayed: list[bytes]) -> None:
        """Relay a run of events, and before it the report that waited for something to follow it."""
        if self._held and not run.strip(b"\r\n"):
            self._held += run
        elif run:
            self._transcript.keep(run)
            relayed += (self._held, run)
            self._held = b""

    def _to_read(self, block: bytes) -> Iterator[tuple[int, int]]:
        """The events to read, as ranges: the first ones until one has named the model, then by needle."""
        at = 0
        if self._identity is None:
            for raw in split_events(block):
                yield at, at + len(raw)
                at += len(raw)
                if self.model is not None:
                    break
        yield from _noteworthy(block, at)

    def _read(self, raw: bytes) -> Literal["relay", "wait", "drop", "end"]:
        """Take in one event, and say what becomes of it.

        A report that may be the stream's last word waits for what follows: at the end of the stream it goes
        out after the close record, as the end itself does.
        """
        event = read_event(raw)
        if event is None:
            return "relay"
        if event.data.strip() == _DONE:
            self._ended = self._understood = True
            return "end"
        envelope = open_envelope(event.data)
        if envelope is None:
            return "relay"
        self._understood = True
        if self._identity is None and text_of(envelope.model):
            self._identity = envelope
        error = error_in(envelope)
        self._error = error or self._error
        if not is_object(envelope.usage):
            return "relay"
        self._keep_usage(envelope)
        # Only a chunk that carries nothing but usage may be withheld: DeepSeek puts usage and the last
        # delta into one chunk.
        only_usage = is_empty(envelope.choices)
        if only_usage and error is None and not self._intent.wants_usage:
            return "drop"
        return "wait" if only_usage or _FINISHED.search(envelope.choices) else "relay"

    def _keep_usage(self, envelope: Envelope) -> None:
        """The last report counts, since figures are cumulative; but zeros take nothing back."""
        if self._usage is None or _NOT_ZERO.search(envelope.usage):
            self._usage = envelope

    def _read_unframed(self, rest: bytes) -> None:
        """An upstream that answered with plain JSON, or anything else, where a stream was asked for."""
        envelope = open_envelope(rest)
        if envelope is None:
            self._error = InBandError("unreadable_reply", "the upstream's reply is not a stream of chunks")
            return
        self._identity, self._error = envelope, error_in(envelope)
        self._transcript.read(rest)
        if is_object(envelope.usage):
            self._keep_usage(envelope)

    def _chunk(self, choices: bytes, usage: bytes | None = None) -> bytes:
        """A chunk in the stream's own shape: the members its own chunks have, in their order."""
        like = self._identity or Envelope()
        members = [
            b'"id":' + (bytes(like.id) or b'""'),
            b'"object":' + (bytes(like.object) or self._shape.object),
            b'"created":' + (bytes(like.created) or b"0"),
            b'"model":' + (bytes(like.model) or msgspec.json.encode(self._intent.model)),
        ]
        for name in ("service_tier", "system_fingerprint"):
            if value := bytes(getattr(like, name)):
                members.append(b'"%b":%b' % (name.encode(), value))
        members.append(b'"choices":' + choices)
        if usage is not None:
            members.append(b'"usage":' + usage)
        return b"{" + b",".join(members) + b"}"


def _deserves_reading(block: bytes) -> bool:
    """Whether a block might hold the terminal event, a usage object or an error.

    Backward searches, because CPython's cost a third of its forward ones on this text.
    """
    return block.rfind(_DONE) >= 0 or block.rfind(_TOKENS) >= 0 or block.rfind(_ERROR) >= 0


def _noteworthy(block: bytes, since: int) -> list[tuple[int, int]]:
    """The events after `since` that might hold such a thing, in order; each needle searched from the end."""
    found: set[tuple[int, int]] = set()
    for needle in (_DONE, _TOKENS, _ERROR):
        end = len(block)
        while (at := block.rfind(needle, since, end)) >= 0:
            event = event_around(block, at)
            found.add(event)
            end = max(event[0], since)
    return sorted(found)
