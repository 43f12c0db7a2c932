"""Meters Gemini's streams beside their bytes: server-sent events, or one JSON array.

Events end in CRLF and nothing says which is the last: a response that finishes a candidate may be followed
by more, so it waits until something is. Without `alt=sse` the same responses are the elements of an array.
An error may come as an event, as an element, or as bare JSON over several lines in the midst of events.
What arrives first says which framing it is, whatever was asked for.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.domain.errors import GatewayError
from gateway.domain.usage import Usage
from gateway.formats.base import Counter, InBandError, Intent, Report
from gateway.formats.gemini_array import ArrayFramer
from gateway.formats.gemini_reading import UNREADABLE, Fate, Reading
from gateway.formats.gemini_usage import write_usage
from gateway.formats.refusals import render_body, render_event
from gateway.formats.sse import EventFramer, read_event, split_events, whole_events

__all__ = ["EVENT_BYTES_MAX", "GeminiMeter"]

# An image of four thousand pixels a side comes whole, in one event of some 25 MB.
EVENT_BYTES_MAX: Final = 32 * 1024 * 1024
# After the end of an array nothing is expected; more than this of it is not kept.
_HELD_BYTES_MAX: Final = 64 * 1024
_BLANKS: Final = b" \t\r\n\xef\xbb\xbf"


class GeminiMeter:
    """See `gateway.formats.base.StreamMeter`."""

    def __init__(self, intent: Intent, *, is_array: bool = False) -> None:
        """`is_array` says how to end a stream of which nothing arrived."""
        self._intent = intent
        self._is_array = is_array
        self._is_sniffed = False
        self._lead = b""
        self._framer = EventFramer(EVENT_BYTES_MAX)
        self._array = ArrayFramer(EVENT_BYTES_MAX)
        self._reading = Reading(intent)
        self._has_relayed = False
        self._ended = False
        self._cut = False
        self._held = b""
        self._whole = b""  # elements that were held back until the end of an array

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def error(self) -> InBandError | None:
        return self._reading.error

    @property
    def model(self) -> str | None:
        return self._reading.model

    @property
    def relayed_output(self) -> int:
        return self._reading.output

    @property
    def made(self) -> tuple[str, ...]:
        return ()

    @property
    def report(self) -> Report | None:
        return self._reading.report

    def feed(self, data: bytes) -> bytes:
        if self._cut:
            return b""
        if not self._is_sniffed:
            data = self._sniff(data)
        relayed = self._feed_array(data) if self._is_array else self._feed_events(data)
        self._has_relayed = self._has_relayed or bool(relayed)
        return relayed

    def finish(self) -> bytes:
        if self._cut:
            return b""
        rest = self._array.rest() if self._is_array else self._framer.rest()
        rest, self._lead = self._lead + rest, b""
        relayed = rest if self._is_array else self._sift(rest)
        if not self._reading.understood and self._reading.error is None:
            self._reading.error = InBandError(UNREADABLE, "the upstream's reply is not a stream of responses")
        held, self._held = self._held, b""
        if self._is_array:
            self._whole = held
            return held + relayed
        return relayed + held

    def fail(self, tail: bytes, error: GatewayError) -> bytes:
        if not self._is_array:
            return whole_events(tail) + render_event(error, "gemini")
        whole = self._whole if tail else b""
        self._has_relayed = self._has_relayed or bool(whole)
        return whole + self._framed(render_body(error, "gemini"))

    def may_exceed(self, cap: int) -> bool:
        # A stream that has finished by itself needs no cut, as long as nothing follows.
        return not self._held and self._reading.may_exceed(cap)

    def count(self, counter: Counter, budget_chars: int) -> bool:
        return self._reading.count(counter, budget_chars)

    def cut(self, usage: Usage | None = None) -> bytes:
        last = self._last_response(usage)
        self._ended, self._cut, self._held = True, True, b""
        return self._framed(last)

    def _framed(self, response: bytes) -> bytes:
        """A response of ours as the end of the stream."""
        if self._is_array:
            return (b",\r\n" if self._has_relayed else b"[") + response + b"\n]"
        return b"data: %b\r\n\r\n" % response

    def _sniff(self, data: bytes) -> bytes:
        """Find out the framing by the first byte that is not blank; until then nothing is decided."""
        data, self._lead = self._lead + data, b""
        start = data.lstrip(_BLANKS)[:1]
        if not start:
            self._lead = data
            return b""
        self._is_array, self._is_sniffed = start == b"[", True
        return data

    def _feed_events(self, data: bytes) -> bytes:
        block = self._framer.feed(data)
        # The common read is one event of one line.
        if (
            block.startswith(b"data: ")
            and block.endswith(b"\r\n\r\n")
            and block.find(b"\n") == len(block) - 3
        ):
            return self._pass_on(block, self._reading.take(block[6:-4]))
        return self._sift(block)

    def _sift(self, block: bytes) -> bytes:
        return b"".join(self._pass_on(raw, self._read(raw)) for raw in split_events(block))

    def _read(self, raw: bytes) -> Fate | None:
        """Take in one event; None where it says nothing (comments, blank lines)."""
        event = read_event(raw)
        data = raw.strip(_BLANKS) if event is None else event.data
        if event is None and not data.startswith(b"{"):
            return None
        return self._reading.take(data)

    def _feed_array(self, data: bytes) -> bytes:
        if self._ended:
            self._hold_more(data)
            return b""
        elements = self._array.feed(data) if data else []
        relayed = [self._pass_on(raw, self._reading.take(_element(raw))) for raw in elements]
        if self._array.closed:
            self._ended = True
            self._hold_more(self._array.rest())
        return b"".join(relayed)

    def _pass_on(self, raw: bytes, fate: Fate | None) -> bytes:
        """What may go on now that this has come: all that waited, unless this says nothing."""
        if fate is None and self._held and len(self._held) < _HELD_BYTES_MAX:
            self._held += raw
            return b""
        held, self._held = self._held, b""
        if fate == "wait":
            self._held = raw
            return held
        return held + raw

    def _hold_more(self, data: bytes) -> None:
        if len(self._held) < _HELD_BYTES_MAX:
            self._held += data[:_HELD_BYTES_MAX]

    def _last_response(self, usage: Usage | None) -> bytes:
        """A response in the stream's own shape that ends every open candidate at its cap."""
        members = {
            "candidates": [
                {
                    "content": {"parts": [{"text": ""}], "role": "model"},
                    "finishReason": "MAX_TOKENS",
                    "index": index,
                }
                for index in self._reading.open_choices()
            ]
        }
        text = msgspec.json.encode(members)[:-1]
        if usage:
            text += b',"usageMetadata":' + write_usage(usage)
        like = self._reading.identity
        model = msgspec.json.encode(self._intent.model) if like is None else bytes(like.model_version)
        text += b',"modelVersion":' + model
        if like is not None and bytes(like.response_id):
            text += b',"responseId":' + bytes(like.response_id)
        return text + b"}"


def _element(raw: bytes) -> bytes:
    """An element without what stands before it."""
    return raw[max(raw.find(b"{"), 0) :]
