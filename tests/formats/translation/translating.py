"""Plays recorded answers of one dialect through a meter and a writer, as the gate does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway.formats.base import Format
from gateway.formats.translation.base import Occasion, Translated, Translation
from gateway.formats.translation.metering import TranslatedMeter
from tests.formats.playing import Case, any_intent, cases, in_pieces, recordings_or_skip

__all__ = ["data_of", "played", "replies", "streams", "translated"]

AT_US = 1_795_608_000_000_000


def streams(own: str, *apis: str) -> list[Any]:
    """Our own streams of a format and the recorded ones, as parameters; where there are none, why."""
    return _parameters(own, apis, streamed=True)


def replies(own: str, *apis: str) -> list[Any]:
    """The same of replies that were not streamed."""
    return _parameters(own, apis, streamed=False)


def _parameters(own: str, apis: tuple[str, ...], *, streamed: bool) -> list[Any]:
    ours = [pytest.param(case, id=case.name) for case in cases(own)]
    every = (*ours, *recordings_or_skip(*apis))
    return [each for each in every if each.values[0] is None or each.values[0].streamed is streamed]


def translated(translation: Translation, body: dict[str, Any], model: str = "m") -> Translated:
    """A request in the words of the upstream."""
    intent = any_intent(stream=bool(body.get("stream")))
    return translation.translate(
        msgspec.json.encode({"model": model, **body}), Occasion(intent, model, AT_US)
    )


def played(
    case: Case, wire_format: Format, translation: Translation, body: dict[str, Any], sizes: Iterator[int]
) -> tuple[bytes, TranslatedMeter]:
    """A recorded stream in the client's words, in pieces of these sizes."""
    translator = translated(translation, body).translator
    intent = any_intent()
    meter = TranslatedMeter(
        wire_format.meter(intent), translator.writer(wants_usage=True), translator.dialect
    )
    relayed = [meter.feed(piece) for piece in in_pieces(case.reply, sizes)]
    return b"".join(relayed) + meter.finish(), meter


def data_of(stream: bytes) -> list[dict[str, Any]]:
    """The JSON of every event, the end of the stream left out."""
    lines = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: ")]
    return [msgspec.json.decode(line) for line in lines if line != b"[DONE]"]
