"""Splicing: the named members change, and not one byte besides."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.splice import Unspliceable, apply, insert_first, locate

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-99, 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["model", "n", "a b", 'q"uote', "bräu", "back\\slash"]) | TEXTS
SPACE = st.sampled_from(["", "", " ", "\n\t", "\r\n  "])


@st.composite
def objects(draw: st.DrawFn, unique: bool = False) -> tuple[bytes, list[tuple[str, Any]]]:
    """An object's text in some writer's style, with its members in order, repeated keys included."""
    pairs = draw(
        st.lists(st.tuples(KEYS, VALUES), max_size=6, unique_by=(lambda pair: pair[0]) if unique else None)
    )
    ascii_, indent = draw(st.booleans()), draw(st.sampled_from([None, None, 1]))
    written = []
    for key, value in pairs:
        name = json.dumps(key, ensure_ascii=ascii_)
        text = json.dumps(value, ensure_ascii=ascii_, indent=indent)
        written.append(f"{draw(SPACE)}{name}{draw(SPACE)}:{draw(SPACE)}{text}{draw(SPACE)}")
    body = f"{draw(SPACE)}{{{','.join(written) or draw(SPACE)}}}{draw(SPACE)}"
    return body.encode(), pairs


@given(objects())
def test_every_member_is_found_where_it_stands(made: tuple[bytes, list[tuple[str, Any]]]) -> None:
    body, pairs = made
    members = locate(body)
    assert [member.key for member in members] == [key for key, _ in pairs]
    for member, (key, value) in zip(members, pairs, strict=True):
        assert json.loads(body[member.start : member.end]) == value
        assert json.loads(body[member.key_start : member.key_end]) == key
        assert body[member.start : member.end] == body[member.start : member.end].strip()


@given(objects(), st.data())
def test_replacing_changes_those_values_alone(
    made: tuple[bytes, list[tuple[str, Any]]], data: st.DataObject
) -> None:
    body, pairs = made
    members = locate(body)
    chosen = [member for member in members if data.draw(st.booleans())]
    spliced = apply(body, [(member.start, member.end, b'"new"') for member in reversed(chosen)])
    edges = [0, *(edge for member in chosen for edge in (member.start, member.end)), len(body)]
    kept = [body[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    assert spliced == b'"new"'.join(kept)
    changed = {
        key: "new" if member in chosen else value for member, (key, value) in zip(members, pairs, strict=True)
    }
    assert json.loads(spliced) == changed


@given(objects(unique=True))
def test_inserting_adds_one_member_before_all_others(made: tuple[bytes, list[tuple[str, Any]]]) -> None:
    body, pairs = made
    brace = body.index(b"{")
    edit = insert_first(brace, b'"added":[1]', empty=not pairs)
    spliced = apply(body, [edit])
    assert json.loads(spliced) == {"added": [1], **{key: value for key, value in pairs if key != "added"}}
    assert spliced == body[: brace + 1] + edit[2] + body[brace + 1 :]


def test_a_repeated_key_is_stepped_over_even_where_one_value_begins_the_other() -> None:
    body = b'{"n":12,"x":{"a":[{"b":"}]"}]},"n":1,"x":{"a":[]}}'
    found = [(member.key, body[member.start : member.end]) for member in locate(body)]
    assert found == [("n", b"12"), ("x", b'{"a":[{"b":"}]"}]}'), ("n", b"1"), ("x", b'{"a":[]}')]


def test_a_repeated_key_nested_beyond_all_reason_is_refused() -> None:
    deep = b"[" * 60 + b"]" * 60
    with pytest.raises(Unspliceable):
        locate(b'{"a":' + deep + b',"a":1}')
    assert len(locate(b'{"a":' + deep + b',"b":1}')) == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1}x', b'{"a":"\x00"}', b"null"])
def test_what_is_no_object_is_not_located(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        locate(body)


def test_a_member_of_an_inner_object_can_be_seen_from_outside() -> None:
    body = b'{"o": {"i": true}}'
    outer = locate(body)[0]
    inner = locate(body[outer.start : outer.end])[0].moved(outer.start)
    assert body[inner.start : inner.end] == b"true"
    assert body[inner.key_start : inner.key_end] == b'"i"'


def test_overlapping_edits_are_a_programmers_error() -> None:
    with pytest.raises(AssertionError):
        apply(b"abcdef", [(0, 3, b""), (2, 4, b"")])
