"""Anthropic's token count (https://platform.claude.com/docs/en/build-with-claude/token-counting).

It is free: a call quotes nothing and settles nothing, and still is a call, with an entry in the ledger.
"""

from __future__ import annotations

from typing import Final

from gateway.formats.anthropic_content import prompt_texts
from gateway.formats.anthropic_envelope import error_in, open_envelope
from gateway.formats.anthropic_meter import AnthropicMeter
from gateway.formats.anthropic_request import read_count
from gateway.formats.anthropic_splice import upstream_body
from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter

__all__ = ["FORMAT", "CountTokens"]


class CountTokens:
    """See `gateway.formats.base.Format`."""

    name = "anthropic_count_tokens"
    dialect: Dialect = "anthropic"
    stream_types = EVENT_STREAM
    paths = ("/v1/messages/count_tokens",)

    def read(self, path: str, body: bytes) -> Intent:
        return read_count(body)

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        return upstream_body(body, intent, model, output_cap)

    def meter(self, intent: Intent) -> StreamMeter:
        # Nothing here is streamed; what came as a stream all the same is metered like a message.
        return AnthropicMeter(intent)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        reply = open_envelope(body)
        if reply is None:
            return None, InBandError("unreadable_reply", "the upstream's reply is not a JSON object")
        error = error_in(reply)
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
