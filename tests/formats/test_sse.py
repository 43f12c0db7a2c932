"""Server-sent events: the standard's own reading, whatever the pieces they arrive in."""

from __future__ import annotations

import re
from itertools import chain, repeat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.errors import UpstreamFailed
from gateway.formats.sse import (
    Event,
    EventFramer,
    EventReader,
    event_around,
    read_event,
    split_events,
    whole_events,
)
from tests.formats.playing import in_pieces

LINES = st.sampled_from(
    [
        "data: {}",
        "data:x",
        "data:  two spaces",
        "data",
        "data: größe 港",
        ": keep-alive",
        ":",
        "event: error",
        "id: 7",
        "retry: 10",
        "unknown: field",
        "no colon",
        "",
        "",
    ]
)
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS)).map(lambda lines: "".join(chain(*lines)).encode())
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def by_the_standard(stream: bytes) -> list[Event]:
    """The whole stream read as the standard tells it, line by line; the last event is dispatched as well."""
    found: list[Event] = []
    name, id_ = "", None
    data: list[str] = []
    for line in [*re.split("\r\n|\n|\r", stream.decode().removeprefix("\ufeff")), ""]:
        if not line:
            if data:
                found.append(Event(name or "message", "\n".join(data).encode(), id_))
            name, id_, data = "", None, []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id":
            id_ = value
    return found


def read_all(stream: bytes, sizes: list[int]) -> tuple[list[Event], bytes]:
    reader = EventReader()
    read = [
        pair for piece in in_pieces(stream, chain.from_iterable(repeat(sizes))) for pair in reader.feed(piece)
    ]
    read += reader.close()
    return [event for _, event in read if event is not None], b"".join(raw for raw, _ in read)


@given(stream=STREAMS, sizes=SIZES)
@example(stream=b"data: a\r\n\r\ndata: b\r\n\r\n", sizes=[1])
@example(stream=b"data: a\n\r\ndata: b\r\rdata: c\r\n\n", sizes=[8, 1])
@example(stream=b"\r\r\rdata: a\r\r", sizes=[2])
def test_any_pieces_give_the_standards_events_and_every_byte(stream: bytes, sizes: list[int]) -> None:
    events, raw = read_all(stream, sizes)
    assert events == by_the_standard(stream)
    assert raw == stream


@given(stream=STREAMS, sizes=SIZES)
def test_the_raw_events_do_not_depend_on_the_pieces(stream: bytes, sizes: list[int]) -> None:
    def told(sizes: list[int]) -> list[bytes]:
        reader = EventReader()
        pieces = in_pieces(stream, chain.from_iterable(repeat(sizes)))
        read = [pair for piece in pieces for pair in reader.feed(piece)] + reader.close()
        return [raw for raw, event in read if event is not None]

    assert told(sizes) == told([len(stream) + 1])


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert read_event(b"\xef\xbb\xbfdata: a\n\n") == Event("message", b"a")


def test_the_common_read_is_handed_on_uncopied() -> None:
    data = b"data: 1\n\ndata: 2\n\n"
    assert EventFramer().feed(data) is data


def test_an_incomplete_event_waits_for_its_end() -> None:
    framer = EventFramer()
    assert framer.feed(b"data: 1\n\ndata: 2") == b"data: 1\n\n"
    assert framer.feed(b"\n") == b""
    assert framer.feed(b"\ndata") == b"data: 2\n\n"
    assert framer.rest() == b"data"
    assert framer.rest() == b""


def test_a_carriage_return_may_be_half_a_line_end() -> None:
    framer = EventFramer()
    assert framer.feed(b"data: 1\r\n\r") == b""
    assert framer.feed(b"\ndata: 2\r\n") == b"data: 1\r\n\r\n"


def test_an_event_beyond_the_bound_is_a_clear_failure() -> None:
    framer = EventFramer(event_bytes_max=100)
    assert framer.feed(b"data: " + b"x" * 200 + b"\n\n") != b""
    framer.feed(b"x" * 60)
    with pytest.raises(UpstreamFailed, match="more than 100 bytes"):
        framer.feed(b"x" * 60)


@given(stream=STREAMS, at=st.integers(0, 200))
def test_an_event_is_found_from_any_byte_in_it(stream: bytes, at: int) -> None:
    start = 0
    for raw in split_events(stream):
        end = start + len(raw)
        if start <= at < end and raw.strip(b"\r\n"):
            inner = at - start
            # From the blank line that ends an event, or half of it, the event is not looked for.
            if inner < len(raw.rstrip(b"\r\n")):
                assert event_around(stream, at) == (start, end)
        start = end


@given(cut=st.integers(0, 60))
def test_only_whole_events_are_passed_on_before_an_error(cut: int) -> None:
    said = (b"data: {}\n\n" + b"event: x\r\ndata: {}\r\n\r\n")[:cut]
    kept = whole_events(said)
    assert said.startswith(kept)
    assert kept in (b"", b"data: {}\n\n", b"data: {}\n\nevent: x\r\ndata: {}\r\n\r\n")
