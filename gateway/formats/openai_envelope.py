"""The outside of an OpenAI-shaped chunk or reply: who speaks, what it cost, what went wrong.

Nothing of the generated text is decoded here. Shared by streams and by whole replies, of chat and of
legacy completions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from gateway.domain.usage import Usage, input_total, output_total
from gateway.formats.base import InBandError, Intent, Report
from gateway.formats.kept_ids import kept_ids
from gateway.formats.openai_usage import read_usage
from gateway.formats.transcript import reply_texts

__all__ = [
    "Envelope",
    "audio_ids",
    "error_in",
    "is_empty",
    "is_object",
    "open_envelope",
    "read_reply",
    "report_of",
    "search_fee",
    "text_of",
    "write_usage",
]


class Envelope(msgspec.Struct, gc=False):
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


_ENVELOPE: Final = msgspec.json.Decoder(Envelope)
_TEXT: Final = msgspec.json.Decoder(str)
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Spoken answers are kept for a while, and later turns may point to them. In a text the quotes were escaped.
_AUDIO: Final = b'"audio"'
_AUDIO_ID: Final = re.compile(rb'"audio"\s*:\s*\{[^{}"]*"id"\s*:\s*"([\w.-]+)"')
# What an `error` member holds where nothing went wrong.
_NO_ERROR: Final = (b"", b"null", b"false", b'""', b"{}")


def open_envelope(data: bytes) -> Envelope | None:
    """The envelope of a chunk or reply; None for what is not a JSON object."""
    try:
        return _ENVELOPE.decode(data)
    except _DECODE_ERRORS:
        return None


def is_object(raw: msgspec.Raw) -> bool:
    """Whether a member is there and an object."""
    return memoryview(raw)[:1].tobytes() == b"{"


def is_empty(raw: msgspec.Raw) -> bool:
    """Whether a member is absent, null or an empty array."""
    text = bytes(raw)
    return text in (b"", b"null") or (text.startswith(b"[") and not text[1:-1].strip())


def text_of(raw: msgspec.Raw) -> str | None:
    """A member that is a string; None where it is something else."""
    try:
        return _TEXT.decode(raw)
    except _DECODE_ERRORS:
        return None


def error_in(envelope: Envelope) -> InBandError | None:
    """`{"error": {...}}`, `{"error": "words"}`, and vLLM's `{"object": "error", "message", "code"}`."""
    if bytes(envelope.object) == b'"error"':
        return InBandError(_plain(envelope.code) or "error", _plain(envelope.message) or "")
    raw = bytes(envelope.error)
    if raw in _NO_ERROR:
        return None
    fields = _fields(envelope.error)
    if fields is None:
        return InBandError("error", text_of(envelope.error) or raw.decode("utf-8", "replace"))
    code = _plain(fields.get("code")) or _plain(fields.get("type")) or "error"
    return InBandError(code, _plain(fields.get("message")) or "")


def _fields(raw: msgspec.Raw) -> Mapping[str, msgspec.Raw] | None:
    try:
        return _FIELDS.decode(raw)
    except _DECODE_ERRORS:
        return None


def _plain(raw: msgspec.Raw | None) -> str | None:
    """A string, or a number as written; None for null and the rest."""
    if raw is None or bytes(raw) in (b"", b"null"):
        return None
    return text_of(raw) or bytes(raw).decode("utf-8", "replace")


def audio_ids(data: bytes) -> tuple[str, ...]:
    """The ids of the audio in chunks or a reply."""
    if _AUDIO not in data:
        return ()
    if b'"audio"' not in data:
        return ()
    return kept_ids(found.decode() for found in _AUDIO_ID.findall(data))


def report_of(
    envelope: Envelope, identity: Envelope | None, intent: Intent | None, has_output: Callable[[], bool]
) -> Report | None:
    """The report in a chunk or reply; what it does not say of itself, the stream's first chunk said."""
    model = text_of(envelope.model) or (identity and text_of(identity.model)) or None
    tier = text_of(envelope.service_tier) or (identity and text_of(identity.service_tier)) or None
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


def read_reply(body: bytes, intent: Intent | None = None) -> tuple[Report | None, InBandError | None]:
    """The usage and the error in a reply that was not streamed.

    DeepSeek puts blank lines before a reply while it is busy; Azure wraps a refused prompt, an error with
    its own status, in a 200. What is no JSON object is an error too: it was cut, or it is not from the
    provider at all.
    """
    envelope = open_envelope(body)
    if envelope is None:
        return None, InBandError("unreadable_reply", "the upstream's reply is not a JSON object")
    error = error_in(envelope)
    if not is_object(envelope.usage):
        return None, error
    return report_of(envelope, None, intent, lambda: bool(reply_texts(body))), error


def write_usage(usage: Usage) -> bytes:
    """Meters as a usage object of the dialect: parts are told inside their totals."""
    ins, outs = input_total(usage), output_total(usage)
    written = usage.get("cache_write_5m", 0) + usage.get("cache_write_1h", 0)
    return msgspec.json.encode(
        {
            "prompt_tokens": ins,
            "completion_tokens": outs,
            "total_tokens": ins + outs,
            "prompt_tokens_details": {
                "cached_tokens": usage.get("cache_read", 0),
                "audio_tokens": usage.get("audio_input", 0),
                **({"cache_write_tokens": written} if written else {}),
            },
            "completion_tokens_details": {
                "reasoning_tokens": usage.get("reasoning", 0),
                "audio_tokens": usage.get("audio_output", 0),
            },
        }
    )
