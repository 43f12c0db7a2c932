"""What a dialect hands over to be delivered: a body in one piece, or events and the way they are framed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gateway.simulators.wire import Headers

__all__ = ["ArrayFraming", "Body", "Event", "Framing", "SseFraming", "Stream"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: JSON without framing, and the tokens generated to make it.

    `paced` marks the events that carry the answer: they are counted by `after` and spaced by `pace_ms`.
    """

    data: bytes
    name: str = ""
    output: int = 0
    reasoning: int = 0
    paced: bool = False


class Framing:
    """How events become bytes."""

    content_type: bytes = b"text/event-stream"
    opening: bytes = b""
    closing: bytes = b""

    def frame(self, event: Event) -> bytes:
        """One event as it goes onto the wire."""
        raise NotImplementedError

    def comment(self) -> bytes:
        """Something a client must ignore."""
        raise NotImplementedError


class SseFraming(Framing):
    """Server-sent events with LF or CRLF (WHATWG HTML, 9.2)."""

    def __init__(
        self, *, crlf: bool = False, content_type: bytes = b"text/event-stream; charset=utf-8"
    ) -> None:
        self._end = b"\r\n" if crlf else b"\n"
        self.content_type = content_type

    def frame(self, event: Event) -> bytes:
        """``event:`` when it has a name, ``data:``, a blank line."""
        end = self._end
        if event.name:
            return b"event: %s%sdata: %s%s%s" % (event.name.encode(), end, event.data, end, end)
        return b"data: %s%s%s" % (event.data, end, end)

    def comment(self) -> bytes:
        """DeepSeek's keep-alive."""
        return b": keep-alive%s%s" % (self._end, self._end)


class ArrayFraming(Framing):
    """Gemini without ``alt=sse``: one JSON array, written an element at a time."""

    content_type = b"application/json; charset=UTF-8"
    opening = b"["
    closing = b"]"

    def __init__(self) -> None:
        self._lead = b""

    def frame(self, event: Event) -> bytes:
        """An element, and the comma that its predecessor could not know it needed."""
        lead, self._lead = self._lead, b",\n"
        return lead + event.data + b"\n"

    def comment(self) -> bytes:
        """White space between elements."""
        return b"\n"


@dataclass(frozen=True, slots=True)
class Body:
    """An answer in one piece, and the tokens generated to make it; `counted` announces its length."""

    data: bytes
    status: int = 200
    headers: Headers = field(default_factory=list)
    content_type: bytes = b"application/json"
    output: int = 0
    reasoning: int = 0
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer in events.

    `failure` makes the dialect's in-band error as written, `terminator` its last word, if it has one.
    """

    events: Iterator[Event]
    framing: Framing
    failure: Callable[[], bytes]
    headers: Headers = field(default_factory=list)
    terminator: Event | None = None
