"""Events as they came, each a frame of its own."""

from __future__ import annotations

import pytest

from gateway.formats.raw_frames import RawFrames

STREAM = b'event: a\r\ndata: {"x":1}\r\n\r\n: keep alive\n\ndata: 2\n\ndata: [DONE]\n\n'
EVENTS = [b'event: a\r\ndata: {"x":1}', b"data: 2", b"data: [DONE]"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_any_chunking_gives_the_same_events(size: int) -> None:
    frames = RawFrames()
    found = [frame for at in range(0, len(STREAM), size) for frame in frames.feed(STREAM[at : at + size])]
    assert [*found, *frames.end({}, {})] == EVENTS


def test_an_event_without_its_end_is_one_too() -> None:
    frames = RawFrames()
    assert frames.feed(b"data: 1") == []
    assert frames.end({}, {}) == [b"data: 1"]


def test_a_whole_answer_is_one_event() -> None:
    assert RawFrames().whole(b'{\n"x": 1\n}') == [b'data: {\ndata: "x": 1\ndata: }']
