"""Server-sent events, on bytes, without I/O (WHATWG HTML, "Server-sent events", section 9.2).

Owns where one event ends and the next begins, and what an event says. Relaying needs only the former,
so the framer looks for the last event boundary of what arrived and hands everything before it on as one
block; a block is taken apart only where somebody wants to read it. Lines may end in LF, CRLF or CR (the
Gemini API sends CRLF, the others LF) and a CRLF may be split between two reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import UpstreamFailed

__all__ = [
    "EVENT_BYTES_MAX",
    "Event",
    "EventFramer",
    "EventReader",
    "event_around",
    "event_end",
    "read_event",
    "split_events",
    "whole_events",
]

# A Responses terminal event repeats the whole response, and one thought signature was seen to fill a line
# of 47 KB; nothing genuine was seen above 1 MB.
EVENT_BYTES_MAX: Final = 8 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
# Two line ends in a row. A CR before LF is half a line end, so it may not stand for a whole one.
_BOUNDARY: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
# Unless a CR stands last, two line ends at the end of a read end an event.
_WHOLE: Final = (b"\n\n", b"\r\n\r\n")
_BLANK: Final = re.compile(rb"[\r\n]+")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type ("message" where unnamed), its data lines joined by LF, its id if it has one."""

    name: str
    data: bytes
    id: str | None = None


class EventFramer:
    """Finds event boundaries in bytes that arrive in any pieces.

    `feed` returns the longest run of whole events now complete, as they came; `rest` returns what is left
    at the end of the stream. The blocks, concatenated, are the input.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        # The last bytes of what is pending: a boundary may lie across the seam between two reads.
        self._seam = b""

    def feed(self, data: bytes) -> bytes:
        """Raise UpstreamFailed when a single event grows beyond the bound."""
        if not self._pending:
            # The common read ends with an event: nothing is searched, nothing is copied.
            if data.endswith(_WHOLE):
                return data
            end = _last_boundary(data, len(data))
        else:
            seamed = self._seam + data
            end = _last_boundary(seamed, len(seamed)) - len(self._seam)
        if end < 0 or (end == 0 and not self._pending):
            self._keep(data)
            return b""
        block = b"".join((*self._pending, data[:end]))
        self._clear()
        if end < len(data):
            self._keep(data[end:])
        return block

    def rest(self) -> bytes:
        """The event that the end of the stream left without its blank line, or nothing."""
        rest = b"".join(self._pending)
        self._clear()
        return rest

    def _clear(self) -> None:
        self._pending, self._pending_bytes, self._seam = [], 0, b""

    def _keep(self, data: bytes) -> None:
        self._pending_bytes += len(data)
        if self._pending_bytes > self._event_bytes_max:
            raise UpstreamFailed(
                "upstream_unavailable",
                f"The upstream sent an event of more than {self._event_bytes_max} bytes.",
                hint="The reply was ended here; what had been relayed until then is charged.",
            )
        self._pending.append(data)
        self._seam = (self._seam + data[-3:])[-3:]


class EventReader:
    """Reads events one by one: for streams whose every event matters."""

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._framer = EventFramer(event_bytes_max)

    def feed(self, data: bytes) -> list[tuple[bytes, Event | None]]:
        """The events now complete, each as its raw bytes and its reading (None: comments and blank lines)."""
        return [(raw, read_event(raw)) for raw in split_events(self._framer.feed(data))]

    def close(self) -> list[tuple[bytes, Event | None]]:
        """The last event, where the stream ended without its blank line."""
        return [(raw, read_event(raw)) for raw in split_events(self._framer.rest())]


def _last_boundary(data: bytes, stop: int) -> int:
    """Where the last event ends that is whole before `stop`; -1 where none is.

    A boundary contains LF LF, LF CR or CR CR, so three backward searches find the last one.
    """
    at = data.rfind(b"\n\n", 0, stop)
    end = at + 2 if at >= 0 else -1
    if data.find(b"\r", max(end, 0), stop) < 0:
        return end
    for needle in (b"\n\r", b"\r\r"):
        at = data.rfind(needle, 0, stop)
        # A CR in the last place may be half of a CRLF whose LF is still to come: not an end yet.
        if at >= 0 and at + 2 == len(data):
            at = data.rfind(needle, 0, at + 1)
        if at >= 0:
            end = max(end, at + (3 if data[at + 2 : at + 3] == b"\n" else 2))
    return end


def whole_events(tail: bytes) -> bytes:
    """Those events at the end of a broken stream that are whole."""
    return EventFramer().feed(tail)


def event_end(block: bytes, at: int) -> int:
    """Where the event ends that begins at `at`, its blank line included."""
    boundary = _BOUNDARY.search(block, at)
    return len(block) if boundary is None else boundary.end()


def event_around(block: bytes, at: int) -> tuple[int, int]:
    """The range of the event that the byte at `at` is in, without blank lines before it."""
    start = max(_last_boundary(block, at), 0)
    blank = _BLANK.match(block, start)
    return start if blank is None else blank.end(), event_end(block, at)


def split_events(block: bytes) -> Iterator[bytes]:
    """The events of a block, raw, each with the blank line that ends it.

    Further blank lines come as pieces of their own, so that an event's bytes do not depend on how the
    stream was cut into blocks.
    """
    at, size = 0, len(block)
    while at < size:
        blank = _BLANK.match(block, at)
        end = event_end(block, at) if blank is None else blank.end()
        yield block[at:end]
        at = end


def read_event(raw: bytes) -> Event | None:
    """What an event says; None where it has no data (a comment, a keep-alive, blank lines)."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return Event("message", raw[6:-2])
    name, id_, data = "message", None, []
    for line in _LINE_END.split(raw.removeprefix(_BOM)):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"id":
            id_ = value.decode("utf-8", "replace")
    return Event(name, b"\n".join(data), id_) if data else None
