"""Ids: fixed width, readable back, and nothing else is taken for one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.ids import attempt_id, base62, base62_bytes, call_id, journal_of, new_id

eight = st.binary(min_size=8, max_size=8)
sixteen = st.binary(min_size=16, max_size=16)


@given(journal=eight, own=eight)
def test_a_call_names_its_journal(journal: bytes, own: bytes) -> None:
    call = call_id(journal, own)
    assert re.fullmatch(r"call_[0-9A-Za-z]{22}", call)
    assert journal_of(call) == journal


@given(one=st.tuples(eight, eight), other=st.tuples(eight, eight))
def test_different_calls_have_different_ids(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
    assert (call_id(*one) == call_id(*other)) == (one == other)


@given(random_bytes=sixteen)
def test_an_id_keeps_all_its_random_bytes(random_bytes: bytes) -> None:
    made = new_id("bud", random_bytes)
    assert re.fullmatch(r"bud_[0-9A-Za-z]{22}", made)
    high, low = base62_bytes(made[4:15], 16), base62_bytes(made[15:], 16)
    assert high is not None
    assert low is not None
    value = int.from_bytes(high, "big") * 62**11 + int.from_bytes(low, "big")
    assert value.to_bytes(16, "big") == random_bytes
    assert attempt_id(random_bytes) == new_id("att", random_bytes)


@given(number=st.integers(0, 2**256 - 1), spare=st.integers(0, 3))
def test_base62_is_read_back_at_any_width(number: int, spare: int) -> None:
    text = base62(number, 43 + spare)
    assert len(text) == 43 + spare
    assert base62_bytes(text, 32) == number.to_bytes(32, "big")


@given(numbers=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2))
def test_base62_sorts_as_the_numbers_do(numbers: list[int]) -> None:
    one, other = numbers
    assert (base62(one, 11) < base62(other, 11)) == (one < other)


@pytest.mark.parametrize("journal", [bytes(8), b"\xff" * 8, b"\0\0\0\0\0\0\0\1"])
def test_the_ends_of_the_range(journal: bytes) -> None:
    assert journal_of(call_id(journal, bytes(8))) == journal
    assert journal_of(call_id(bytes(8), journal)) == bytes(8)


GOOD = call_id(b"12345678", b"abcdefgh")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "call_",
            GOOD[:-1],
            GOOD + "0",
            GOOD.upper(),
            "att_" + GOOD[5:],
            GOOD[:-1] + "-",
            " " + GOOD[1:],
        ),
        *("call_" + "z" * 22, "call_" + "z" * 11 + "0" * 11, "call_" + "0" * 11 + "z" * 11),
        *("call_" + "٣" * 22, GOOD[5:] + "call_", "call_call_" + GOOD[10:-5] + "\0"),
    ],
)
def test_anything_else_is_no_call(text: str) -> None:
    assert journal_of(text) is None


@given(text=st.text(max_size=40))
def test_no_text_crashes_the_reader(text: str) -> None:
    for candidate in (text, "call_" + text):
        journal = journal_of(candidate)
        assert journal is None or candidate.startswith("call_" + base62(int.from_bytes(journal, "big"), 11))
