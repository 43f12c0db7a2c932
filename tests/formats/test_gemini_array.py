"""An array is taken apart at the same places however it is cut into reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import UpstreamFailed
from gateway.formats.gemini_array import ArrayFramer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('{}[]",\\:'), max_size=12)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ELEMENTS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=5)


def taken_apart(data: bytes, sizes: list[int]) -> tuple[list[bytes], bytes, bool]:
    framer = ArrayFramer(10_000)
    found: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        found += framer.feed(data[at : at + size])
        at += size
    return found, framer.rest(), framer.closed


def check(elements: list[Any], data: bytes, sizes: list[int]) -> None:
    found, rest, closed = taken_apart(data, sizes)
    assert b"".join((*found, rest)) == data
    assert [json.loads(each[each.index(b"{") :]) for each in found] == elements
    assert closed


@given(ELEMENTS, st.lists(st.integers(1, 50), min_size=1), st.booleans(), st.sampled_from([None, 2]))
def test_elements_are_found_in_any_pieces(
    elements: list[Any], sizes: list[int], ascii_only: bool, indent: int | None
) -> None:
    check(elements, json.dumps(elements, ensure_ascii=ascii_only, indent=indent).encode(), sizes)


@given(ELEMENTS)
def test_elements_are_found_cut_at_every_byte(elements: list[Any]) -> None:
    data = b"[" + b"\n,\r\n".join(json.dumps(each, indent=1).encode() for each in elements) + b"\n]"
    check(elements, data, [1])
    for at in range(1, len(data)):
        framer = ArrayFramer(10_000)
        found = [*framer.feed(data[:at]), *framer.feed(data[at:])]
        assert b"".join((*found, framer.rest())) == data
        assert (len(found), framer.closed) == (len(elements), True)


def test_an_element_leaves_as_soon_as_it_is_whole() -> None:
    framer = ArrayFramer(100)
    reads = (b'[{"a": "}', b"", b'\\"]"}', b"\n,", b"{}", b"\n]")
    left = [(framer.feed(read), framer.closed) for read in reads]
    assert [found for found, _ in left] == [[], [], [b'[{"a": "}\\"]"}'], [], [b"\n,{}"], []]
    assert [closed for _, closed in left] == [False] * 5 + [True]
    assert framer.rest() == b"\n]"


def test_an_endless_element_is_a_clear_failure() -> None:
    framer = ArrayFramer(100)
    framer.feed(b'[{"a": "' + b"x" * 92)
    with pytest.raises(UpstreamFailed):
        framer.feed(b"x")
