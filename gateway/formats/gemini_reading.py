"""What the responses of one reply have said so far, whatever framing they came in.

Every response of a stream carries the usage so far. The last one counts, not the largest: figures of a
stream may fall (estimates of the prompt are corrected, rounds of tools start anew). That is noted.
"""

from __future__ import annotations

import json
from typing import Final, Literal

import msgspec

from gateway.formats.base import Counter, InBandError, Intent, Report
from gateway.formats.gemini_chunks import (
    DECODE_ERRORS,
    Candidate,
    Chunk,
    Figures,
    error_in,
    is_blocked,
    open_chunk,
    text_of,
)
from gateway.formats.gemini_searches import Searches
from gateway.formats.gemini_texts import FRAME, texts_of
from gateway.formats.gemini_usage import read_usage
from gateway.formats.kept_events import KeptEvents

__all__ = ["UNREADABLE", "Fate", "Reading", "read_reply"]

Fate = Literal["relay", "wait"]

UNREADABLE: Final = "unreadable_reply"


class _Billed(msgspec.Struct, gc=False, rename="camel"):
    usage_metadata: msgspec.Raw = msgspec.Raw()


_NO_INTENT: Final = Intent(model="", stream=False, output_cap=None, choices=1, input_bound=0)
_BILLED: Final = msgspec.json.Decoder(_Billed)
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Reading:
    """The state of one reply.

    Text is kept to be counted only while no response has told what it amounts to: once one tells any
    output, all before it is in that figure.
    """

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        self._searches = Searches()
        self._kept = KeptEvents(texts_of, FRAME)
        self._is_kept = False
        # The most output told at any time, the most of each figure, the last response with figures, and
        # whatever is told of who speaks.
        self._told = 0
        self._peak = Figures()
        self._last: bytes | None = None
        self._figures = Figures()
        self.identity: Chunk | None = None
        self.understood = False
        self.error: InBandError | None = None
        self.seen: set[int] = set()
        self.finished: set[int] = set()

    @property
    def model(self) -> str | None:
        """The served model."""
        return text_of(self.identity.model_version) if self.identity is not None else None

    @property
    def report(self) -> Report | None:
        """The usage as last told."""
        if self._last is None:
            return None
        return read_usage(
            _usage_in(self._last),
            has_output=self._has_output,
            model=self.model,
            fees=self._searches.fees(self.model or self._intent.model),
            notes=(*self._fallen(), *self._searches.notes),
        )

    @property
    def output(self) -> int:
        """The tokens told or counted so far."""
        return self._told + self._kept.tokens

    def take(self, data: bytes) -> Fate:
        """Take in one response, and say whether it may be the last: then it waits for what follows."""
        chunk = open_chunk(data)
        if chunk is None:
            return "relay"
        self.understood = True
        if bytes(chunk.model_version) and (self.identity is None or not self.model):
            self.identity = chunk
        self._take_usage(chunk.usage_metadata, data)
        is_last = self._take_candidates(chunk.candidates or ())
        if bytes(chunk.error):
            self.error = error_in(chunk) or self.error
            is_last = is_last or self.error is not None
        return "wait" if is_last or (bytes(chunk.prompt_feedback) and is_blocked(chunk)) else "relay"

    def _take_usage(self, figures: Figures | None, data: bytes) -> None:
        output = 0
        if figures is not None:
            output = figures.candidates_token_count + figures.thoughts_token_count
            if figures.total_token_count > 0 or figures.prompt_token_count > 0 or output > 0:
                self._last, self._figures = data, figures
                _raise_to(self._peak, figures)
        if output > 0:
            self._told = max(self._told, output)
            if self._is_kept:
                self._kept, self._is_kept = KeptEvents(texts_of, FRAME), False
        else:
            # Line ends between the members of a response would end its line here.
            self._kept.keep(b"data: %b\n\n" % data.replace(b"\r", b"").replace(b"\n", b""))
            self._is_kept = True

    def _take_candidates(self, candidates: list[Candidate] | tuple[()]) -> bool:
        """Whether any of them has finished."""
        has_finished = False
        for candidate in candidates:
            self.seen.add(candidate.index)
            if candidate.has_finished:
                has_finished = True
                self.finished.add(candidate.index)
            if bytes(candidate.grounding_metadata):
                self._searches.add(candidate.grounding_metadata)
        return has_finished

    def may_exceed(self, cap: int) -> bool:
        """See `StreamMeter.may_exceed`."""
        return self._told > cap or self._kept.may_exceed(cap - self._told)

    def count(self, counter: Counter, budget_chars: int) -> bool:
        """See `StreamMeter.count`."""
        return self._kept.count(counter, budget_chars)

    def open_choices(self) -> list[int]:
        """The candidates that have not ended, of those seen and those asked for."""
        return sorted((self.seen | set(range(self._intent.choices))) - self.finished)

    def _has_output(self) -> bool:
        return self._told > 0 or self._kept.has_text()

    def _fallen(self) -> list[str]:
        """The figures that the last response tells less of than an earlier one did."""
        return [
            f"{name} fell"
            for name, field in (
                ("promptTokenCount", "prompt_token_count"),
                ("candidatesTokenCount", "candidates_token_count"),
                ("thoughtsTokenCount", "thoughts_token_count"),
            )
            if max(getattr(self._figures, field), 0) < getattr(self._peak, field)
        ]


def _raise_to(peak: Figures, figures: Figures) -> None:
    peak.prompt_token_count = max(peak.prompt_token_count, figures.prompt_token_count)
    peak.candidates_token_count = max(peak.candidates_token_count, figures.candidates_token_count)
    peak.thoughts_token_count = max(peak.thoughts_token_count, figures.thoughts_token_count)


def _usage_in(data: bytes) -> bytes:
    """The usage object of a response, verbatim."""
    try:
        return bytes(_BILLED.decode(data).usage_metadata)
    except DECODE_ERRORS:
        # As `open_chunk` read it, then.
        return json.dumps(json.loads(data.decode("utf-8", "replace"))["usageMetadata"]).encode()


def read_reply(body: bytes, intent: Intent | None = None) -> tuple[Report | None, InBandError | None]:
    """The usage and the error in a reply that was not streamed, or in a stream that was collected.

    What is neither a JSON object nor an array of such is an error too: it was cut, or it is not from the
    provider at all.
    """
    reading = Reading(intent or _NO_INTENT)
    for response in _responses(body):
        reading.take(response)
    if not reading.understood:
        return None, InBandError(UNREADABLE, "the upstream's reply is not a JSON object")
    return reading.report, reading.error


def _responses(body: bytes) -> list[bytes]:
    if body.lstrip()[:1] != b"[":
        return [body]
    try:
        return [bytes(item) for item in _ITEMS.decode(body)]
    except DECODE_ERRORS:
        return []
