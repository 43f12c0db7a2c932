"""What the tools of a Messages request add to its cost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.formats.anthropic_tools import TURNS_MAX, Tool, Tooling


def tooling(*tools: dict[str, Any], has_servers: bool = False) -> Tooling:
    return Tooling(msgspec.convert(list(tools), list[Tool]), has_servers)


def test_without_tools_nothing_is_added() -> None:
    none = tooling()
    assert (none.turns, none.hidden_tokens, none.searches, none.unseen) == (1, 0, 0, False)


@pytest.mark.parametrize(
    "kind", [None, "custom", "bash_20250124", "text_editor_20250728", "computer_20251124"]
)
def test_tools_that_the_caller_runs_add_their_description(kind: str | None) -> None:
    tool = tooling({"type": kind})
    assert tool.hidden_tokens > 1_024
    assert (tool.turns, tool.unseen) == (1, False)


@pytest.mark.parametrize(
    ("tools", "turns"),
    [
        ([{"type": "web_search_20250305", "max_uses": 3}], 4),
        ([{"type": "web_search_20250305", "max_uses": 3}, {"type": "web_fetch_20250910", "max_uses": 2}], 6),
        ([{"type": "web_search_20250305", "max_uses": 50}], TURNS_MAX),
        ([{"type": "code_execution_20250825"}], TURNS_MAX),
        ([{"type": "web_search_20250305", "max_uses": 0}], 1),
    ],
)
def test_tools_that_anthropic_runs_take_turns(tools: list[dict[str, Any]], turns: int) -> None:
    assert tooling(*tools).turns == turns
    assert tooling(*tools).unseen


def test_servers_take_as_many_as_there_are() -> None:
    assert (tooling(has_servers=True).turns, tooling(has_servers=True).unseen) == (TURNS_MAX, True)


def test_a_search_among_the_requests_own_tools_brings_nothing_new() -> None:
    assert not tooling({"type": "tool_search_tool_bm25_20251119"}).unseen


def test_searches_are_bounded_by_their_uses_or_by_what_was_seen() -> None:
    assert tooling({"type": "web_search_20250305", "max_uses": 7}).searches == 7
    assert tooling({"type": "web_search_20250305"}).searches == 30


def test_an_advisor_tells_the_model_something() -> None:
    bounded = tooling({"type": "advisor_20260301", "model": "m", "max_tokens": 100})
    assert bounded.told_tokens > 100
    assert not bounded.unseen
    assert tooling({"type": "advisor_20260301", "model": "m"}).unseen
    assert tooling({"type": "advisor_20260301", "model": "m", "caching": {"ttl": "1h"}}).has_long_cache
