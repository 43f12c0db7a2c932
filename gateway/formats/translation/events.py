"""The events of an upstream's stream as a writer wants them: raw, and the data of each.

What nearly every read brings is one event of one line of data, as its provider writes it; that is told by two
searches. The rest is taken apart by the rules of server-sent events.
"""

from __future__ import annotations

from gateway.formats.sse import EVENT_BYTES_MAX, EventFramer, read_event, split_events

__all__ = ["Events"]

# An event's raw bytes, and its data; None where it has none (comments, blank lines).
Read = tuple[bytes, bytes | None]


class Events:
    """Reads a stream's events in any pieces; what is read does not depend on them."""

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._framer = EventFramer(event_bytes_max)

    def feed(self, data: bytes) -> list[Read]:
        """The events now complete."""
        block = self._framer.feed(data)
        at = block.find(b"data: ")
        if at >= 0 and b"\r" not in block:
            # The last two bytes are the blank line; no other may stand before them.
            if block.find(b"\n", at) == len(block) - 2 and _is_named(block, at):
                return [(block, block[at + 6 : -2])]
        elif at == 0 and _is_line(block):
            return [(block, block[6:-4])]
        return _all(block)

    def close(self) -> list[Read]:
        """The last event, where the stream ended without its blank line."""
        return _all(self._framer.rest())


def _is_named(block: bytes, at: int) -> bool:
    """Whether nothing but the event's name, in a line of its own, stands before its data."""
    return at == 0 or (block.startswith(b"event: ") and block.find(b"\n") == at - 1)


def _is_line(block: bytes) -> bool:
    """Whether the block is one line and a blank one, both ended by CRLF, and has no other line end."""
    end = len(block) - 4
    return block.find(b"\r") == end and block.find(b"\n") == end + 1 and block.endswith(b"\r\n\r\n")


def _all(block: bytes) -> list[Read]:
    read = [(raw, read_event(raw)) for raw in split_events(block)]
    return [(raw, None if event is None else event.data) for raw, event in read]
