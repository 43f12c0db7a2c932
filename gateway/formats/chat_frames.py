"""From the events of a chat completion to frames for a socket: one JSON object each, numbered, never empty.

Clients of the usual relays read `choices[0]` of every frame and take `finish_reason` for the end. So a frame
has exactly one choice, what has none (the usage at the end) joins the last frame, and the last frame waits
until the stream is over. Values are passed on as the provider wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway.formats.sse import Event, EventReader

__all__ = ["ChatFrames"]

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_CHOICES: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_NULL: Final = Raw(b"null")


class ChatFrames:
    """The frames of one call, numbered from 1. `call` and `seq` stand at the end of each object."""

    def __init__(self, call: str) -> None:
        self._call = call
        self._reader = EventReader()
        self._seq = 0
        self._last: dict[str, Raw] | None = None  # the frame with the finish reason, held for the end
        self._usage: Raw | None = None
        self._pattern: dict[str, Raw] = {}  # id, model and the like, should the end bring none
        self.error: bytes | None = None  # the error object that ended the stream

    def feed(self, data: bytes) -> list[bytes]:
        """Frames of more of the stream's bytes, whatever pieces they come in."""
        return [frame for _, event in self._reader.feed(data) for frame in self._frames(event)]

    def end(self, usage: Mapping[str, Any]) -> list[bytes]:
        """The frames left at the stream's end; `usage` is what the last one tells if the stream told none."""
        frames = [frame for _, event in self._reader.close() for frame in self._frames(event)]
        if self.error is not None:
            return frames
        last = self._last
        if last is None:
            choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
            last = {**self._pattern, "choices": Raw(msgspec.json.encode([choice]))}
        last["usage"] = Raw(msgspec.json.encode(usage)) if self._usage is None else self._usage
        return [*frames, self._numbered(last)]

    def whole(self, body: bytes) -> list[bytes]:
        """The one frame of an answer that came in one piece although a stream was asked for."""
        answer = _OBJECT.decode(body)
        choice = _CHOICES.decode(answer["choices"])[0]
        choice["delta"] = choice.pop("message", Raw(b"{}"))
        answer["object"] = Raw(b'"chat.completion.chunk"')
        return [self._numbered({**answer, "choices": Raw(msgspec.json.encode([choice]))})]

    def _frames(self, event: Event | None) -> list[bytes]:
        if event is None or event.data == b"[DONE]":
            return []
        try:
            chunk = _OBJECT.decode(event.data)
            choices = _CHOICES.decode(chunk["choices"]) if "choices" in chunk else []
        except msgspec.MsgspecError:
            return []
        if "error" in chunk:
            self.error = bytes(chunk["error"])
            return []
        if bytes(chunk.get("usage", _NULL)) != b"null":
            self._usage = chunk["usage"]
        chunk.pop("usage", None)
        self._pattern = {name: value for name, value in chunk.items() if name != "choices"}
        return [frame for choice in choices for frame in self._frame(chunk, choice)]

    def _frame(self, chunk: dict[str, Raw], choice: dict[str, Raw]) -> list[bytes]:
        whole = {**chunk, "choices": Raw(msgspec.json.encode([choice]))}
        is_last = bytes(choice.get("finish_reason", _NULL)) != b"null"
        held, self._last = self._last, whole if is_last else self._last
        if not is_last:
            return [self._numbered(whole)]
        # A second finish reason: what the first frame brought goes out without its own.
        return [] if held is None else [self._numbered(_unfinished(held))]

    def _numbered(self, chunk: Mapping[str, Raw]) -> bytes:
        self._seq += 1
        return msgspec.json.encode({**chunk, "call": self._call, "seq": self._seq})


def _unfinished(chunk: dict[str, Raw]) -> dict[str, Raw]:
    choice = _CHOICES.decode(chunk["choices"])[0]
    return {**chunk, "choices": Raw(msgspec.json.encode([{**choice, "finish_reason": _NULL}]))}
