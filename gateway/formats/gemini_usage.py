"""Reads and writes Gemini's usage object, as the Gemini API and Vertex AI send it.

`promptTokenCount` includes what was cached; `candidatesTokenCount` excludes thoughts; what tools brought in
(`toolUsePromptTokenCount`) stands beside the prompt and is billed like it; the total is the sum of the four
(python-genai, `types.GenerateContentResponseUsageMetadata`). Counts of zero are left out. Details say how
much of a count was which kind of media. Documents are billed as images, as genai-prices has it. The
result is disjoint meters; what does not add up is billed as told, never below zero, and named in `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.domain.usage import Usage, input_total, output_total
from gateway.formats.base import Report
from gateway.formats.gemini_chunks import DECODE_ERRORS

__all__ = ["read_usage", "write_usage"]

_PROMPT: Final = "promptTokenCount"
_CANDIDATES: Final = "candidatesTokenCount"
_THOUGHTS: Final = "thoughtsTokenCount"
_TOOLS: Final = "toolUsePromptTokenCount"
_CACHED: Final = "cachedContentTokenCount"
_TOTAL: Final = "totalTokenCount"
_FIGURES: Final = (_PROMPT, _CANDIDATES, _THOUGHTS, _TOTAL)
# Embeddings spell their details `promptTokenDetails`.
_PROMPT_DETAILS: Final = ("promptTokensDetails", "promptTokenDetails")
_CANDIDATES_DETAILS: Final = ("candidatesTokensDetails",)
_TOOLS_DETAILS: Final = ("toolUsePromptTokensDetails",)
_CACHED_DETAILS: Final = ("cacheTokensDetails",)
_KNOWN: Final = frozenset(
    (
        *(_PROMPT, _CANDIDATES, _THOUGHTS, _TOOLS, _CACHED, _TOTAL),
        *(*_PROMPT_DETAILS, *_CANDIDATES_DETAILS, *_TOOLS_DETAILS, *_CACHED_DETAILS),
        *("serviceTier", "trafficType"),
    )
)
# The kind of media that a modality is priced as.
_KINDS: Final = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}
_TEXTS: Final = frozenset(("TEXT", "MODALITY_UNSPECIFIED"))
# Vertex AI tells by which queue a call went what the Gemini API calls its tier.
_TRAFFIC: Final = "on_demand_"
# Beyond this a figure is an error of the provider: no model reads or writes a trillion tokens.
_QUANTITY_MAX: Final = 10**12


def read_usage(
    raw: bytes,
    *,
    has_output: Callable[[], bool],
    model: str | None = None,
    fees: Mapping[str, int],
    notes: Iterable[str] = (),
) -> Report | None:
    """The report of one usage object, given as its verbatim JSON; None where it tells nothing.

    Absent is zero beside other figures, but a reply that says something without any output told
    (`has_output`, asked only then) has its output missing. An object without figures is no report.
    """
    told = _decode(raw)
    if told is None or not any(_is_figure(told.get(name)) for name in _FIGURES):
        return None
    reader = _Reader(told)
    ins, outs = reader.input_meters(), reader.output_meters()
    has_ins, has_outs = any(ins.values()), any(outs.values())
    is_output_missing = not has_outs and has_output()
    if not has_ins and not has_outs and is_output_missing:
        return None
    missing = ["input"] if has_outs and not has_ins else []
    return Report(
        usage={meter: quantity for meter, quantity in (ins | outs | dict(fees)).items() if quantity},
        raw=raw,
        model=model,
        service_tier=_tier(told),
        unknown=(*reader.unknown_fields(), *dict.fromkeys(reader.anomalies), *notes),
        missing=(*missing, "output") if is_output_missing else tuple(missing),
    )


def _decode(raw: bytes) -> dict[str, Any] | None:
    try:
        told = msgspec.json.decode(raw)
    except DECODE_ERRORS:
        return None
    return told if isinstance(told, dict) else None


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tier(told: Mapping[str, Any]) -> str | None:
    tier = told.get("serviceTier")
    if isinstance(tier, str) and tier:
        return tier.lower().removeprefix("service_tier_")
    traffic = told.get("trafficType")
    if isinstance(traffic, str) and traffic and traffic != "TRAFFIC_TYPE_UNSPECIFIED":
        return traffic.lower().removeprefix(_TRAFFIC)
    return None


class _Reader:
    """One usage object being read, and what in it did not fit."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self.anomalies: list[str] = []
        self._prompt = self._figure(told, _PROMPT)
        self._candidates = self._figure(told, _CANDIDATES)
        self._thoughts = self._figure(told, _THOUGHTS)
        self._tools = self._figure(told, _TOOLS)
        self._cached = self._figure(told, _CACHED)

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

    def _media(self, names: tuple[str, ...]) -> dict[str, int]:
        """The tokens of each kind of media; text is what is left."""
        found: dict[str, int] = {}
        for name in names:
            details = self._told.get(name)
            for detail in details if isinstance(details, list) else ():
                if isinstance(detail, dict):
                    modality = str(detail.get("modality") or "MODALITY_UNSPECIFIED").upper()
                    tokens = self._figure(detail, "tokenCount")
                    if modality in _KINDS:
                        found[_KINDS[modality]] = found.get(_KINDS[modality], 0) + tokens
                    elif tokens and modality not in _TEXTS:
                        self.anomalies.append(f"{name}: {modality:.32}")
        return found

    def input_meters(self) -> dict[str, int]:
        """The prompt and what tools added to it, taken apart.

        The prompt's details include what was cached. Old replies, whose details leave it out, do not break
        the cached tokens down either: there is nothing to take off then.
        """
        cached, uncached = self._cached, self._prompt - self._cached
        if uncached < 0:
            self.anomalies.append("cached tokens exceed the prompt's")
            uncached = 0
        of_cache = self._media(_CACHED_DETAILS)
        media = {
            kind: max(tokens - of_cache.get(kind, 0), 0)
            for kind, tokens in self._media(_PROMPT_DETAILS).items()
        }
        read = self._split(uncached, media, "the prompt")
        of_tools = self._split(self._tools, self._media(_TOOLS_DETAILS), "the tools' input")
        kept = self._split(cached, of_cache, "the cache")
        return {
            "input": read[""] + of_tools[""],
            # There is no meter for cached video: none is priced apart.
            "cache_read": kept[""] + kept["video"],
            "audio_input": read["audio"] + of_tools["audio"],
            "audio_cache_read": kept["audio"],
            "image_input": read["image"] + of_tools["image"],
            "image_cache_read": kept["image"],
            "video_input": read["video"] + of_tools["video"],
        }

    def output_meters(self) -> dict[str, int]:
        """Candidates by their media, and thoughts, with whatever only the total tells of."""
        written = self._split(self._candidates, self._media(_CANDIDATES_DETAILS), "the candidates")
        return {
            "output": written[""],
            "reasoning": self._thoughts + self._beside(),
            "audio_output": written["audio"],
            "image_output": written["image"],
            "video_output": written["video"],
        }

    def _split(self, tokens: int, media: Mapping[str, int], what: str) -> dict[str, int]:
        """So many tokens divided among kinds of media; text, or what nothing is told of, is the rest."""
        parts = {"": tokens, "audio": 0, "image": 0, "video": 0}
        for kind, of_kind in media.items():
            parts[kind] = min(of_kind, parts[""])
            parts[""] -= parts[kind]
            if parts[kind] < of_kind:
                self.anomalies.append(f"media exceed {what}")
        return parts

    def _beside(self) -> int:
        """Tokens that only the total tells of: thoughts, which early thinking models left out elsewhere."""
        total = self._figure(self._told, _TOTAL)
        missing = total - self._prompt - self._candidates - self._thoughts - self._tools
        if missing < 0 and total:
            self.anomalies.append("totalTokenCount is less than its parts")
        if missing > 0:
            self.anomalies.append("totalTokenCount is more than its parts")
        return max(missing, 0)

    def unknown_fields(self) -> list[str]:
        """Fields that no meter stands for and that say something: a number that is not zero."""
        if self._told.keys() <= _KNOWN:
            return []
        return [f"{name:.64}" for name, value in self._told.items() if name not in _KNOWN and _speaks(value)]


def _speaks(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_speaks(each) for each in value.values())
    if isinstance(value, list):
        return any(_speaks(each) for each in value)
    return _is_figure(value) and value != 0


def write_usage(usage: Usage) -> bytes:
    """Meters as a usage object: thoughts apart, cached tokens inside the prompt's, zeros left out."""
    thoughts = usage.get("reasoning", 0)
    ins, outs = input_total(usage), output_total(usage)
    cached = sum(usage.get(meter, 0) for meter in ("cache_read", "audio_cache_read", "image_cache_read"))
    told = {
        _PROMPT: ins,
        _CANDIDATES: outs - thoughts,
        _TOTAL: ins + outs,
        _CACHED: cached,
        _THOUGHTS: thoughts,
    }
    return msgspec.json.encode({name: tokens for name, tokens in told.items() if tokens})
