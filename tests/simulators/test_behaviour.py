"""How a call is told what to do: directives, knobs, and what is not understood."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.simulators.behaviour import (
    Behaviour,
    BehaviourError,
    Fault,
    UsageReport,
    directives_in,
    split_knobs,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no directive", {}),
        ("[[sim: words=40 pace_ms=2.5]] and [[sim: words=3]]", {"words": "3", "pace_ms": "2.5"}),
        ("[[sim: refusal gzip=0]]", {"refusal": "1", "gzip": "0"}),
        ('[[sim: say="two words" hold=x]]', {"say": "two words", "hold": "x"}),
        ("[[sim:\n words=1\n seed=2\n]]", {"words": "1", "seed": "2"}),
    ],
)
def test_directives_are_found_in_a_text(text: str, found: dict[str, str]) -> None:
    assert directives_in(text) == found


@pytest.mark.parametrize(
    ("model", "base", "values"),
    [
        ("gpt-4o-mini", "gpt-4o-mini", {}),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06", {}),
        ("mock-n100-i5000-t", "mock", {"words": 100, "pace_ms": 5.0, "stamp": True}),
        ("gpt-4o-d20-e429", "gpt-4o", {"delay_ms": 20, "status": 429}),
        ("mock-n10-x", "mock", {"words": 10, "fault": Fault.CUT_MIDSTREAM, "after": 5}),
        ("gemini-2.5-flash-n7", "gemini-2.5-flash", {"words": 7}),
    ],
)
def test_knobs_end_a_model_name(model: str, base: str, values: dict[str, Any]) -> None:
    assert split_knobs(model) == (base, values)


def test_values_may_be_text() -> None:
    chosen = Behaviour().with_values(
        {"words": "3", "pace_ms": "0.5", "refusal": "true", "fault": "stall", "usage": "none", "hold": None}
    )
    assert (chosen.words, chosen.pace_ms, chosen.refusal) == (3, 0.5, True)
    assert (chosen.fault, chosen.usage, chosen.hold) == (Fault.STALL, UsageReport.NONE, None)


@pytest.mark.parametrize("values", [{"wrods": 1}, {"words": "many"}, {"fault": "fire"}, {"usage": "some"}])
def test_what_is_not_understood_is_an_error(values: dict[str, Any]) -> None:
    with pytest.raises(BehaviourError):
        Behaviour().with_values(values)


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(BehaviourError):
        directives_in('[[sim: say="open]]')
