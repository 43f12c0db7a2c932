"""OpenAI's Responses (openai-python, `types/responses`), as OpenAI, Azure OpenAI and DeepSeek speak it."""

from __future__ import annotations

from typing import Final

from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter
from gateway.formats.responses_envelope import read_reply
from gateway.formats.responses_input import prompt_texts, prompt_tokens
from gateway.formats.responses_made import reply_made
from gateway.formats.responses_meter import ResponsesMeter
from gateway.formats.responses_request import read_responses
from gateway.formats.responses_splice import upstream_body
from gateway.formats.responses_texts import reply_texts

__all__ = ["FORMAT", "Responses"]


class Responses:
    """See `gateway.formats.base.Format`."""

    name = "openai_responses"
    dialect: Dialect = "openai"
    stream_types = EVENT_STREAM
    paths = ("/v1/responses",)

    def read(self, path: str, body: bytes) -> Intent:
        return read_responses(body)

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        # This endpoint knows `max_output_tokens` alone.
        return upstream_body(body, intent, model, output_cap)

    def meter(self, intent: Intent) -> StreamMeter:
        return ResponsesMeter(intent)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        return read_reply(body)

    def made(self, body: bytes) -> tuple[str, ...]:
        return reply_made(body)

    def reply_text(self, body: bytes) -> str:
        return "\n".join(reply_texts(body))

    def prompt_text(self, body: bytes) -> str:
        return "\n".join(text for texts in prompt_texts(body) for text in texts)

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        return prompt_tokens(body, counter)


FORMAT: Final = Responses()
