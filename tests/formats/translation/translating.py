"""Plays recorded answers of one dialect through a meter and a writer, as the gate does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.formats.base import Format
from gateway.formats.translation.base import Occasion, Translated, Translation
from gateway.formats.translation.metering import TranslatedMeter
from tests.formats.playing import Case, any_intent, in_pieces

__all__ = ["data_of", "played", "translated"]

AT_US = 1_795_608_000_000_000


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
