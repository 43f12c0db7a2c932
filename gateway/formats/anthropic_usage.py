"""Reads the usage object of Anthropic's messages (anthropic-sdk-python, `types/beta/beta_usage.py`).

`input_tokens` leaves out what was read from or written to the cache; `output_tokens` has thinking in it.
A call may be several samplings: turns of a server-side tool loop, compactions, an advisor's answers, a
fallback to another model. Then `iterations` lists them all, while the figures around it leave some out, so
the sum of the list is what was consumed, each entry by its own model. What does not add up is billed as
told, never below zero, and named in `unknown`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.formats.base import Report

__all__ = ["has_figures", "merged_usage", "read_usage", "usage_fields"]

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_INPUTS: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
# Fields that a meter stands for, or that break down or explain what one does.
_TOKEN_FIELDS: Final = frozenset((*_INPUTS, "output_tokens", "cache_creation"))
_KNOWN: Final = _TOKEN_FIELDS | {
    "output_tokens_details",
    "server_tool_use",
    "service_tier",
    "speed",
    "inference_geo",
    "iterations",
    "fallback_credit",
}
_KNOWN_OF_ITERATION: Final = _TOKEN_FIELDS | {"type", "model", "output_tokens_details"}
_KNOWN_WITHIN: Final[Mapping[str, frozenset[str]]] = {
    "cache_creation": frozenset(("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")),
    "output_tokens_details": frozenset(("thinking_tokens",)),
    "server_tool_use": frozenset(("web_search_requests", "web_fetch_requests")),
}
# Iterations whose tokens may be in the figures around the list as well; a compaction's and an advisor's
# are in the list alone.
_APART: Final = frozenset(("compaction", "advisor_message"))
_ITERATIONS: Final = _APART | {"message", "fallback_message"}
# How Anthropic says that a call was priced by the plain list.
_PLAIN_TIERS: Final = frozenset(("", "standard"))
_PLAIN_GEOS: Final = frozenset(("", "global", "not_available"))
_POSITIVE: Final = re.compile(rb"[1-9]")
# Beyond this a figure is an error of the provider: no model reads or writes a trillion tokens.
_QUANTITY_MAX: Final = 10**12


def usage_fields(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of a usage object that are not null; none where it is no object."""
    try:
        return {name: value for name, value in _FIELDS.decode(raw).items() if bytes(value) != b"null"}
    except _DECODE_ERRORS:
        return {}


