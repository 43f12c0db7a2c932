"""Plays replies through a format: hand-written cases, recordings where they are there, any chunking."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.formats.base import Format, InBandError, Intent, Report, StreamMeter

__all__ = [
    "Case",
    "CharCounter",
    "Played",
    "any_intent",
    "cases",
    "count_all",
    "in_pieces",
    "play",
    "recordings",
    "recordings_or_skip",
]

_CASES = Path(__file__).parent / "cases"
_BESIDE = Path(__file__).parents[3] / "shared" / "recordings"


class CharCounter:
    """A tokenizer whose tokens are characters: what it counts adds up wherever a text is cut."""

    def count(self, text: str) -> int:
        return len(text)


@dataclass(frozen=True)
class Case:
    """One exchange: a request, the reply's bytes, and what must be read from them."""

    name: str
    request: bytes | None
    reply: bytes
    streamed: bool
    expected: dict[str, Any]


def cases(folder: str) -> list[Case]:
    """Our own cases of one format: each is the smallest reply that springs one trap."""
    return [_case(path, "expected.json") for path in sorted((_CASES / folder).iterdir())]


def _root() -> Path:
    return Path(os.environ.get("TOLLGATE_RECORDINGS") or _BESIDE)


def recordings(*apis: str) -> list[Case]:
    """The recorded exchanges of these APIs; none where the recordings are not there."""
    found = [_case(path.parent, "meta.json") for path in sorted(_root().glob("*/meta.json"))]
    return [case for case in found if case.expected["api"] in apis]


def recordings_or_skip(*apis: str) -> list[Any]:
    """Parameters for a test over recordings: without any, one that says why nothing ran."""
    found = recordings(*apis)
    if found:
        return [pytest.param(case, id=case.name) for case in found]
    reason = f"recordings not present: neither TOLLGATE_RECORDINGS nor {_BESIDE} holds any"
    return [pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))]


def _case(path: Path, expected: str) -> Case:
    request, streamed = path / "request.json", path / "response.sse"
    reply = streamed if streamed.exists() else path / "response.json"
    return Case(
        path.name,
        request.read_bytes() if request.exists() else None,
        reply.read_bytes(),
        streamed.exists(),
        json.loads((path / expected).read_text()),
    )


def any_intent(**changes: Any) -> Intent:
    """A streamed call that asked for usage, unless said otherwise."""
    return msgspec.structs.replace(
        Intent(model="m", stream=True, output_cap=None, choices=1, input_bound=1, wants_usage=True), **changes
    )


def in_pieces(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    """The data in pieces of the given sizes."""
    at = 0
    while at < len(data):
        size = next(sizes)
        yield data[at : at + size]
        at += size


@dataclass(frozen=True)
class Played:
    """What a meter made of a stream."""

    relayed: bytes
    held: bytes
    ended: bool
    model: str | None
    error: InBandError | None
    report: Report | None
    counted: int


def play(format_: Format, intent: Intent, data: bytes, sizes: Iterator[int]) -> Played:
    """Feed the stream in pieces, end it, count its text."""
    meter = format_.meter(intent)
    relayed = b"".join(meter.feed(piece) for piece in in_pieces(data, sizes))
    ended = meter.ended
    held = meter.finish()
    count_all(meter)
    return Played(
        relayed, held, ended or meter.ended, meter.model, meter.error, meter.report, meter.relayed_output
    )


def count_all(meter: StreamMeter, step: int = 700) -> None:
    """Count a meter's text with one token for each character, in small steps."""
    while not meter.count(CharCounter(), step):
        pass
