"""OpenAI's Chat Completions, as OpenAI, Azure OpenAI, DeepSeek and every compatible provider speak it."""

from __future__ import annotations

from typing import Final

from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter
from gateway.formats.openai_envelope import audio_ids, read_reply
from gateway.formats.openai_meter import OpenAIMeter
from gateway.formats.openai_request import prompt_texts, read_chat
from gateway.formats.openai_splice import upstream_body
from gateway.formats.transcript import reply_texts

__all__ = ["FORMAT", "ChatCompletions"]


class ChatCompletions:
    """See `gateway.formats.base.Format`."""

    name = "openai_chat"
    dialect: Dialect = "openai"
    stream_types = EVENT_STREAM
    paths = ("/v1/chat/completions",)

    def read(self, path: str, body: bytes) -> Intent:
        return read_chat(body)

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        return upstream_body(body, intent, model, cap_field, output_cap)

    def meter(self, intent: Intent) -> StreamMeter:
        return OpenAIMeter(intent)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        return read_reply(body, intent)

    def made(self, body: bytes) -> tuple[str, ...]:
        return audio_ids(body)

    def reply_text(self, body: bytes) -> str:
        return "\n".join(reply_texts(body))

    def prompt_text(self, body: bytes) -> str:
        return "\n".join(text for texts in prompt_texts(body) for text in texts)

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        # OpenAI's cookbook: 3 tokens around each message, 3 that begin the reply.
        return 3 + sum(3 + sum(counter.count(text) for text in texts) for texts in prompt_texts(body))


FORMAT: Final = ChatCompletions()
