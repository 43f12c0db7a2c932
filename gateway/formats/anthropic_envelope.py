"""The outside of Anthropic's events and replies: what they are, what they cost, what went wrong.

Nothing of the generated text is decoded here. Shared by streams and by whole replies.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.domain.usage import Usage
from gateway.formats.anthropic_blocks import reply_texts
from gateway.formats.anthropic_usage import read_usage
from gateway.formats.base import InBandError, Intent, Report
from gateway.formats.openai_envelope import is_object, text_of

__all__ = ["Envelope", "container_notes", "error_in", "open_envelope", "read_reply", "write_usage"]


class Envelope(msgspec.Struct, gc=False):
    """The members of an event, of a message or of an error, that concern its identity or its bill."""

    type: msgspec.Raw = msgspec.Raw()
    id: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    delta: msgspec.Raw = msgspec.Raw()
    content_block: msgspec.Raw = msgspec.Raw()
    container: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()

    @property
    def kind(self) -> str:
        """What it says it is: `message_start`, `message`, `error` ...; "" where it says nothing."""
        return text_of(self.type) or ""


_ENVELOPE: Final = msgspec.json.Decoder(Envelope)
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def open_envelope(data: bytes | msgspec.Raw) -> Envelope | None:
    """The envelope of an event or reply, or of a message inside one; None for what is not a JSON object."""
    try:
        return _ENVELOPE.decode(data)
    except _DECODE_ERRORS:
        return None


def error_in(envelope: Envelope) -> InBandError | None:
    """`{"type": "error", "error": {"type", "message"}}` (anthropic-sdk-python, `types/error_response.py`)."""
    if envelope.kind != "error" and not is_object(envelope.error):
        return None
    inner = open_envelope(envelope.error) or Envelope()
    return InBandError(inner.kind or "error", text_of(inner.message) or text_of(envelope.error) or "")


def container_notes(envelope: Envelope) -> tuple[str, ...]:
    """What to note of a container that code ran in: its time is billed apart, and no usage tells of it."""
    return ("container time",) if is_object(envelope.container) else ()


def read_reply(body: bytes, intent: Intent | None = None) -> tuple[Report | None, InBandError | None]:
    """The usage and the error in a reply that was not streamed.

    What is no JSON object is an error too: it was cut, or it is not from the provider at all.
    """
    message = open_envelope(body)
    if message is None:
        return None, InBandError("unreadable_reply", "the upstream's reply is not a JSON object")
    error = error_in(message)
    if not is_object(message.usage):
        return None, error
    report = read_usage(
        bytes(message.usage),
        has_output=lambda: bool(reply_texts(body)),
        model=text_of(message.model),
        requested=intent.model if intent is not None else None,
        notes=container_notes(message),
    )
    return report, error


def write_usage(usage: Usage, output_tokens: int) -> bytes:
    """Meters as the usage object that ends a stream; without any, the output alone."""
    told = {"output_tokens": usage.get("output", 0) + usage.get("reasoning", 0) or output_tokens}
    if usage:
        told["input_tokens"] = usage.get("input", 0)
        told["cache_read_input_tokens"] = usage.get("cache_read", 0)
        told["cache_creation_input_tokens"] = usage.get("cache_write_5m", 0) + usage.get("cache_write_1h", 0)
    return msgspec.json.encode(told)
