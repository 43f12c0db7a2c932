"""Anthropic's Messages API (https://platform.claude.com/docs/en/api/messages)."""

from __future__ import annotations

from typing import Final

from gateway.formats.anthropic_blocks import reply_texts
from gateway.formats.anthropic_content import prompt_texts, prompt_tokens
from gateway.formats.anthropic_envelope import read_reply
from gateway.formats.anthropic_made import reply_made
from gateway.formats.anthropic_meter import AnthropicMeter
from gateway.formats.anthropic_request import read_messages
from gateway.formats.anthropic_splice import upstream_body
from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter

__all__ = ["FORMAT", "Messages"]


class Messages:
    """See `gateway.formats.base.Format`."""

    name = "anthropic_messages"
    dialect: Dialect = "anthropic"
    stream_types = EVENT_STREAM
    paths = ("/v1/messages",)

    def read(self, path: str, body: bytes) -> Intent:
        return read_messages(body)

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        # This endpoint knows `max_tokens` alone.
        return upstream_body(body, intent, model, output_cap)

    def meter(self, intent: Intent) -> StreamMeter:
        return AnthropicMeter(intent)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        return read_reply(body, intent)

    def made(self, body: bytes) -> tuple[str, ...]:
        return reply_made(body)

    def reply_text(self, body: bytes) -> str:
        return "\n".join(reply_texts(body))

    def prompt_text(self, body: bytes) -> str:
        return "\n".join(text for texts in prompt_texts(body) for text in texts)

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        return prompt_tokens(body, counter)


FORMAT: Final = Messages()
