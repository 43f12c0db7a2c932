"""The events of an answer as frames of their own, as they came, for answers that are no chat. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.formats.sse import EventFramer, read_event, split_events

__all__ = ["RawFrames"]


class RawFrames:
    """One frame for each event that says something; each is the event's lines without the blank one."""

    error: bytes | None = None

    def __init__(self) -> None:
        self._framer = EventFramer()

    def feed(self, data: bytes) -> list[bytes]:
        """The events that more of the stream's bytes complete."""
        block = self._framer.feed(data)
        return [raw.rstrip(b"\r\n") for raw in split_events(block) if read_event(raw) is not None]

    def end(self, usage: Mapping[str, Any], cost: Mapping[str, Any]) -> list[bytes]:
        """The event that the end left unfinished."""
        rest = self._framer.rest()
        return [rest.rstrip(b"\r\n")] if read_event(rest) is not None else []

    def whole(self, body: bytes) -> list[bytes]:
        """A whole answer is one event."""
        return [b"\n".join(b"data: " + line for line in body.splitlines())]
