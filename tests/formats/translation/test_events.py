"""The short way to read an event says what the long one says, in any pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.sse import read_event, split_events
from gateway.formats.translation.events import Events

FIELDS = ("data: ", "data:", "event: ", "event: data: x", ":", "{", "}", "x", " ")
PIECES = (*FIELDS, "\n", "\r\n", "\r", "\n\n", "\r\n\r\n")


def plainly(stream: bytes) -> list[tuple[bytes, bytes | None]]:
    read = [(raw, read_event(raw)) for raw in split_events(stream)]
    return [(raw, None if event is None else event.data) for raw, event in read]


@given(parts=st.lists(st.sampled_from(PIECES), max_size=30), size=st.integers(1, 40))
def test_pieces_and_ways_make_no_difference(parts: list[str], size: int) -> None:
    stream = "".join(parts).encode()
    events = Events()
    read = [each for at in range(0, len(stream), size) for each in events.feed(stream[at : at + size])]
    read += events.close()
    told = [(raw, data) for raw, data in read if data is not None]
    assert told == [(raw, data) for raw, data in plainly(stream) if data is not None]


def test_what_providers_write_is_read() -> None:
    for stream in (b'data: {"a":1}\n\n', b'event: x\ndata: {"a":1}\n\n', b'data: {"a":1}\r\n\r\n'):
        assert Events().feed(stream) == [(stream, b'{"a":1}')]
