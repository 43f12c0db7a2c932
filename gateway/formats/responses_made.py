"""What a Responses call leaves at the provider: the answer, its conversation and items, containers and files.

Only what stands where the provider puts it is read: an answer repeats what its request said, and a client may
say anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from gateway.formats.kept_ids import kept_ids
from gateway.formats.responses_envelope import Answer, open_answer

__all__ = ["made_of", "name_of", "reply_made"]

T = TypeVar("T")

_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MADE_FILE: Final = "container_file_citation"
_FALSE: Final = b"false"


class _Named(msgspec.Struct, gc=False):
    id: str | None = None


class _Place(msgspec.Struct, gc=False):
    container_id: str | None = None


class _Annotation(msgspec.Struct, gc=False):
    type: str = ""
    file_id: str | None = None
    container_id: str | None = None


class _Part(msgspec.Struct, gc=False):
    annotations: list[_Annotation] | None = None


class _Item(msgspec.Struct, gc=False):
    id: str | None = None
    container_id: str | None = None
    environment: _Place | None = None
    content: list[_Part] | None = None


_NAMED: Final = msgspec.json.Decoder(_Named)
_TEXT: Final = msgspec.json.Decoder(str)
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ITEM: Final = msgspec.json.Decoder(_Item)


def reply_made(body: bytes) -> tuple[str, ...]:
    """The ids in an answer that was not streamed."""
    answer = open_answer(body)
    return () if answer is None else made_of(answer)


def name_of(answer: Answer) -> str | None:
    """The id an answer can be looked up by."""
    return next(iter(kept_ids([_decoded(_TEXT, answer.id)])), None)


def made_of(answer: Answer) -> tuple[str, ...]:
    """The ids in an answer. One that is not to be stored can be looked up while it runs in the background."""
    is_stored = bytes(answer.store) != _FALSE
    ids = [_decoded(_TEXT, answer.id)] if is_stored or answer.is_background else []
    conversation = _decoded(_NAMED, answer.conversation)
    if conversation is not None:
        ids.append(conversation.id)
    for raw in _decoded(_ITEMS, answer.output) or ():
        item = _decoded(_ITEM, raw)
        if item is not None:
            ids += _left_by(item, is_stored)
    return kept_ids(ids)


def _left_by(item: _Item, is_stored: bool) -> Iterator[str | None]:
    if is_stored:
        yield item.id
    yield item.container_id
    if item.environment is not None:
        yield item.environment.container_id
    for part in item.content or ():
        for note in part.annotations or ():
            if note.type == _MADE_FILE:
                yield note.file_id
                yield note.container_id


def _decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T | None:
    try:
        return decoder.decode(raw)
    except _DECODE_ERRORS:
        return None
