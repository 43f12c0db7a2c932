"""The simulator's own tokens: never more of them than o200k_base finds, and in plain English as many."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.formats
from gateway.formats.tokens import TiktokenCounter, build_encoding
from gateway.simulators.tokens import count, count_json, pieces

PLAIN = "The quick brown fox jumps over the lazy dog; it's 1234 steps, isn't it?\n\nYes. (Almost.)"


@pytest.fixture(scope="module")
def counter() -> TiktokenCounter:
    table = Path(gateway.formats.__file__).with_name("tables") / "o200k_base.tiktoken.gz"
    return TiktokenCounter(build_encoding("o200k_base", table.read_bytes()))


@given(st.text())
def test_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert count(text) == len(pieces(text))


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_has_at_most_the_tokens_that_tiktoken_finds(counter: TiktokenCounter, text: str) -> None:
    assert count(text) <= counter.count(text)


def test_plain_english_has_exactly_those(counter: TiktokenCounter) -> None:
    assert count(PLAIN) == counter.count(PLAIN) == 24


def test_json_is_counted_without_blanks() -> None:
    assert count_json({"city": "Paris"}) == count('{"city":"Paris"}')
