"""Gemini's generateContent (https://ai.google.dev/api/generate-content), on the Gemini API and Vertex AI."""

from __future__ import annotations

from typing import Final

from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter
from gateway.formats.gemini_meter import GeminiMeter
from gateway.formats.gemini_paths import SSE, paths_of
from gateway.formats.gemini_prompt import prompt_texts, prompt_tokens
from gateway.formats.gemini_reading import read_reply
from gateway.formats.gemini_request import read_generate
from gateway.formats.gemini_splice import upstream_body
from gateway.formats.gemini_texts import reply_texts

__all__ = ["FORMAT", "GenerateContent"]


class GenerateContent:
    """See `gateway.formats.base.Format`. The three ways of generating differ in address and framing only."""

    dialect: Dialect = "gemini"

    def __init__(self, name: str, method: str, query: str = "", *, stream: bool = False) -> None:
        self.name = name
        self.paths = paths_of(method, query)
        self._stream = stream
        self._is_array = query != SSE
        self.stream_types = EVENT_STREAM if query == SSE else (*EVENT_STREAM, b"application/json")

    def read(self, path: str, body: bytes) -> Intent:
        return read_generate(path, body, stream=self._stream)

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        # These endpoints know `generationConfig.maxOutputTokens` alone.
        return upstream_body(body, intent, model, output_cap)

    def meter(self, intent: Intent) -> StreamMeter:
        return GeminiMeter(intent, is_array=self._is_array)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        return read_reply(body, intent)

    def made(self, body: bytes) -> tuple[str, ...]:
        return ()

    def reply_text(self, body: bytes) -> str:
        return "\n".join(reply_texts(body))

    def prompt_text(self, body: bytes) -> str:
        return "\n".join(text for texts in prompt_texts(body) for text in texts)

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        return prompt_tokens(body, counter)


FORMAT: Final = GenerateContent("gemini_generate", "generateContent")
