"""From the events of a chat completion to frames for a socket: one JSON object each, never empty. Pure.

Clients of the usual relays read `choices[0]` of every frame and take `finish_reason` for the end. So a frame
has exactly one choice, what has none (the usage at the end) joins the last frame, and the last frame waits
until the stream is over. Values are passed on as the provider wrote them. A frame is made without its closing
brace: its number and its call follow for each reader (`numbered`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway.formats.sse import EventFramer, read_event, split_events

__all__ = ["ChatFrames", "numbered"]

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_CHOICES: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_NULL: Final = Raw(b"null")
_NOTHING: Final = (b"", b"null")
_NO_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null')
_DONE: Final = b"[DONE]"
_CUT: Final = {
    "message": "The provider's answer ended without a reason to stop: it is not complete.",
    "type": "server_error",
    "param": None,
    "code": "upstream_unavailable",
    "tollgate": {"code": "upstream_unavailable", "hint": "What came is charged; ask again."},
}


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    """As much of a chunk as decides what becomes of it; all of it is looked at, whatever it holds."""

    choices: list[_Choice] | None = None
    usage: Raw = Raw(b"")
    error: Raw = Raw(b"")


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


def numbered(frame: bytes, number: int, tail: bytes) -> bytes:
    """The frame as it is sent: its number, then what its reader is told of the call, with the brace."""
    return b'%b,"seq":%d%b' % (frame, number, tail)


class ChatFrames:
    """The frames of one answer, whatever pieces its bytes come in."""

    def __init__(self) -> None:
        self._framer = EventFramer()
        self._last: dict[str, Raw] | None = None  # the chunk with the finish reason, held for the end
        self._usage: Raw | None = None
        self.error: bytes | None = None  # the error object that ended the stream

    def feed(self, data: bytes) -> list[bytes]:
        """The frames of more of the stream's bytes."""
        return self._read(self._framer.feed(data))

    def end(self, usage: Mapping[str, Any], cost: Mapping[str, Any]) -> list[bytes]:
        """The frames left at the stream's end; after them, `error` says whether it ended well.

        `usage` is what the last one tells if the stream told none; `cost` is told beside it.
        """
        frames = self._read(self._framer.rest())
        if self.error is None and self._last is None:
            self.error = msgspec.json.encode(_CUT)
        if self.error is not None or self._last is None:
            return frames
        told = dict(usage) if self._usage is None else msgspec.json.decode(self._usage, type=dict[str, Raw])
        return [*frames, _open({**self._last, "usage": Raw(msgspec.json.encode({**told, **cost}))})]

    def whole(self, body: bytes) -> list[bytes]:
        """The frames of an answer that came in one piece although a stream was asked for, but for the last.

        Raises MsgspecError, KeyError, IndexError for what is no answer.
        """
        answer = _OBJECT.decode(body)
        choice = _CHOICES.decode(answer["choices"])[0]
        choice["delta"] = choice.pop("message", Raw(b"{}"))
        answer["object"] = Raw(b'"chat.completion.chunk"')
        return self._take(_encode({**answer, "choices": _list(choice)}))

    def _read(self, block: bytes) -> list[bytes]:
        frames: list[bytes] = []
        for raw in split_events(block):
            event = read_event(raw)
            if event is not None:
                frames += self._take(event.data.strip())
        return frames

    def _take(self, data: bytes) -> list[bytes]:
        if data == _DONE or self.error is not None:
            return []
        if not data.isascii():
            # A text frame with a byte that is not UTF-8 would end its reader's connection.
            data = data.decode("utf-8", "replace").encode()
        try:
            chunk = _CHUNK.decode(data)
        except msgspec.MsgspecError:
            return []
        if bytes(chunk.error) not in _NOTHING:
            self.error = bytes(chunk.error)
            return []
        told = bytes(chunk.usage)
        tells_usage = told not in _NOTHING
        if tells_usage:
            self._usage = chunk.usage
        elif told:
            # Quotes inside a text are escaped: this cannot stand in one.
            data = _NO_USAGE.sub(b"", data, count=1)
        if not chunk.choices:
            return []
        if len(chunk.choices) == 1 and chunk.choices[0].finish_reason is None and not tells_usage:
            return [data[:-1]]
        return self._apart(_OBJECT.decode(data))

    def _apart(self, chunk: dict[str, Raw]) -> list[bytes]:
        """The frames of a chunk that is not passed on as it is."""
        chunk.pop("usage", None)
        frames = []
        for choice in _CHOICES.decode(chunk["choices"]):
            whole = {**chunk, "choices": _list(choice)}
            if bytes(choice.get("finish_reason", _NULL)) == b"null":
                frames.append(_open(whole))
                continue
            if _says_something(choice):
                frames.append(_open({**chunk, "choices": _list({**choice, "finish_reason": _NULL})}))
                whole["choices"] = _list({**choice, "delta": Raw(b"{}")})
            self._last = whole
        return frames


def _says_something(choice: Mapping[str, Raw]) -> bool:
    """Whether a last chunk brings more than its reason: then that goes out before, for more may follow."""
    try:
        delta = msgspec.json.decode(choice.get("delta", _NULL), type=dict[str, Any] | None)
    except msgspec.MsgspecError:
        return False
    return any(value for name, value in (delta or {}).items() if name != "role")


def _list(choice: Mapping[str, Raw]) -> Raw:
    return Raw(msgspec.json.encode([choice]))


def _encode(chunk: Mapping[str, Raw]) -> bytes:
    return msgspec.json.encode(chunk)


def _open(chunk: Mapping[str, Raw]) -> bytes:
    return _encode(chunk)[:-1]
