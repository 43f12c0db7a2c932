"""What simulated models say: one o200k_base token a word, whatever the length, and the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.formats
from gateway.formats.tokens import TiktokenCounter, build_encoding
from gateway.simulators.tokens import pieces
from gateway.simulators.words import REFUSAL, SENTENCES, THOUGHTS, TOPICS, answer_words, thought_words


@pytest.fixture(scope="module", params=["o200k_base", "cl100k_base"])
def counter(request: pytest.FixtureRequest) -> TiktokenCounter:
    table = Path(gateway.formats.__file__).with_name("tables") / f"{request.param}.tiktoken.gz"
    return TiktokenCounter(build_encoding(request.param, table.read_bytes()))


def test_every_word_is_one_token(counter: TiktokenCounter) -> None:
    frames = (*SENTENCES, *THOUGHTS, REFUSAL)
    said = {
        piece for topic in TOPICS for frame in frames for piece in pieces(" " + frame.format(topic=topic))
    }
    assert {piece for piece in said if counter.count(piece) != 1} == set()


@pytest.mark.parametrize("words", [1, 2, 7, 40, 333, None])
@pytest.mark.parametrize("prompt", ["", "Tell me about the ocean", "Olá, что такое 海?"])
def test_an_answer_has_as_many_tokens_as_words(
    counter: TiktokenCounter, prompt: str, words: int | None
) -> None:
    said = answer_words(prompt, 0, words)
    assert counter.count("".join(said)) == len(said)
    assert words is None or len(said) == words


@given(st.text(max_size=40), st.integers(0, 5))
def test_an_unbounded_answer_is_whole_sentences(prompt: str, seed: int) -> None:
    said = answer_words(prompt, seed, None)
    assert 30 <= len(said) <= 60
    assert said[-1] == "."
    assert said == answer_words(prompt, seed, None)


def test_an_answer_speaks_of_what_it_was_asked() -> None:
    answers = ["".join(answer_words("About the ocean", seed, 200)) for seed in range(3)]
    assert all(" ocean" in answer for answer in answers)
    assert len(set(answers)) == 3


def test_thoughts_are_as_long_as_asked() -> None:
    assert "".join(thought_words("About the moon", 11)) == "The user wants a clear answer about moon. Let me"