def has_figures(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether any number of tokens is told that is not zero."""
    return any(_is_positive(fields.get(name)) for name in (*_INPUTS, "output_tokens", "iterations"))


def merged_usage(
    before: Mapping[str, msgspec.Raw], later: Mapping[str, msgspec.Raw]
) -> dict[str, msgspec.Raw]:
    """Fields as told so far, with those of a later usage object in their place.

    Figures are cumulative, so the later one counts. But what was read once stays read: an input of zero
    takes nothing back, unless iterations tell where it went.
    """
    if "iterations" not in later and not any(_is_positive(later.get(name)) for name in _INPUTS):
        later = {name: value for name, value in later.items() if name not in _INPUTS or name not in before}
    return {**before, **later}


def _is_positive(raw: msgspec.Raw | None) -> bool:
    return raw is not None and _POSITIVE.search(raw) is not None


def read_usage(
    raw: bytes,
    *,
    has_output: Callable[[], bool],
    model: str | None = None,
    requested: str | None = None,
    is_final: bool = True,
    notes: Iterable[str] = (),
) -> Report | None:
    """The report of one usage object, given as its JSON; None where it tells nothing.

    Absent is not zero, and neither are zeros beside a reply that says something (`has_output`, asked only
    then): such an object is no report. One that is not final tells what was consumed so far: its output
    has to be counted. `model` is the message's own, `requested` the one that was asked for.
    """
    told = _decode(raw)
    if told is None or not (_tells(told) or any(map(_tells, _entries(told)))):
        return None
    reader = _Reader(told, model, requested)
    own, others = reader.meters()
    parts = (own, *others.values())
    ins = sum(_input(part) for part in parts)
    outs = sum(part["output"] + part["reasoning"] for part in parts)
    if not ins and not outs and has_output():
        return None
    missing = ["input"] if outs and not ins else []
    if not is_final or (not outs and has_output()):
        missing.append("output")
    return Report(
        usage=_stored({**own, **reader.fees()}),
        raw=raw,
        model=model,
        service_tier=reader.tier(),
        unknown=(*reader.unknown_fields(), *dict.fromkeys(reader.anomalies), *notes),
        missing=tuple(missing),
        others=tuple((name, used) for name, part in others.items() if (used := _stored(part))),
    )


def _decode(raw: bytes) -> dict[str, Any] | None:
    try:
        told = msgspec.json.decode(raw)
    except _DECODE_ERRORS:
        return None
    return told if isinstance(told, dict) else None


def _tells(told: Mapping[str, Any]) -> bool:
    """Whether an object has any figure of tokens at all."""
    figures = (told.get(name) for name in (*_INPUTS, "output_tokens"))
    return any(isinstance(value, int | float) and not isinstance(value, bool) for value in figures)


def _entries(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The iterations; none where the member is something else."""
    entries = told.get("iterations")
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _stored(meters: Mapping[str, int]) -> dict[str, int]:
    return {meter: quantity for meter, quantity in meters.items() if quantity}


def _input(meters: Mapping[str, int]) -> int:
    return sum(meters[meter] for meter in ("input", "cache_read", "cache_write_5m", "cache_write_1h"))


class _Reader:
    """One usage object being read, and what in it did not fit."""

    def __init__(self, told: dict[str, Any], model: str | None, requested: str | None) -> None:
        self._told = told
        self._model = model
        self._requested = requested
        self.anomalies: list[str] = []

    def meters(self) -> tuple[Counter[str], dict[str, Counter[str]]]:
        """What the message's own model consumed, and what others did, by name."""
        entries = _entries(self._told)
        total = self._tokens(self._told, splits=not entries)
        own, others = self._iterated(entries, total) if entries else (total, {})
        self._set_reasoning_apart((own, *others.values()))
        return own, others

    def _iterated(
        self, entries: list[dict[str, Any]], total: Counter[str]
    ) -> tuple[Counter[str], dict[str, Counter[str]]]:
        own, others, covered = Counter[str](), dict[str, Counter[str]](), Counter[str]()
        has_fallen_back = any(entry.get("type") == "fallback_message" for entry in entries)
        for entry in entries:
            tokens, kind = self._tokens(entry, splits=True), entry.get("type")
            name = entry.get("model")
            if not isinstance(name, str) and has_fallen_back and kind == "message":
                # The model that was asked first declined; the message is the fallback's.
                name = self._requested
            if isinstance(name, str) and name not in ("", self._model):
                others.setdefault(name, Counter()).update(tokens)
            else:
                own.update(tokens)
            if kind not in _APART:
                covered.update(tokens)
            if kind not in _ITERATIONS:
                self.anomalies.append(f"iterations of type {str(kind)[:64]!r}")
        self._add_what_no_iteration_tells(own, covered, total)
        return own, others

    def _add_what_no_iteration_tells(
        self, own: Counter[str], covered: Counter[str], total: Counter[str]
    ) -> None:
        for meters in (("input",), ("cache_read",), ("cache_write_5m", "cache_write_1h"), ("output",)):
            lacking = sum(total[meter] - covered[meter] for meter in meters)
            if lacking > 0:
                own[meters[0]] += lacking
                self.anomalies.append("iterations do not add up to the total")

    def _tokens(self, source: Mapping[str, Any], *, splits: bool) -> Counter[str]:
        """The meters of one usage object or iteration, output undivided.

        Streams split cache writes by their lifetime at the start only, when tools have yet to cause more
        of them; the rest, whose lifetime nobody tells, counts as five minutes. `splits` says that this
        object's split is the one that is billed.
        """
        split = self._details(source, "cache_creation")
        hours = self._figure(split, "ephemeral_1h_input_tokens")
        minutes = self._figure(split, "ephemeral_5m_input_tokens")
        written = self._figure(source, "cache_creation_input_tokens")
        if source.get("cache_creation_input_tokens") is None:
            written = minutes + hours
        if splits and written > minutes + hours:
            self.anomalies.append("cache writes of untold lifetime")
        elif splits and written < minutes + hours:
            self.anomalies.append("cache writes do not add up")
        hours = min(hours, written)
        return Counter(
            {
                "input": self._figure(source, "input_tokens"),
                "cache_read": self._figure(source, "cache_read_input_tokens"),
                "cache_write_5m": written - hours,
                "cache_write_1h": hours,
                "output": self._figure(source, "output_tokens"),
            }
        )

    def _set_reasoning_apart(self, parts: Iterable[Counter[str]]) -> None:
        """Thinking is told once for the message: it is some one model's."""
        thinking = self._figure(self._details(self._told, "output_tokens_details"), "thinking_tokens")
        for part in parts:
            if part["output"] >= thinking:
                part["output"] -= thinking
                part["reasoning"] += thinking
                return
        self.anomalies.append("thinking tokens exceed output_tokens")

    def fees(self) -> dict[str, int]:
        """Uses that are billed, or at least counted, one by one."""
        used = self._details(self._told, "server_tool_use")
        return {
            "web_search": self._figure(used, "web_search_requests"),
            "web_fetch": self._figure(used, "web_fetch_requests"),
        }

    def tier(self) -> str | None:
        """What of the call's circumstances decides its price; None where nothing is told.

        Fast mode, a priority tier and inference in one region each have prices of their own. Prices are
        kept by one name, so where two of them meet the first counts, and the other is flagged.
        """
        speed, tier, geo = (self._text(name) for name in ("speed", "service_tier", "inference_geo"))
        found = []
        if speed not in _PLAIN_TIERS:
            found.append(speed)
        if tier not in _PLAIN_TIERS:
            found.append(tier)
        if geo not in _PLAIN_GEOS:
            found.append(f"inference_geo:{geo}")
        self.anomalies += [f"{other} beside {found[0]}" for other in found[1:]]
        return found[0] if found else tier or None

    def unknown_fields(self) -> list[str]:
        """Fields that no meter stands for and that say something: a number that is not zero."""
        found = _unknown(self._told, _KNOWN, "")
        for name, known in _KNOWN_WITHIN.items():
            found += _unknown(self._details(self._told, name), known, f"{name}.")
        for entry in _entries(self._told):
            found += _unknown(entry, _KNOWN_OF_ITERATION, "iterations.")
        status = self._details(self._details(self._told, "fallback_credit"), "status")
        if status.get("type") == "redeemed":
            # Cache writes were billed as reads, which the figures do not show.
            found.append("fallback_credit")
        return list(dict.fromkeys(found))

    def _details(self, source: Mapping[str, Any], name: str) -> dict[str, Any]:
        details = source.get(name)
        return details if isinstance(details, dict) else {}

    def _text(self, name: str) -> str:
        value = self._told.get(name)
        return value.lower()[:64] if isinstance(value, str) else ""

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


def _unknown(source: Mapping[str, Any], known: frozenset[str], place: str) -> list[str]:
    return [place + name for name, value in source.items() if name not in known and _speaks(value)]


def _speaks(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_speaks(each) for each in value.values())
    if isinstance(value, list):
        return any(_speaks(each) for each in value)
    return isinstance(value, int | float) and not isinstance(value, bool) and value != 0
