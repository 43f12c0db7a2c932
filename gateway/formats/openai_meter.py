"""Meters OpenAI-shaped streams beside their bytes: chat completions and legacy completions.

A stream is role chunk, deltas, finish chunk, usage chunk, `data: [DONE]` (openai-python,
`types/chat/chat_completion_chunk.py`). The hot path looks at no event: three searches over what arrived
say whether anything in it deserves a reading. What they look for cannot stand inside a JSON string,
where a quote is escaped, but at its very end; so a look-alike costs a reading and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from gateway.domain.usage import Usage, input_total, output_total
from gateway.formats.base import Counter, InBandError, Intent, Report
from gateway.formats.openai_usage import read_usage
from gateway.formats.sse import EventFramer, event_around, read_event, split_events
from gateway.formats.transcript import Transcript, reply_texts

__all__ = ["OpenAIMeter", "read_openai_reply", "search_fee"]

_DONE: Final = b"[DONE]"
# Every usage object of this dialect has a member whose name ends so.
_TOKENS: Final = b'_tokens"'
_ERROR: Final = b'"error"'
_NOT_ZERO: Final = re.compile(rb"[1-9]")
# After the terminal event nothing is expected; more than this of it is not kept.
_HELD_BYTES_MAX: Final = 64 * 1024


class _Envelope(msgspec.Struct, gc=False):
    """The members of a chunk, or of a reply, that concern its identity or its bill; none decoded yet."""

    id: msgspec.Raw = msgspec.Raw()
    object: msgspec.Raw = msgspec.Raw()
    created: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()
    system_fingerprint: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    choices: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    code: msgspec.Raw = msgspec.Raw()


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class OpenAIMeter:
    """See `gateway.formats.base.StreamMeter`."""

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        self._framer = EventFramer()
        self._transcript = Transcript()
        # The first chunk that names its model; a cut ends the stream in its shape.
        self._identity: _Envelope | None = None
        # The last chunk that reported usage, and whether any event could be read at all.
        self._usage: _Envelope | None = None
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
        return _text(self._identity.model) if self._identity is not None else None

    @property
    def relayed_output(self) -> int:
        return self._transcript.tokens

    @property
    def report(self) -> Report | None:
        if self._usage is None:
            return None
        return _report(self._usage, self._identity, self._intent, self._transcript.has_text)

    def feed(self, data: bytes) -> bytes:
        block = self._framer.feed(data)
        if not block or self._cut:
            return b""
        if self._identity is not None and not self._ended and not _deserves_reading(block):
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

    def may_exceed(self, cap: int) -> bool:
        return self._transcript.may_exceed(cap)

    def count(self, counter: Counter, budget_chars: int) -> bool:
        return self._transcript.count(counter, budget_chars)

    def cut(self, usage: Usage | None = None) -> bytes:
        chunks = [
            self._chunk(b'[{"index":%d,"delta":{},"logprobs":null,"finish_reason":"length"}]' % index)
            for index in self._transcript.open_choices(self._intent.choices)
        ]
        if usage is not None and self._intent.wants_usage:
            chunks.append(self._chunk(b"[]", _openai_usage(usage)))
        self._ended, self._cut, self._held = True, True, b""
        return b"".join(b"data: %b\n\n" % chunk for chunk in (*chunks, _DONE))

    def _sift(self, block: bytes) -> bytes:
        """Read those events of a block that deserve it; returns what may go on now."""
        if self._ended:
            self._hold(block)
            return b""
        runs, at = [], 0
        for start, end in self._to_read(block):
            fate = self._read(block[start:end])
            if fate == "relay":
                continue
            runs.append(block[at:start])
            at = end
            if fate == "hold":
                self._hold(block[start:])
                at = len(block)
                break
        runs.append(block[at:])
        relay = b"".join(runs)
        if relay:
            self._transcript.keep(relay)
        return relay

    def _hold(self, data: bytes) -> None:
        self._held = (self._held + data)[:_HELD_BYTES_MAX]

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

    def _read(self, raw: bytes) -> Literal["relay", "drop", "hold"]:
        """Take in one event, and say what becomes of it. From one to be held on, everything is held."""
        event = read_event(raw)
        if event is None:
            return "relay"
        if event.data.strip() == _DONE:
            self._ended = self._understood = True
            return "hold"
        envelope = _open(event.data)
        if envelope is None:
            return "relay"
        self._understood = True
        if self._identity is None and _text(envelope.model):
            self._identity = envelope
        self._error = _error(envelope) or self._error
        if not _is_object(envelope.usage):
            return "relay"
        self._keep_usage(envelope)
        # Only a chunk that carries nothing but usage may be withheld: DeepSeek puts usage and the last
        # delta into one chunk.
        return "drop" if _is_empty(envelope.choices) and not self._intent.wants_usage else "relay"

    def _keep_usage(self, envelope: _Envelope) -> None:
        """The last report counts, since figures are cumulative; but zeros take nothing back."""
        if self._usage is None or _NOT_ZERO.search(envelope.usage):
            self._usage = envelope

    def _read_unframed(self, rest: bytes) -> None:
        """An upstream that answered with plain JSON, or anything else, where a stream was asked for."""
        envelope = _open(rest)
        if envelope is None:
            self._error = InBandError("unreadable_reply", "the upstream's reply is not a stream of chunks")
            return
        self._identity, self._error = envelope, _error(envelope)
        self._transcript.read(rest)
        if _is_object(envelope.usage):
            self._keep_usage(envelope)

    def _chunk(self, choices: bytes, usage: bytes | None = None) -> bytes:
        """A chunk in the stream's own shape: the members its own chunks have, in their order."""
        like = self._identity or _Envelope()
        members = [
            b'"id":' + (bytes(like.id) or b'""'),
            b'"object":' + (bytes(like.object) or b'"chat.completion.chunk"'),
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


def _open(data: bytes) -> _Envelope | None:
    try:
        return _ENVELOPE.decode(data)
    except _DECODE_ERRORS:
        return None


def _is_object(raw: msgspec.Raw) -> bool:
    return memoryview(raw)[:1].tobytes() == b"{"


def _is_empty(raw: msgspec.Raw) -> bool:
    """Absent, null or an empty array."""
    text = bytes(raw)
    return text in (b"", b"null") or (text.startswith(b"[") and not text[1:-1].strip())


def _text(raw: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except _DECODE_ERRORS:
        return None


def _error(envelope: _Envelope) -> InBandError | None:
    """`{"error": {...}}`, `{"error": "words"}`, and vLLM's `{"object": "error", "message", "code"}`."""
    if bytes(envelope.object) == b'"error"':
        return InBandError(_plain(envelope.code) or "error", _plain(envelope.message) or "")
    raw = bytes(envelope.error)
    if raw in (b"", b"null"):
        return None
    fields = _fields(raw)
    if fields is None:
        return InBandError("error", _text(envelope.error) or raw.decode("utf-8", "replace"))
    code = _plain(fields.get("code")) or _plain(fields.get("type")) or "error"
    return InBandError(code, _plain(fields.get("message")) or "")


def _fields(raw: bytes) -> Mapping[str, msgspec.Raw] | None:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except _DECODE_ERRORS:
        return None


def _plain(raw: msgspec.Raw | None) -> str | None:
    """A string, or a number as written; None for null and the rest."""
    if raw is None or bytes(raw) in (b"", b"null"):
        return None
    return _text(raw) or bytes(raw).decode("utf-8", "replace")


def _report(
    envelope: _Envelope, identity: _Envelope | None, intent: Intent | None, has_output: Callable[[], bool]
) -> Report | None:
    """The report in a chunk or reply; what it does not say of itself, the stream's first chunk said."""
    model = _text(envelope.model) or (identity and _text(identity.model)) or None
    tier = _text(envelope.service_tier) or (identity and _text(identity.service_tier)) or None
    return read_usage(
        bytes(envelope.usage),
        has_output=has_output,
        model=model,
        service_tier=tier,
        fees=search_fee(model or "", intent is not None and "web_search" in intent.fees),
    )


def search_fee(model: str, asked: bool) -> dict[str, int]:
    """Search models search once for each call, for a fee that no usage object tells of.

    OpenAI, "Web search" guide: `gpt-4o-search-preview` and `gpt-5-search-api` retrieve before they answer.
    """
    return {"web_search": 1} if asked or "-search-preview" in model or "-search-api" in model else {}


def read_openai_reply(body: bytes, intent: Intent | None = None) -> tuple[Report | None, InBandError | None]:
    """The usage and the error in a reply that was not streamed.

    DeepSeek puts blank lines before a reply while it is busy; Azure wraps a refused prompt, an error with
    its own status, in a 200. What is no JSON object is an error too: it was cut, or it is not from the
    provider at all.
    """
    envelope = _open(body)
    if envelope is None:
        return None, InBandError("unreadable_reply", "the upstream's reply is not a JSON object")
    error = _error(envelope)
    if not _is_object(envelope.usage):
        return None, error
    return _report(envelope, None, intent, lambda: bool(reply_texts(body))), error


def _openai_usage(usage: Usage) -> bytes:
    """Meters as a usage object of the dialect: parts are told inside their totals."""
    ins, outs = input_total(usage), output_total(usage)
    return msgspec.json.encode(
        {
            "prompt_tokens": ins,
            "completion_tokens": outs,
            "total_tokens": ins + outs,
            "prompt_tokens_details": {
                "cached_tokens": usage.get("cache_read", 0),
                "audio_tokens": usage.get("audio_input", 0),
            },
            "completion_tokens_details": {
                "reasoning_tokens": usage.get("reasoning", 0),
                "audio_tokens": usage.get("audio_output", 0),
            },
        }
    )
