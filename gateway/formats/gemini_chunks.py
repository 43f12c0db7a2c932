"""One response of Gemini's, whole or one of a stream: who speaks, what ended, what went wrong, what it cost.

Field names: python-genai, `types.GenerateContentResponse`. Of the generated text nothing is decoded here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.formats.base import InBandError

__all__ = [
    "DECODE_ERRORS",
    "Candidate",
    "Chunk",
    "Figures",
    "error_in",
    "is_blocked",
    "open_chunk",
    "text_of",
]


class Figures(msgspec.Struct, gc=False, rename="camel"):
    """The counts of a usage object that say how far a reply has come."""

    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    total_token_count: int = 0


class Candidate(msgspec.Struct, gc=False, rename="camel"):
    """Which answer it is, and whether and on what it ended."""

    index: int = 0
    finish_reason: msgspec.Raw = msgspec.Raw()
    grounding_metadata: msgspec.Raw = msgspec.Raw()

    @property
    def has_finished(self) -> bool:
        """Old replies give the reason as a number."""
        return bytes(self.finish_reason) not in (b"", b"null", b'""', b"0")


class Chunk(msgspec.Struct, gc=False, rename="camel"):
    """The members of a response that concern its identity, its end or its bill."""

    candidates: list[Candidate] | None = None
    prompt_feedback: msgspec.Raw = msgspec.Raw()
    usage_metadata: Figures | None = None
    model_version: msgspec.Raw = msgspec.Raw()
    response_id: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_CHUNK: Final = msgspec.json.Decoder(Chunk)
_TEXT: Final = msgspec.json.Decoder(str)
DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# What an `error` member holds where nothing went wrong.
_NO_ERROR: Final = (b"", b"null", b"false", b'""', b"{}")


def open_chunk(data: bytes) -> Chunk | None:
    """The outside of one response; None for what is not a JSON object."""
    try:
        return _CHUNK.decode(data)
    except DECODE_ERRORS:
        return _open_leniently(data)


def _open_leniently(data: bytes) -> Chunk | None:
    """The same for one with broken UTF-8, lone surrogates or a member of an unexpected type."""
    try:
        told = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    usage, candidates = told.get("usageMetadata"), told.get("candidates")
    several = candidates if isinstance(candidates, list) else ()
    return Chunk(
        candidates=[_candidate(each) for each in several if isinstance(each, dict)],
        prompt_feedback=_raw(told.get("promptFeedback")),
        usage_metadata=_figures(usage) if isinstance(usage, dict) else None,
        model_version=_raw(told.get("modelVersion")),
        response_id=_raw(told.get("responseId")),
        error=_raw(told.get("error")),
    )


def _candidate(told: Mapping[str, Any]) -> Candidate:
    return Candidate(
        index=_count(told.get("index")),
        finish_reason=_raw(told.get("finishReason")),
        grounding_metadata=_raw(told.get("groundingMetadata")),
    )


def _figures(told: Mapping[str, Any]) -> Figures:
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
    return Figures(*(_count(told.get(name)) for name in names))


def _count(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw() if value is None else msgspec.Raw(json.dumps(value).encode())


def text_of(raw: msgspec.Raw) -> str | None:
    """A member that is a string; None where it is something else or empty."""
    try:
        return _TEXT.decode(raw) or None
    except DECODE_ERRORS:
        return None


def is_blocked(chunk: Chunk) -> bool:
    """Whether the prompt was refused: no candidate will come."""
    return b'"blockReason"' in bytes(chunk.prompt_feedback)


def error_in(chunk: Chunk) -> InBandError | None:
    """`{"error": {"code", "message", "status"}}` (google.rpc.Status, python-genai `errors.py`)."""
    raw = bytes(chunk.error)
    if raw in _NO_ERROR:
        return None
    try:
        told = msgspec.json.decode(raw)
    except DECODE_ERRORS:
        told = None
    if not isinstance(told, dict):
        return InBandError("error", told if isinstance(told, str) else raw.decode("utf-8", "replace"))
    code = told.get("status") or told.get("code") or "error"
    return InBandError(str(code), str(told.get("message") or ""))
