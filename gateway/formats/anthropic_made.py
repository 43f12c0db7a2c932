"""What a Messages call leaves at Anthropic: the container that code ran in, and the files it wrote there.

Only what stands where Anthropic puts it is read: the input of a tool's call is the model's to say, and the
model says what it is asked to (anthropic-sdk-python, `types/beta/beta_code_execution_tool_result_block.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.formats.anthropic_envelope import Envelope, open_envelope
from gateway.formats.kept_ids import kept_ids

__all__ = ["EXECUTED", "container_in", "files_in", "reply_made"]

# The end of the types of blocks that tell what code did.
EXECUTED: Final = "code_execution_tool_result"
_CONTAINER: Final = b'"container"'
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Named(msgspec.Struct, gc=False):
    id: str | None = None


class _Output(msgspec.Struct, gc=False):
    file_id: str | None = None


class _Result(msgspec.Struct, gc=False):
    content: list[_Output] | None = None


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    content: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct, gc=False):
    content: list[msgspec.Raw] | None = None


_NAMED: Final = msgspec.json.Decoder(_Named)
_RESULT: Final = msgspec.json.Decoder(_Result)
_BLOCK: Final = msgspec.json.Decoder(_Block)
_MESSAGE: Final = msgspec.json.Decoder(_Message)


def reply_made(body: bytes) -> tuple[str, ...]:
    """The ids in a message that was not streamed."""
    if _CONTAINER not in body and EXECUTED.encode() not in body:
        return ()
    envelope = open_envelope(body)
    try:
        message = _MESSAGE.decode(body)
    except _DECODE_ERRORS:
        message = _Message()
    found = [] if envelope is None else [container_in(envelope)]
    return kept_ids((*found, *(each for block in message.content or () for each in files_in(block))))


def container_in(envelope: Envelope) -> str | None:
    """The container that a message, or the end of one, tells of."""
    try:
        return _NAMED.decode(envelope.container).id
    except _DECODE_ERRORS:
        return None


def files_in(block: msgspec.Raw) -> Iterator[str | None]:
    """The files that a block tells were written by code."""
    try:
        told = _BLOCK.decode(block)
        if told.type.endswith(EXECUTED):
            yield from (output.file_id for output in _RESULT.decode(told.content).content or ())
    except _DECODE_ERRORS:
        return
