"""The content blocks of Anthropic's messages: which of their text the model wrote.

A reply is a list of blocks, a stream opens, continues and closes them one by one (anthropic-sdk-python,
`types/beta/beta_content_block.py`, `beta_raw_content_block_delta.py`). Text, thinking, tool calls and
compaction summaries are written by the model; results of tools that Anthropic runs are not, though they
are blocks of the reply, nor are signatures and citations. Unknown blocks count with the texts that they
have in common with the known ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator
from typing import Any, Final

import msgspec

from gateway.formats.sse import Event

__all__ = ["FRAME", "Blocks", "reply_texts"]

# The start of the commonest event, up to where its text begins.
FRAME: Final = re.compile(
    rb'event: content_block_delta\r?\ndata: \{[^\n]*?"delta":\{"type":"'
    rb'(?:text_delta","text|thinking_delta","thinking|input_json_delta","partial_json)":"'
)

_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Blocks that somebody else wrote: what tools found, listed or advised.
_NOT_WRITTEN: Final = ("_result", "_listing")
_NO_ARGUMENTS: Final = (b"", b"{}", b"null")


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    content: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: list[_Block] | None = None


class _Said(msgspec.Struct, gc=False):
    """Any event of a stream, with the members that hold text or say where it belongs."""

    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None


_SAID: Final = msgspec.json.Decoder(_Said)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_STRING: Final = msgspec.json.Decoder(str)


class Blocks:
    """Reads the events of a stream in order: which blocks are open, and what was written in each."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        # A stream is one message; where a proxy strings several together, their blocks are told apart.
        self._message = 0

    def texts_of(self, event: Event) -> Iterator[tuple[Hashable, str]]:
        """The texts that an event adds, each with the name of the text it continues."""
        said = _said(event.data)
        match said.type:
            case "message_start":
                self._message += 1
                self.open.clear()
                for index, block in enumerate((said.message and said.message.content) or ()):
                    yield from self._named(index, _block_texts(block))
            case "content_block_start":
                self.open.add(said.index)
                if said.content_block is not None:
                    yield from self._named(said.index, _block_texts(said.content_block))
            case "content_block_delta":
                if said.delta is not None:
                    yield from self._named(said.index, _delta_texts(said.delta))
            case "content_block_stop":
                self.open.discard(said.index)

    def _named(self, index: int, texts: Iterator[tuple[str, str]]) -> Iterator[tuple[Hashable, str]]:
        for kind, text in texts:
            yield (self._message, index, kind), text


def _said(data: bytes) -> _Said:
    try:
        return _SAID.decode(data)
    except _DECODE_ERRORS:
        return _said_leniently(data)


def _said_leniently(data: bytes) -> _Said:
    """The same for an event with broken UTF-8, lone surrogates or a member of an unexpected type."""
    try:
        event = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return _Said()
    if not isinstance(event, dict):
        return _Said()
    kind, index = event.get("type"), event.get("index")
    delta, block = event.get("delta"), event.get("content_block")
    return _Said(
        type=kind if isinstance(kind, str) else "",
        index=index if isinstance(index, int) else 0,
        delta=_Delta(**_strings(delta, _Delta)) if isinstance(delta, dict) else None,
        content_block=_lenient_block(block) if isinstance(block, dict) else None,
    )


def _lenient_block(block: dict[str, Any]) -> _Block:
    texts = _strings(block, _Block)
    texts.pop("input", None)
    texts.pop("content", None)
    return _Block(**texts)


def _strings(members: dict[str, Any], shape: type[msgspec.Struct]) -> dict[str, Any]:
    known = shape.__struct_fields__
    return {name: value for name, value in members.items() if name in known and isinstance(value, str)}


def _block_texts(block: _Block) -> Iterator[tuple[str, str]]:
    """What of a block the model wrote. Kinds are named as the deltas that continue them."""
    if block.type.endswith(_NOT_WRITTEN):
        return
    if block.text:
        yield "text", block.text
    if block.thinking:
        yield "thinking", block.thinking
    if block.name:
        yield "name", block.name
    if bytes(block.input) not in _NO_ARGUMENTS:
        yield "partial_json", bytes(block.input).decode("utf-8", "replace")
    if block.type == "compaction":
        try:
            yield "content", _STRING.decode(block.content)
        except _DECODE_ERRORS:
            return


def _delta_texts(delta: _Delta) -> Iterator[tuple[str, str]]:
    if delta.text:
        yield "text", delta.text
    if delta.thinking:
        yield "thinking", delta.thinking
    if delta.partial_json:
        yield "partial_json", delta.partial_json
    if delta.content:
        yield "content", delta.content


def reply_texts(body: bytes) -> list[str]:
    """The texts that the model wrote in a reply that was not streamed, of one cut off in its midst too."""
    try:
        blocks = _MESSAGE.decode(body).content or []
    except _DECODE_ERRORS:
        return [_unescaped(text) for text in _TEXT_MEMBER.findall(body)]
    return [text for block in blocks for _, text in _block_texts(block)]


# A text member of a block, its string perhaps never closed.
_TEXT_MEMBER: Final = re.compile(rb'"(?:text|thinking)"\s*:\s*"((?:[^"\\]++|\\.)*+)', re.DOTALL)


def _unescaped(text: bytes) -> str:
    plain = text.decode("utf-8", "replace")
    try:
        return str(json.loads(f'"{plain}"', strict=False))
    except ValueError:
        return plain
