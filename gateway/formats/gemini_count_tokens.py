"""Gemini's countTokens (https://ai.google.dev/api/tokens).

It is free: a call quotes nothing and settles nothing, and still is a call, with an entry in the ledger.
"""

from __future__ import annotations

from typing import Final

from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter
from gateway.formats.gemini_meter import GeminiMeter
from gateway.formats.gemini_paths import paths_of
from gateway.formats.gemini_prompt import prompt_texts
from gateway.formats.gemini_reading import read_reply
from gateway.formats.gemini_request import read_count
from gateway.formats.gemini_splice import upstream_body

__all__ = ["FORMAT", "CountTokens"]


class CountTokens:
    """See `gateway.formats.base.Format`."""

    name = "gemini_count_tokens"
    dialect: Dialect = "gemini"
    stream_types = EVENT_STREAM
    paths = paths_of("countTokens")

    def read(self, path: str, body: bytes) -> Intent:
        return read_count(path, body)

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        return upstream_body(body, intent, model, None)

    def meter(self, intent: Intent) -> StreamMeter:
        # Nothing here is streamed; what came as a stream all the same is metered like a generation.
        return GeminiMeter(intent)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        _, error = read_reply(body, intent)
        return (None, error) if error is not None else (Report(usage={}, raw=body.strip()), None)

    def made(self, body: bytes) -> tuple[str, ...]:
        return ()

    def reply_text(self, body: bytes) -> str:
        return ""

    def prompt_text(self, body: bytes) -> str:
        return "\n".join(text for texts in prompt_texts(body) for text in texts)

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        # Of a call that is not billed, nothing is to be counted where its reply fails.
        return 0


FORMAT: Final = CountTokens()
