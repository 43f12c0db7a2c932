"""How hard a Claude model thinks: OpenAI's `reasoning_effort` in its words.

Up to 4.5 a model is given a budget of tokens to think with ("Extended thinking"); later ones are told an
effort and choose by themselves ("Adaptive thinking").
"""

from __future__ import annotations

import re
from typing import Any, Final

from gateway.formats.translation.chat_asks import Ask
from gateway.formats.translation.refusing import unsupported

__all__ = ["thinking_of"]

_OTHER: Final = "Anthropic"
# Models whose thinking is bounded by a budget: all up to 4.5.
_BUDGETED: Final = re.compile(r"claude-(?:\d|(?:opus|sonnet|haiku)-4(?:[-.][0-5])?(?:[-@]\d{8}|-latest|$))")
_BUDGETS: Final = {
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 31_999,
    "max": 31_999,
}
_LEAST: Final = 1_024


def thinking_of(ask: Ask, model: str) -> tuple[dict[str, Any] | None, str | None]:
    """The request's `thinking` and the effort of its `output_config`; neither where none was asked for."""
    effort = ask.reasoning_effort
    if effort is None:
        return None, None
    if effort == "none":
        return {"type": "disabled"}, None
    if effort not in _BUDGETS:
        unsupported("reasoning_effort", _OTHER, f"One of none, {', '.join(_BUDGETS)}.")
    _check(ask)
    if not _BUDGETED.match(model):
        return {"type": "adaptive"}, "low" if effort == "minimal" else effort
    if _has_lost_its_thoughts(ask):
        return None, None
    return {"type": "enabled", "budget_tokens": _budget(ask.cap, _BUDGETS[effort])}, None


def _check(ask: Ask) -> None:
    """Claude does not think at another temperature than 1, and not where a tool has to be called."""
    if ask.temperature not in (None, 1):
        unsupported("temperature", _OTHER, "Leave it out where `reasoning_effort` is asked for.")
    if ask.tools and (ask.named_tool is not None or ask.tool_choice == "required"):
        unsupported("tool_choice", _OTHER, "Claude cannot be made to call a tool while it thinks.")


def _budget(cap: int | None, wanted: int) -> int:
    """What the cap has room for; half of it is left for the answer."""
    if cap is None:
        return wanted
    if cap <= _LEAST:
        unsupported(
            "reasoning_effort", _OTHER, f"Claude thinks with {_LEAST} tokens at least: ask for a larger cap."
        )
    return max(_LEAST, min(wanted, cap // 2))


def _has_lost_its_thoughts(ask: Ask) -> bool:
    """Whether tools were called in this turn and the client did not send back what the model thought before.

    With a budget, a turn that goes on after its tools has to begin with the signed thoughts; without them
    Anthropic answers as if no thinking had been asked for, or refuses. It is asked for none.
    """
    for message in reversed(ask.messages):
        if message.role == "user":
            return False
        if message.role == "assistant" and message.tool_calls:
            return not message.thinking_blocks
    return False
