"""A growing text is counted piece by piece as it would be in one."""

from __future__ import annotations

import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.formats.tally import Tally, last_seam
from gateway.formats.tokens import TiktokenCounter
from tests.formats.playing import CharCounter

Counters = dict[str, TiktokenCounter]
WORDS = st.sampled_from(
    [
        "the",
        " The",
        "'ll",
        "  ",
        "\n",
        "\n\n",
        " \n",
        ".",
        " ...",
        "3",
        "14159",
        "é",
        "港",
        "😀",
        "/",
        "_",
        "\t",
        "x ",
    ]
)
PIECES = st.lists(st.lists(WORDS, min_size=1, max_size=6).map("".join), max_size=12)


@settings(deadline=None)
@given(
    pieces=PIECES,
    budgets=st.lists(st.integers(1, 25), min_size=1),
    encoding=st.sampled_from(["o200k_base", "cl100k_base"]),
)
def test_any_pieces_and_budgets_give_the_count_of_the_whole(
    counters: Counters,
    encodings: dict[str, tiktoken.Encoding],
    pieces: list[str],
    budgets: list[int],
    encoding: str,
) -> None:
    tally, at = Tally(), 0
    for piece in pieces:
        tally.add(piece)
        tally.count(counters[encoding], budgets[at % len(budgets)])
        at += 1
    while tally.count(counters[encoding], budgets[at % len(budgets)]):
        at += 1
    assert tally.tokens == len(encodings[encoding].encode_ordinary("".join(pieces)))
    assert tally.uncounted_bytes == 0


@given(pieces=PIECES, budget=st.integers(1, 25))
def test_no_more_is_counted_than_was_allowed(pieces: list[str], budget: int) -> None:
    tally = Tally()
    for piece in pieces:
        tally.add(piece)
    left = sum(len(piece) for piece in pieces)
    assert tally.uncounted_bytes == sum(len(piece.encode()) for piece in pieces)
    while left:
        counted = tally.count(CharCounter(), budget)
        assert counted == min(budget, left)
        left -= counted
    assert tally.count(CharCounter(), budget) == 0
    assert tally.tokens == sum(len(piece) for piece in pieces)


def test_nothing_is_counted_without_a_budget() -> None:
    tally = Tally()
    tally.add("text")
    assert tally.count(CharCounter(), 0) == 0
    assert tally.uncounted_bytes == 4


class Longest(CharCounter):
    """Remembers the longest text it was given."""

    longest = 0

    def count(self, text: str) -> int:
        self.longest = max(self.longest, len(text))
        return super().count(text)


def test_what_is_counted_anew_each_time_has_a_bound() -> None:
    """A text without spaces stays open for more of its last word, but not for ever."""
    tally, counter = Tally(), Longest()
    for _ in range(200):
        tally.add("港の灯台" * 10)
        tally.count(counter, 10_000)
    assert tally.tokens == 8_000
    assert counter.longest <= 1024 + 40


def test_a_cut_without_a_seam_costs_at_most_a_token(counters: Counters) -> None:
    tally = Tally()
    for _ in range(100):
        tally.add("港の灯台" * 10)
        tally.count(counters["o200k_base"], 10_000)
    whole = counters["o200k_base"].count("港の灯台" * 1000)
    assert whole - 8 <= tally.tokens <= whole + 8


def test_seams_are_spaces_after_something_that_is_none() -> None:
    assert last_seam("one two") == 3
    assert last_seam("one two ") == 7
    assert last_seam("one two   ") == 7
    assert last_seam("one\n two") == 0
    assert last_seam("a one\n\n  two") == 1
    assert last_seam(" " * 50_000) == 0
    assert last_seam("") == 0
    # One that is far off is not worth the search.
    assert last_seam("one two" + "\n x" * 5) == 3
    assert last_seam("one two" + "\n x" * 50) == 0
