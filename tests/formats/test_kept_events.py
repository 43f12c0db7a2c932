"""What a stream said is read only when asked for, and then completely."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.anthropic_blocks import FRAME
from gateway.formats.kept_events import KeptEvents
from gateway.formats.sse import Event
from tests.formats.playing import CharCounter

KINDS = {"text": "text_delta", "thinking": "thinking_delta", "partial_json": "input_json_delta"}


class ByteCounter:
    """The tokenizer that makes the most of a text: no token is shorter than a byte."""

    def count(self, text: str) -> int:
        return len(text.encode())


def texts_of(event: Event) -> Iterator[tuple[Hashable, str]]:
    data = json.loads(event.data)
    for kind in KINDS:
        if kind in data["delta"]:
            yield (data["index"], kind), data["delta"][kind]


def delta(text: str, kind: str = "text", index: int = 0, pad: int = 0, eol: str = "\n") -> bytes:
    said = {"type": "content_block_delta", "index": index, "delta": {"type": KINDS[kind], kind: text}}
    data = json.dumps(said, separators=(",", ":"), ensure_ascii=False)[:-1] + " " * pad + "}"
    return f"event: content_block_delta{eol}data: {data}{eol}{eol}".encode()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
PIECES = st.tuples(TEXTS, st.sampled_from([*KINDS]), st.integers(0, 2), st.integers(0, 9))
BLOCKS = st.lists(st.lists(PIECES, max_size=5), max_size=8)


@given(blocks=BLOCKS, eol=st.sampled_from(["\n", "\r\n"]), step=st.integers(1, 50), cap=st.integers(0, 200))
def test_all_is_counted_and_no_cap_is_passed_unseen(
    blocks: list[list[tuple[str, str, int, int]]], eol: str, step: int, cap: int
) -> None:
    kept = KeptEvents(texts_of, FRAME)
    said = 0
    for at, block in enumerate(blocks):
        kept.keep(b"".join(delta(*piece, eol) for piece in block) or b": ping\n\n")
        said += sum(len(piece[0].encode()) for piece in block)
        assert kept.may_exceed(cap) or said <= cap
        if at % 3 == 2:
            kept.count(ByteCounter(), step)
            assert kept.tokens <= said
    while not kept.count(ByteCounter(), step):
        pass
    assert kept.tokens == said
    assert kept.may_exceed(cap) == (said > cap)
    assert kept.has_text() == (said > 0)


def test_the_frame_of_events_is_no_text() -> None:
    """Far below the cap nothing is read, although the events are far longer than it."""
    kept = KeptEvents(texts_of, FRAME)
    read: list[Event] = []

    def noting(event: Event) -> Iterator[tuple[Hashable, str]]:
        read.append(event)
        yield from texts_of(event)

    counting = KeptEvents(noting, FRAME)
    for each in (kept, counting):
        for _ in range(50):
            each.keep(delta("ab"))
        assert not each.may_exceed(1_000)
    assert read == []
    assert kept.may_exceed(99)
    assert not kept.may_exceed(100)


def test_text_in_bulk_asks_to_be_counted_whatever_the_cap() -> None:
    kept = KeptEvents(texts_of, FRAME)
    assert not kept.may_exceed(10**9)
    for _ in range(40):
        kept.keep(delta("x" * 4_000))
    assert kept.may_exceed(10**9)
    while not kept.count(CharCounter(), 10_000):
        pass
    assert not kept.may_exceed(10**9)
    assert kept.tokens == 160_000


def test_the_budget_of_a_count_is_kept() -> None:
    kept = KeptEvents(texts_of, FRAME)
    kept.keep(delta("a" * 50) + delta("b" * 50, "thinking"))
    assert not kept.count(CharCounter(), 30)
    assert 0 < kept.tokens <= 60
    assert kept.count(CharCounter(), 200)
    assert kept.tokens == 100


@pytest.mark.parametrize("texts", [3_000])
def test_texts_without_number_are_counted_as_one(texts: int) -> None:
    kept = KeptEvents(texts_of, FRAME)
    for index in range(texts):
        kept.add(index, "ab")
    assert kept.count(CharCounter(), 10**6)
    assert kept.tokens == 2 * texts
