"""Reads the usage object of OpenAI's chat and completions dialect, as OpenAI and its many imitators send it.

OpenAI counts cached, cache-written and audio tokens inside `prompt_tokens`, and reasoning and audio tokens
inside `completion_tokens` (openai-python, `types/completion_usage.py`); DeepSeek names cache hits
`prompt_cache_hit_tokens` (api-docs.deepseek.com, "Context caching"); Moonshot has a bare `cached_tokens`;
xAI and Google's OpenAI layer leave reasoning out of `completion_tokens` and in `total_tokens`. The result
is disjoint meters. What does not add up is billed as told, never below zero, and named in `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.formats.base import Report

__all__ = ["read_usage"]

# Fields that a meter stands for, or that break down or repeat what one does.
_KNOWN: Final = {
    "": {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "latency_checkpoint",
    },
    "prompt_tokens_details": {
        "cached_tokens",
        "cache_write_tokens",
        "audio_tokens",
        "text_tokens",
        "image_tokens",
    },
    "completion_tokens_details": {
        "reasoning_tokens",
        "audio_tokens",
        "text_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    },
}
# Beyond this a figure is an error of the provider: no model reads or writes a trillion tokens.
_QUANTITY_MAX: Final = 10**12


def read_usage(
    raw: bytes,
    *,
    has_output: Callable[[], bool],
    model: str | None = None,
    service_tier: str | None = None,
    fees: Mapping[str, int],
) -> Report | None:
    """The report of one usage object, given as its verbatim JSON; None where it tells nothing.

    Absent is not zero, and neither are zeros beside a reply that says something (`has_output`, asked only
    then): such an object is no report.
    """
    meters = _usual(raw)
    if meters is not None:
        return Report({**meters, **fees} if fees else meters, raw, model, service_tier)
    told = _decode(raw)
    if told is None or not any(_is_figure(told.get(name)) for name in ("prompt_tokens", "completion_tokens")):
        return None
    reader = _Reader(told)
    ins, outs = reader.input_meters(), reader.output_meters()
    if not any(ins.values()) and not any(outs.values()) and has_output():
        return None
    missing = []
    if not any(ins.values()) and any(outs.values()):
        missing.append("input")
    if not any(outs.values()) and has_output():
        missing.append("output")
    return Report(
        usage={meter: quantity for meter, quantity in (ins | outs | dict(fees)).items() if quantity},
        raw=raw,
        model=model,
        service_tier=service_tier,
        unknown=(*reader.unknown_fields(), *reader.anomalies),
        missing=tuple(missing),
    )


class _PromptDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    cached_tokens: int = 0
    audio_tokens: int = 0


class _CompletionDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _PromptDetails = _PromptDetails()
    completion_tokens_details: _CompletionDetails = _CompletionDetails()


_USUAL: Final = msgspec.json.Decoder(_Usual)


def _usual(raw: bytes) -> dict[str, int] | None:
    """The meters of a usage object that is as OpenAI's own nearly always are, in a fifth of the time.

    Anything unusual (other fields, nulls, figures that do not add up, a side without tokens) is None: the
    long way tells what it means.
    """
    try:
        told = _USUAL.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    ins, outs = told.prompt_tokens_details, told.completion_tokens_details
    cached, heard, spoken, thought = (
        ins.cached_tokens,
        ins.audio_tokens,
        outs.audio_tokens,
        outs.reasoning_tokens,
    )
    read = told.prompt_tokens - cached - heard
    written = told.completion_tokens - thought - spoken
    if min(read, cached, heard, written, thought, spoken) < 0 or told.total_tokens > _QUANTITY_MAX:
        return None
    if told.total_tokens != told.prompt_tokens + told.completion_tokens:
        return None
    if not (told.prompt_tokens and told.completion_tokens):
        return None
    if not (cached or heard or spoken or thought):
        return {"input": read, "output": written}
    meters = {}
    for meter, quantity in (
        ("input", read),
        ("cache_read", cached),
        ("audio_input", heard),
        ("output", written),
        ("reasoning", thought),
        ("audio_output", spoken),
    ):
        if quantity:
            meters[meter] = quantity
    return meters


def _decode(raw: bytes) -> dict[str, Any] | None:
    try:
        told = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Reader:
    """One usage object being read, and what in it did not fit."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self._prompt_details = self._details("prompt_tokens_details")
        self._completion_details = self._details("completion_tokens_details")
        self.anomalies: list[str] = []
        self._prompt = self._figure(told, "prompt_tokens")
        self._completion = self._figure(told, "completion_tokens")
        self._total = self._figure(told, "total_tokens")
        # One side that is not told is what the other leaves of the total.
        if told.get("completion_tokens") is None:
            self._completion = max(self._total - self._prompt, 0)
        elif told.get("prompt_tokens") is None:
            self._prompt = max(self._total - self._completion, 0)

    def _details(self, name: str) -> dict[str, Any]:
        details = self._told.get(name)
        return details if isinstance(details, dict) else {}

    def _figure(self, source: Mapping[str, Any], name: str) -> int:
        value = source.get(name)
        if value is None:
            return 0
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _QUANTITY_MAX:
            self.anomalies.append(f"{name} is no quantity")
            return 0
        return value

    def _cache_read(self) -> int:
        spellings = (
            (self._prompt_details, "cached_tokens"),
            (self._told, "prompt_cache_hit_tokens"),
            (self._told, "cached_tokens"),
        )
        figures = [self._figure(source, name) for source, name in spellings if source.get(name) is not None]
        if len(set(figures)) > 1:
            self.anomalies.append("cached tokens are told twice and differ")
        return max(figures, default=0)

    def input_meters(self) -> dict[str, int]:
        """`prompt_tokens` taken apart. What is cached as well as audio is booked as cached."""
        cached = self._cache_read()
        written = self._figure(self._prompt_details, "cache_write_tokens")
        audio = self._figure(self._prompt_details, "audio_tokens")
        left = self._prompt - cached - written
        if left < 0:
            self.anomalies.append("cached tokens exceed prompt_tokens")
            left = 0
        if audio > left:
            self.anomalies.append("audio tokens exceed the uncached prompt_tokens")
            audio = left
        return {
            "input": left - audio,
            "cache_read": cached,
            "cache_write_5m": written,
            "audio_input": audio,
        }

    def output_meters(self) -> dict[str, int]:
        """`completion_tokens` taken apart, or added to where its maker leaves reasoning out of it."""
        reasoning = self._figure(self._completion_details, "reasoning_tokens")
        audio = self._figure(self._completion_details, "audio_tokens")
        beside = self._beside(reasoning)
        within = 0 if beside and beside == reasoning else reasoning
        left = self._completion - within - audio
        if left < 0:
            self.anomalies.append("reasoning and audio tokens exceed completion_tokens")
            left = 0
        return {"output": left, "reasoning": within + beside, "audio_output": audio}

    def _beside(self, reasoning: int) -> int:
        """Output tokens that only the total tells of: reasoning, by all makers known to do so."""
        missing = self._total - self._completion - self._prompt
        if missing < 0 and self._total:
            self.anomalies.append("total_tokens is less than its parts")
        if missing > 0 and missing != reasoning:
            self.anomalies.append("total_tokens is more than its parts")
        return max(missing, 0)

    def unknown_fields(self) -> list[str]:
        """Fields that no meter stands for and that say something: a number that is not zero."""
        found = []
        for place, source in (
            ("", self._told),
            ("prompt_tokens_details", self._prompt_details),
            ("completion_tokens_details", self._completion_details),
        ):
            if source.keys() <= _KNOWN[place]:
                continue
            found += [
                f"{place}.{name}" if place else name
                for name, value in source.items()
                if name not in _KNOWN[place] and not isinstance(value, bool) and _speaks(value)
            ]
        return found


def _speaks(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_speaks(each) for each in value.values())
    return isinstance(value, int | float) and value != 0
