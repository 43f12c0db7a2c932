"""The outside of a Responses answer or event: how it stands, who speaks, what it cost, what went wrong.

Nothing of the generated text is decoded here. Shared by streams and by whole answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.domain.usage import Usage, input_total, output_total
from gateway.formats.base import InBandError, Report
from gateway.formats.openai_envelope import is_object, text_of
from gateway.formats.responses_texts import reply_texts
from gateway.formats.responses_usage import Used, read_usage

__all__ = [
    "ENDED",
    "Answer",
    "Event",
    "error_in",
    "open_answer",
    "open_event",
    "read_reply",
    "report_of",
    "write_usage",
]

# How an answer stands once nothing more comes; before that it is queued or in progress.
ENDED: Final = frozenset(("completed", "incomplete", "failed", "cancelled"))
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# What an `error` member holds where nothing went wrong.
_NO_ERROR: Final = (b"", b"null", b"false", b'""', b"{}")


class Answer(msgspec.Struct, gc=False):
    """The members of an answer that concern its identity, its state or its bill; none decoded yet."""

    id: msgspec.Raw = msgspec.Raw()
    object: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    conversation: msgspec.Raw = msgspec.Raw()
    store: msgspec.Raw = msgspec.Raw()
    background: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    tool_usage: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()

    @property
    def standing(self) -> str:
        """`queued`, `in_progress`, or one of ENDED; "" where it says nothing."""
        return text_of(self.status) or ""

    @property
    def is_background(self) -> bool:
        """Whether it is made while nobody waits."""
        return bytes(self.background) == b"true"


class Event(msgspec.Struct, gc=False):
    """The members of an event that matter here."""

    type: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()
    item: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    code: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()


class _Error(msgspec.Struct, gc=False):
    code: msgspec.Raw = msgspec.Raw()
    type: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()


_ANSWER: Final = msgspec.json.Decoder(Answer)
_EVENT: Final = msgspec.json.Decoder(Event)
_ERROR: Final = msgspec.json.Decoder(_Error)


def open_answer(data: bytes | msgspec.Raw) -> Answer | None:
    """The envelope of an answer; None for what is not a JSON object."""
    try:
        return _ANSWER.decode(data)
    except _DECODE_ERRORS:
        return None


def open_event(data: bytes) -> Event | None:
    """The envelope of an event; None for what is not a JSON object."""
    try:
        return _EVENT.decode(data)
    except _DECODE_ERRORS:
        return None


def error_in(error: msgspec.Raw) -> InBandError | None:
    """`{"code", "message"}` and perhaps a `type`, or words; None where nothing went wrong."""
    raw = bytes(error)
    if raw in _NO_ERROR:
        return None
    if not is_object(error):
        return InBandError("error", text_of(error) or raw.decode("utf-8", "replace"))
    told = _ERROR.decode(error)
    return InBandError(text_of(told.code) or text_of(told.type) or "error", text_of(told.message) or "")


def report_of(answer: Answer, used: Used, has_output: Callable[[], bool]) -> Report | None:
    """What an answer that has ended says of its cost; None where it tells nothing.

    The tier is the one that served it: while it runs, an answer says `auto`. Tools that were run are charged
    even where no tokens are told; those are counted then.
    """
    report = None
    if is_object(answer.usage):
        report = read_usage(
            bytes(answer.usage),
            has_output=has_output,
            model=text_of(answer.model),
            service_tier=text_of(answer.service_tier),
            used=used,
            tools=answer.tools,
            tool_usage=answer.tool_usage,
        )
    fees = used.fees(answer.tools, answer.tool_usage) if report is None else {}
    if fees:
        return Report(fees, b"null", text_of(answer.model), missing=("input", "output"))
    return report


def read_reply(body: bytes) -> tuple[Report | None, InBandError | None]:
    """The usage and the error in an answer that was not streamed.

    An answer that failed says so with status 200. What is no JSON object is an error too: it was cut, or it
    is not from the provider at all.
    """
    answer = open_answer(body)
    if answer is None:
        return None, InBandError("unreadable_reply", "the upstream's reply is not a JSON object")
    used = Used()
    used.take_all(answer.output)
    return report_of(answer, used, lambda: bool(reply_texts(body))), error_in(answer.error)


def write_usage(usage: Usage) -> bytes:
    """Meters as a usage object of the dialect: parts are told inside their totals."""
    ins, outs = input_total(usage), output_total(usage)
    return msgspec.json.encode(
        {
            "input_tokens": ins,
            "input_tokens_details": {"cached_tokens": usage.get("cache_read", 0)},
            "output_tokens": outs,
            "output_tokens_details": {"reasoning_tokens": usage.get("reasoning", 0)},
            "total_tokens": ins + outs,
        }
    )
