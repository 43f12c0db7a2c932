"""Frames of a chat socket: whatever pieces the stream comes in, one choice each, the end whole."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.chat_frames import ChatFrames

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + json.dumps({**HEAD, "choices": list(choices), **more}).encode() + b"\n\n"


def choice(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


STREAM = (
    chunk(choice({"role": "assistant", "content": ""}))
    + b": a comment\n\n"
    + chunk(choice({"content": "Gr\u00fc\u00df"}), usage=None)
    + chunk(choice({"content": " dich \U0001f600"}))
    + chunk(choice({}, "stop"))
    + chunk(usage=USAGE)
    + b"data: [DONE]\n\n"
)


def frames(stream: bytes, cuts: list[int], usage: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    made = ChatFrames("call_1")
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    found: list[bytes] = []
    for start, end in itertools.pairwise(edges):
        found += made.feed(stream[start:end])
    found += made.end(usage or {})
    assert made.error is None
    return [json.loads(frame) for frame in found]


@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=30))
def test_any_chunking_gives_the_same_frames(cuts: list[int]) -> None:
    found = frames(STREAM, cuts)
    assert found == frames(STREAM, [])
    assert [frame["seq"] for frame in found] == [1, 2, 3, 4]
    assert all(len(frame["choices"]) == 1 and frame["call"] == "call_1" for frame in found)
    assert "".join(frame["choices"][0]["delta"].get("content", "") for frame in found) == "Grüß dich 😀"
    assert [frame["choices"][0]["finish_reason"] for frame in found] == [None, None, None, "stop"]
    assert found[-1]["usage"] == USAGE
    assert not any("usage" in frame for frame in found[:-1])


def test_usage_beside_the_finish_reason_is_told_once() -> None:
    found = frames(chunk(choice({"content": "a"})) + chunk(choice({}, "stop"), usage=USAGE), [])
    assert [("usage" in frame) for frame in found] == [False, True]


def test_a_stream_without_usage_or_end_gets_what_was_booked() -> None:
    found = frames(chunk(choice({"content": "a"})), [], {"prompt_tokens": 1})
    assert found[-1]["choices"] == [choice({}, "stop")]
    assert found[-1]["usage"] == {"prompt_tokens": 1}
    assert found[-1]["model"] == "gpt-4.1"


def test_two_choices_in_a_chunk_are_two_frames() -> None:
    found = frames(chunk(choice({"content": "a"}), choice({"content": "b"}, index=1)), [])
    assert [frame["choices"][0]["delta"] for frame in found] == [{"content": "a"}, {"content": "b"}, {}]


def test_a_second_finish_reason_ends_it_and_the_first_does_not() -> None:
    found = frames(chunk(choice({"content": "a"}, "stop")) + chunk(choice({"content": "b"}, "stop")), [])
    assert [frame["choices"][0]["finish_reason"] for frame in found] == [None, "stop"]
    assert [frame["choices"][0]["delta"]["content"] for frame in found] == ["a", "b"]


def test_an_error_ends_it_and_is_no_frame() -> None:
    made = ChatFrames("call_1")
    assert len(made.feed(chunk(choice({"content": "a"})) + b'data: {"error":{"message":"gone"}}\n\n')) == 1
    assert made.error == b'{"message":"gone"}'
    assert made.end({}) == []


def test_garbage_is_passed_over() -> None:
    assert len(frames(b"data: {cut\n\ndata: 7\n\n" + chunk(choice({}, "stop")), [])) == 1


def test_numbers_are_the_providers_own_text() -> None:
    raw = b'data: {"created":1.50e3,"choices":[{"delta":{"x":1.0},"finish_reason":null}]}\n\n'
    (frame,) = ChatFrames("call_1").feed(raw)
    assert b'"created":1.50e3' in frame
    assert b'"x":1.0' in frame


def test_an_answer_in_one_piece_is_one_frame() -> None:
    whole = {**HEAD, "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}
    (frame,) = ChatFrames("call_1").whole(json.dumps({**whole, "usage": USAGE}).encode())
    found = json.loads(frame)
    assert found["choices"] == [choice({"content": "a"}, "stop")]
    assert (found["object"], found["usage"], found["seq"]) == ("chat.completion.chunk", USAGE, 1)
