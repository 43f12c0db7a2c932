"""What a provider's refusal means: whose matter it is, whether to try again, and after how long.

The rule by status mirrors the official SDKs (openai-python and anthropic-sdk-python, `_base_client`):
408, 409, 429 and 5xx are tried again unless `x-should-retry` says otherwise, after `retry-after-ms`, else
`retry-after`. Providers refine it by what their bodies say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

import msgspec

__all__ = ["Blame", "Refusal", "error_of", "header", "read_status", "seconds"]

Blame = Literal[
    "caller",  # the request itself: the client gets the provider's own answer
    "credential",  # our credential, its quota or its payment: never shown as if it were the client's
    "provider",  # overloaded, broken or limiting us
]

# RFC 9110 10.2.3 allows whole seconds; providers send fractions too.
_SECONDS: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")
# Go durations, as in "Please try again in 174ms", "1m30.5s" or Gemini's retryDelay.
_DURATION: Final = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,4})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)(ms|s))?")
# Larger error bodies exist only as pages of HTML.
_BODY_MAX: Final = 262_144


@dataclass(frozen=True, slots=True)
class Refusal:
    """`after_s` is how long the provider asked to wait, in seconds; None where it did not say."""

    blame: Blame
    worth_it: bool
    after_s: float | None = None


def read_status(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Refusal:
    """The rule by status alone.

    401, 402 and 403 speak of the credential, which is ours: the client's own key was checked before. A
    2xx is no refusal, whatever its headers: Anthropic sends retry-after with status 200 too.
    """
    if status < 400:
        return Refusal("provider", False)
    if status in (401, 402, 403):
        return Refusal("credential", False)
    is_transient = status in (408, 409, 429) or status >= 500
    advice = header(headers, b"x-should-retry")
    worth_it = is_transient if advice not in (b"true", b"false") else advice == b"true"
    return Refusal("provider" if is_transient else "caller", worth_it, _wait(headers))


def header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of a header; names are in lower case."""
    return next((value for each, value in headers if each == name), None)


def error_of(body: bytes) -> dict[str, Any]:
    """The `error` object of an error body, {} where there is none.

    Gemini wraps it in a list of one where an array was asked for; a body can also be HTML or cut off.
    """
    if len(body) > _BODY_MAX:
        return {}
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return error if isinstance(error, dict) else {}


def seconds(duration: str) -> float | None:
    """A Go duration in seconds: "174ms", "34.4s", "1m30s"; None for anything else."""
    match = _DURATION.fullmatch(duration)
    if match is None or not duration:
        return None
    hours, minutes, amount, unit = match.groups()
    total = int(hours or 0) * 3600 + int(minutes or 0) * 60
    return total + float(amount or 0) / (1000 if unit == "ms" else 1)


def _wait(headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    exact = (header(headers, b"retry-after-ms") or b"").decode("latin-1").strip()
    if _SECONDS.fullmatch(exact):
        return float(exact) / 1000
    value = (header(headers, b"retry-after") or b"").decode("latin-1").strip()
    return float(value) if _SECONDS.fullmatch(value) else _until(value, headers)


def _until(value: str, headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    """A retry-after that is a date, measured against the response's own date: no clock is asked."""
    sent = (header(headers, b"date") or b"").decode("latin-1")
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(sent)
    except (ValueError, TypeError):  # TypeError: one date with a zone, one without
        return None
    return max(0.0, wait.total_seconds())
