"""What a stream said is read only when asked for, and then completely."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.formats.transcript import Transcript, reply_texts
from tests.formats.playing import CharCounter


class ByteCounter:
    """The tokenizer that makes the most of a text: no token is shorter than a byte."""

    def count(self, text: str) -> int:
        return len(text.encode())


def chunk(delta: dict[str, Any], index: int = 0, finish: str | None = None, **style: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body, **style).encode() + b"\n\n"


COMPACT: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
DELTAS = st.one_of(
    st.fixed_dictionaries({"content": TEXTS}),
    st.fixed_dictionaries({"content": st.none(), "reasoning_content": TEXTS}),
    st.fixed_dictionaries({"refusal": TEXTS}),
    st.builds(
        lambda index, name, text: {
            "tool_calls": [{"index": index, "function": {"name": name, "arguments": text}}]
        },
        st.integers(0, 2),
        st.none() | TEXTS,
        TEXTS,
    ),
    st.builds(lambda text: {"function_call": {"arguments": text}}, TEXTS),
)
BLOCKS = st.lists(
    st.lists(
        st.builds(
            chunk, DELTAS, st.integers(0, 1), ensure_ascii=st.booleans(), separators=st.just((",", ":"))
        )
        | st.sampled_from([b": keep-alive\n\n", b"data: [DONE]\n\n", b"data: {\n\n", b"data: {}\n\n"]),
        max_size=5,
    ).map(b"".join),
    max_size=8,
)


def texts_in(blocks: list[bytes]) -> list[str]:
    """Every generated string, by a walk through every chunk."""
    found = []
    for event in b"".join(blocks).split(b"\n\n"):
        text = event.removeprefix(b"data: ")
        if text.startswith(b'{"id"'):
            for choice in json.loads(text)["choices"]:
                found += strings(choice["delta"])
    return found


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in strings(each)]


# A count that ended on its last allowed character once took a block that still waited for counted.
@example(blocks=[chunk({"content": "0"}, **COMPACT), chunk({"content": "0"}, **COMPACT)], step=1, cap=30)
@settings(deadline=None)
@given(blocks=BLOCKS, step=st.integers(1, 50), cap=st.integers(0, 200))
def test_all_is_counted_and_no_cap_is_passed_unseen(blocks: list[bytes], step: int, cap: int) -> None:
    transcript = Transcript()
    for at, block in enumerate(blocks):
        transcript.keep(block)
        if not transcript.may_exceed(cap):
            said = sum(len(text.encode()) for text in texts_in(blocks[: at + 1]))
            assert said <= cap
        if at % 3 == 2:
            transcript.count(ByteCounter(), step)
    while not transcript.count(ByteCounter(), step):
        pass
    total = sum(len(text.encode()) for text in texts_in(blocks))
    assert transcript.tokens == total
    assert transcript.may_exceed(total - 1)
    assert not transcript.may_exceed(total)
    assert transcript.has_text() == bool(total)


def test_a_count_takes_no_more_than_it_may() -> None:
    transcript = Transcript()
    transcript.keep(chunk({"content": "x" * 25}) + chunk({"content": "y" * 5}, 1))
    assert not transcript.count(CharCounter(), 10)
    assert transcript.tokens == 10
    assert not transcript.count(CharCounter(), 10)
    assert transcript.count(CharCounter(), 11)
    assert transcript.tokens == 30


@pytest.mark.parametrize("key", ["content", "reasoning_content", "refusal"])
def test_the_frame_of_events_does_not_look_like_text(key: str) -> None:
    """Else every stream would be counted: a frame is ten times as long as the text in it."""
    transcript = Transcript()
    transcript.keep(chunk({"role": "assistant", "content": ""}, **COMPACT))
    for _ in range(100):
        transcript.keep(chunk({key: " word"}, **COMPACT))
    raw = sum(map(len, transcript._waiting))
    assert raw > 10_000
    assert not transcript.may_exceed(6_000)
    assert len(transcript._waiting) == 101
    # What is left of the frame is settled by decoding.
    assert not transcript.may_exceed(500)
    assert not transcript._waiting
    assert transcript.may_exceed(499)


def test_a_long_stream_that_nobody_counts_takes_little_memory() -> None:
    transcript = Transcript()
    for _ in range(3_000):
        transcript.keep(chunk({"content": "word "}))
        assert sum(map(len, transcript._waiting)) <= 64 * 1024
    assert not transcript.may_exceed(10**9)
    for _ in range(20_000):
        transcript.keep(chunk({"content": "word "}))
    # So much text waits that it should be counted, however large the cap.
    assert transcript.may_exceed(10**9)
    while not transcript.count(CharCounter(), 10_000):
        pass
    assert transcript.tokens == 23_000 * 5
    assert not transcript.may_exceed(10**9)


def test_endless_tool_calls_are_counted_as_one_text() -> None:
    transcript = Transcript()
    for index in range(3_000):
        transcript.keep(chunk({"tool_calls": [{"index": index, "function": {"arguments": "{}"}}]}))
    assert transcript.count(CharCounter(), 10**6)
    assert transcript.tokens == 6_000
    assert len(transcript._tallies) <= 1_025


def test_which_choices_are_open() -> None:
    transcript = Transcript()
    assert transcript.open_choices(2) == [0, 1]
    transcript.keep(chunk({"content": "a"}, 3) + chunk({}, 1, "stop"))
    assert transcript.open_choices(2) == [0, 3]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b'{"choices":[{"index":0,"delta":{"content":"a\xffb"}}]}', "a\ufffdb"),
        (b'{"choices":[{"index":0,"delta":{"content":"a\\ud800"}}]}', "a\ud800"),
        (b'{"choices":[{"index":"0","delta":{"role":"assistant","content":"ab"}}]}', "ab"),
        (b'{"choices":[{"delta":{"content":["a",{"type":"text","text":"b"}]},"finish_reason":7}]}', "ab"),
        (b'{"choices":[{"delta":{"content":1}},5,{"text":"ab","delta":null,"finish_reason":{}}]}', "ab"),
        (b'{"choices":{"0":"ab"}}', ""),
        (b'["ab"]', ""),
        (b"\xff", ""),
    ],
)
def test_chunks_of_unexpected_types_are_read_as_far_as_they_go(data: bytes, texts: str) -> None:
    transcript = Transcript()
    transcript.read(data)
    assert transcript.count(CharCounter(), 1_000)
    assert transcript.tokens == len(texts)


def test_custom_tools_and_spoken_words_are_output_too() -> None:
    transcript = Transcript()
    transcript.read(
        b'{"choices":[{"delta":{"tool_calls":[{"index":0,"custom":{"name":"ab","input":"cd"}}]}}]}'
    )
    transcript.read(b'{"choices":[{"delta":{"audio":{"id":"x","data":"UklG","transcript":"ef"}}}]}')
    transcript.read(b'{"choices":[{"delta":{"reasoning":"gh"}}]}')
    assert transcript.count(CharCounter(), 1_000)
    assert transcript.tokens == 8


def test_a_reply_cut_in_its_midst_still_says_something() -> None:
    reply = json.dumps({"choices": [{"message": {"content": 'Dun\n"bar"', "refusal": None}}]}).encode()
    assert reply_texts(reply) == ['Dun\n"bar"']
    assert reply_texts(reply[: reply.index(b"bar") + 2]) == ['Dun\n"ba']
    assert reply_texts(reply[: reply.index(b"bar") - 1]) == ["Dun\n"]
    assert reply_texts(reply[: reply.index(b"\\n") + 1] + b"u00") == ["Dun\\u00"]
    assert reply_texts(b"<html>") == []
