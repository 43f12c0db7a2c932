"""Gemini's embedContent (https://ai.google.dev/api/embeddings).

`gemini-embedding-001` tells no usage: its prompts are counted. Its successor tells the prompt's tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter
from gateway.formats.gemini_meter import GeminiMeter
from gateway.formats.gemini_paths import paths_of
from gateway.formats.gemini_prompt import prompt_texts
from gateway.formats.gemini_reading import read_reply
from gateway.formats.gemini_request import read_embed
from gateway.formats.gemini_splice import upstream_body

__all__ = ["FORMAT", "EmbedContent"]


class EmbedContent:
    """See `gateway.formats.base.Format`. One content and several differ in address and shape only."""

    dialect: Dialect = "gemini"
    stream_types = EVENT_STREAM

    def __init__(self, name: str, method: str, reader: Callable[[str, bytes], Intent]) -> None:
        self.name = name
        self.paths = paths_of(method)
        self._reader = reader

    def read(self, path: str, body: bytes) -> Intent:
        return self._reader(path, body)

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
        return read_reply(body, intent)

    def made(self, body: bytes) -> tuple[str, ...]:
        return ()

    def reply_text(self, body: bytes) -> str:
        return ""

    def prompt_text(self, body: bytes) -> str:
        return "\n".join(text for texts in prompt_texts(body) for text in texts)

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        return sum(counter.count(text) for texts in prompt_texts(body) for text in texts)


FORMAT: Final = EmbedContent("gemini_embed", "embedContent", read_embed)
