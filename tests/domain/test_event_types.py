"""Patterns of events."""

from __future__ import annotations

import pytest

from gateway.domain.errors import BadRequest
from gateway.domain.event_types import EVENT_TYPES, TEST_EVENT, check_event_patterns, matches_event


def test_a_pattern_covers_events() -> None:
    assert matches_event(["budget.*"], "budget.exceeded")
    assert matches_event(["key.revoked", "*"], "price.missing")
    assert not matches_event(["budget.*", "key.revoked"], "key.created")
    check_event_patterns(["*"])
    check_event_patterns(list(EVENT_TYPES))


@pytest.mark.parametrize("patterns", [[], ["budget.*", "bugdet.*"], [TEST_EVENT], ["*"] * 51])
def test_a_pattern_that_covers_nothing_is_a_mistake(patterns: list[str]) -> None:
    with pytest.raises(BadRequest) as refused:
        check_event_patterns(patterns)
    assert refused.value.param == "events"
