"""Whether a budget makes sense as a whole: the first thing wrong is named, with how to put it right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.domain.budgets import CAP_MAX, ENFORCEMENTS, UNITS, Budget, cap_to_text
from gateway.domain.errors import BadRequest
from gateway.domain.names import check_tags, end_user_name, problem_with
from gateway.domain.patterns import check_patterns
from gateway.domain.periods import validate
from gateway.domain.scopes import check_each

__all__ = ["check_budget"]

COUNTS_FROM: Final = ("window", "now")
NAME_MAX_CHARACTERS: Final = 255
ALERTS_MAX: Final = 16
# Percentages past 100 tell how far an overrun or a soft budget went.
ALERT_MAX_PERCENT: Final = 1_000


def check_budget(budget: Budget) -> None:
    """Raise BadRequest, with `param`, for a budget that could not work as it is written."""
    _check_name(budget.name)
    _check_choice("unit", budget.unit, UNITS)
    _check_choice("enforcement", budget.enforcement, ENFORCEMENTS)
    _check_choice("count_from", budget.count_from, COUNTS_FROM)
    _check_cap(budget)
    validate(budget.period, budget.timezone, budget.anchor_day, budget.anchor_month)
    _check_scope(budget)
    _check_alerts(budget.alert_at)
    _check_fallback(budget)
    if budget.unit == "concurrent":
        _check_concurrent(budget)


def _check_name(name: str) -> None:
    problem = problem_with(name, NAME_MAX_CHARACTERS)
    if problem:
        hint = f"Give 1 to {NAME_MAX_CHARACTERS} characters that refusals and alerts can show."
        raise _invalid("name", f"The budget's name {problem}", hint)


def _check_choice(param: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise _invalid(
            param, f"{value[:40]!r} is no {param.replace('_', ' ')}", f"Use one of {', '.join(choices)}."
        )


def _check_cap(budget: Budget) -> None:
    if not 0 <= budget.cap <= CAP_MAX:
        hint = f"Give 0 (nothing is allowed) to {cap_to_text(budget.unit, CAP_MAX)}."
        raise _invalid("cap", f"A cap of {cap_to_text(budget.unit, budget.cap)} is out of range", hint)


def _check_scope(budget: Budget) -> None:
    check_patterns(budget.models, param="models")
    check_tags(budget.tags)
    check_each(budget.each)
    if budget.end_user is not None and end_user_name(budget.end_user, param="end_user") != budget.end_user:
        raise _invalid(
            "end_user", "The end user's name has spaces around it", "No call's name has; leave them out."
        )


def _check_alerts(alert_at: Sequence[int]) -> None:
    for percent in alert_at:
        if not 1 <= percent <= ALERT_MAX_PERCENT:
            hint = f"Give whole percentages of the cap, 1 to {ALERT_MAX_PERCENT}."
            raise _invalid("alert_at", f"{percent} is no alert threshold", hint)
    if len(set(alert_at)) != len(alert_at) or len(alert_at) > ALERTS_MAX:
        hint = f"Give each threshold once, at most {ALERTS_MAX} of them."
        raise _invalid("alert_at", f"{list(alert_at[:ALERTS_MAX])} repeats a threshold or has too many", hint)


def _check_fallback(budget: Budget) -> None:
    if budget.fallback is None:
        return
    if not budget.is_hard:
        hint = 'Make the budget "hard", or leave on_exhausted out.'
        raise _invalid("on_exhausted", "A soft budget is never exhausted", hint)
    if any(special in budget.fallback for special in "*?[ ") or not budget.fallback.isprintable():
        hint = "Name one model, such as 'gpt-4.1-mini' or 'openai/gpt-4.1-mini'."
        raise _invalid("on_exhausted", f"{budget.fallback[:40]!r} is no model to fall back to", hint)
    check_patterns((budget.fallback,), param="on_exhausted")


def _check_concurrent(budget: Budget) -> None:
    """Calls in flight are held and never spent, so nothing that goes by time or by spending applies."""
    if budget.period != "lifetime":
        hint = 'Use "lifetime": calls in flight are counted now, not over a time.'
        raise _invalid("period", f"A limit on calls in flight has no {budget.period}", hint)
    if not budget.is_hard:
        raise _invalid("enforcement", "A soft limit on calls in flight limits nothing", 'Use "hard".')
    if budget.alert_at:
        hint = "Leave alert_at empty; budget.exceeded is sent at the first refusal."
        raise _invalid("alert_at", "A limit on calls in flight is never spent", hint)


def _invalid(param: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{problem}.", hint=hint, param=param)
