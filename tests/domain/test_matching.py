"""Match expressions as data."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.matching import compile_match


@pytest.mark.parametrize(
    ("clause", "yes", "no"),
    [
        ({"equals": "GPT-4.1"}, ["gpt-4.1"], ["gpt-4.1-mini", ""]),
        ({"starts_with": "Claude-"}, ["claude-", "claude-3"], ["xclaude-3", "claude"]),
        ({"ends_with": "-Latest"}, ["x-latest"], ["x-latest-1"]),
        ({"contains": "SONNET"}, ["claude-sonnet-4"], ["claude-opus"]),
        ({"regex": r"^o[134]\b"}, ["o3", "o1-mini"], ["o5", "xo3"]),
        ({"or": [{"equals": "a"}, {"equals": "b"}]}, ["a", "b"], ["c"]),
        ({"and": [{"starts_with": "a"}, {"ends_with": "z"}]}, ["az", "a-z"], ["a", "z"]),
        ({"or": []}, [], ["a"]),
        ({"and": []}, ["a"], []),
    ],
)
def test_a_clause_accepts_what_it_says(clause: dict[str, Any], yes: list[str], no: list[str]) -> None:
    accepts = compile_match(clause)
    assert [name for name in (*yes, *no) if accepts(name) is True] == yes


@pytest.mark.parametrize(
    "clause",
    [
        {},
        {"equals": 1},
        {"sounds_like": "a"},
        {"equals": "a", "contains": "b"},
        {"or": "a"},
        {"or": [{"nor": []}]},
        {"regex": "("},
    ],
)
def test_anything_else_is_refused(clause: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no "):
        compile_match(clause)
