"""Model patterns, held against a matcher that tries every way."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.patterns import check_patterns, matches_model

letters = st.text("ab/", max_size=6)
globs = st.text("ab/*?", min_size=1, max_size=7)


def covers(pattern: str, name: str) -> bool:
    """The meaning of a glob, spelt out."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(covers(pattern[1:], name[start:]) for start in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and covers(pattern[1:], name[1:])


@given(pattern=globs, provider=st.text("ab", min_size=1, max_size=3), model=letters)
@example(pattern="*", provider="a", model="")
def test_a_pattern_means_what_it_says(pattern: str, provider: str, model: str) -> None:
    name = f"{provider}/{model}" if "/" in pattern else model
    assert matches_model([pattern], provider, model) == covers(pattern, name)


@given(patterns=st.lists(globs, max_size=4), provider=st.just("a"), model=letters)
def test_any_one_of_the_patterns_is_enough(patterns: list[str], provider: str, model: str) -> None:
    one_by_one = any(matches_model([pattern], provider, model) for pattern in patterns)
    assert matches_model(patterns, provider, model) == one_by_one


@pytest.mark.parametrize(
    ("pattern", "provider", "model", "expected"),
    [
        ("gpt-4.1*", "openai", "gpt-4.1-mini", True),
        ("gpt-4.1*", "azure_openai", "gpt-4.1", True),
        ("gpt-4.1", "openai", "gpt-4.1-mini", False),
        ("gpt-4.1", "openai", "gpt-4x1", False),
        ("GPT-4.1", "openai", "gpt-4.1", False),
        ("openai/gpt-*", "openai", "gpt-4.1", True),
        ("openai/gpt-*", "azure_openai", "gpt-4.1", False),
        ("*/gpt-4.1", "azure_openai", "gpt-4.1", True),
        ("openai/*", "openai", "o3", True),
        ("*", "together", "meta-llama/Llama-3", True),
        # A name that has a slash of its own is written with its provider before it.
        ("meta-llama/*", "together", "meta-llama/Llama-3", False),
        ("together/meta-llama/*", "together", "meta-llama/Llama-3", True),
        ("claude-[so]*", "anthropic", "claude-sonnet-4.5", True),
        ("claude-[!so]*", "anthropic", "claude-sonnet-4.5", False),
        ("odd[", "any", "odd[", True),
        ("a.c", "any", "abc", False),
    ],
)
def test_known_patterns(pattern: str, provider: str, model: str, expected: bool) -> None:
    assert matches_model([pattern], provider, model) is expected


def test_a_hostile_pattern_is_matched_in_bounded_time() -> None:
    """A backtracking matcher would still be at this tomorrow."""
    assert not matches_model(["*a" * 100 + "b"], "any", "a" * 250)


@pytest.mark.parametrize("patterns", [["gpt-4.1*", "openai/*"], [], ["*"] * 100, ["x" * 255]])
def test_patterns_that_pass(patterns: list[str]) -> None:
    check_patterns(patterns, param="models")


@pytest.mark.parametrize(
    "patterns", [[""], ["gpt 4"], ["x" * 256], ["*"] * 101, ["gpt\n"], ["\ud800"], ["ok", "\0"]]
)
def test_patterns_that_are_refused(patterns: list[str]) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_patterns(patterns, param="models")
    assert refusal.value.param == "models"
    assert refusal.value.hint
    assert refusal.value.message.isprintable()
