"""Frames of a chat socket: whatever pieces the stream comes in, one choice each, the end whole."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.chat_frames import ChatFrames, numbered

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


COST = {"cost": 1.5}


def read(found: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(numbered(frame, at, b',"call":"c"}')) for at, frame in enumerate(found, 1)]


def made_of(
    stream: bytes, cuts: list[int], usage: dict[str, Any] | None = None
) -> tuple[ChatFrames, list[dict[str, Any]]]:
    made = ChatFrames()
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    found: list[bytes] = []
    for start, end in itertools.pairwise(edges):
        found += made.feed(stream[start:end])
    return made, read([*found, *made.end(usage or {}, COST)])


def frames(stream: bytes, cuts: list[int], usage: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    made, found = made_of(stream, cuts, usage)
    assert made.error is None
    return found


@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=30))
def test_any_chunking_gives_the_same_frames(cuts: list[int]) -> None:
    found = frames(STREAM, cuts)
    assert found == frames(STREAM, [])
    assert [frame["seq"] for frame in found] == [1, 2, 3, 4]
    assert all(len(frame["choices"]) == 1 and frame["call"] == "c" for frame in found)
    assert "".join(frame["choices"][0]["delta"].get("content", "") for frame in found) == "Grüß dich 😀"
    assert [frame["choices"][0]["finish_reason"] for frame in found] == [None, None, None, "stop"]
    assert found[-1]["usage"] == {**USAGE, **COST}
    assert not any("usage" in frame for frame in found[:-1])


def test_usage_beside_the_finish_reason_is_told_once() -> None:
    found = frames(chunk(choice({"content": "a"})) + chunk(choice({}, "stop"), usage=USAGE), [])
    assert [("usage" in frame) for frame in found] == [False, True]


def test_a_stream_without_usage_gets_what_was_booked() -> None:
    found = frames(chunk(choice({"content": "a"})) + chunk(choice({}, "stop")), [], {"prompt_tokens": 1})
    assert found[-1]["usage"] == {"prompt_tokens": 1, **COST}
    assert found[-1]["model"] == "gpt-4.1"


def test_a_stream_without_a_reason_to_stop_is_not_passed_off_as_whole() -> None:
    made, found = made_of(chunk(choice({"content": "a"})) + b"data: [DONE]\n\n", [])
    assert [frame["choices"][0]["delta"] for frame in found] == [{"content": "a"}]
    assert made.error is not None
    assert json.loads(made.error)["tollgate"]["code"] == "upstream_unavailable"


def test_two_choices_in_a_chunk_are_two_frames() -> None:
    both = chunk(choice({"content": "a"}), choice({"content": "b"}, index=1))
    found = frames(both + chunk(choice({}, "stop")), [])
    assert [frame["choices"][0]["delta"] for frame in found] == [{"content": "a"}, {"content": "b"}, {}]


def test_what_comes_with_a_finish_reason_goes_out_before_it() -> None:
    found = frames(chunk(choice({"content": "a"}, "stop")) + chunk(choice({"content": "b"}, "length")), [])
    assert [frame["choices"][0]["finish_reason"] for frame in found] == [None, None, "length"]
    assert [frame["choices"][0]["delta"] for frame in found] == [{"content": "a"}, {"content": "b"}, {}]


def test_an_error_ends_it_and_is_no_frame() -> None:
    made = ChatFrames()
    gone = b'data: {"error":{"message":"gone"}}\n\n'
    assert len(made.feed(chunk(choice({"content": "a"})) + gone + chunk(choice({"content": "b"})))) == 1
    assert made.error == b'{"message":"gone"}'
    assert made.end({}, COST) == []


def test_garbage_is_passed_over() -> None:
    assert len(frames(b"data: {cut\n\ndata: 7\n\n" + chunk(choice({}, "stop")), [])) == 1


def test_bytes_that_are_no_utf_8_do_not_end_the_readers_connection() -> None:
    bad = b'data: {"choices":[{"delta":{"content":"a\xff"},"finish_reason":null}]}\n\n'
    (frame,) = read(ChatFrames().feed(bad))
    assert frame["choices"][0]["delta"]["content"] == "a\ufffd"


def test_a_chunk_is_passed_on_as_the_provider_wrote_it() -> None:
    raw = b'{"created":1.50e3,"choices":[{"delta":{"x":1.0},"finish_reason":null}],"usage":null}'
    assert ChatFrames().feed(b"data: " + raw + b"\n\n") == [raw.removesuffix(b',"usage":null}')]


def test_an_answer_in_one_piece_has_its_text_and_its_end() -> None:
    whole = {**HEAD, "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}
    made = ChatFrames()
    found = read(made.whole(json.dumps({**whole, "usage": USAGE}).encode()) + made.end({}, COST))
    assert [frame["choices"] for frame in found] == [[choice({"content": "a"})], [choice({}, "stop")]]
    assert found[0]["object"] == "chat.completion.chunk"
    assert found[-1]["usage"] == {**USAGE, **COST}
