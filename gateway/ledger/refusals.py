"""What a call is told when it is not admitted: which budget, its figures, and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.domain.budgets import cap_to_text
from gateway.domain.errors import BudgetExceeded, BudgetHeld, GatewayError, RateLimited, Unavailable
from gateway.domain.instants import rfc3339
from gateway.ledger.book import FOREVER_US, WindowState

__all__ = ["away", "exceeded", "held", "is_final", "journal_full", "stopping"]

US_PER_S: Final = 1_000_000
_UNITS: Final = {"usd": "USD", "tokens": "tokens", "requests": "requests", "concurrent": "calls in flight"}


def is_final(window: WindowState, need: int) -> bool:
    """Whether the cap cannot pay for this whatever happens to the calls in flight."""
    return window.spent + need > window.cap


def exceeded(window: WindowState, need: int, now_us: int) -> GatewayError:
    """The money (or the rate) of this window is spent."""
    if _is_limit(window):
        return _limited(window, need, now_us)
    return BudgetExceeded(
        "budget_exceeded",
        f"Budget {window.line.budget.name} is spent: {_figures(window, need)}.",
        hint=_reset_hint(window) + " or ask its owner for a higher cap; a smaller output cap needs less.",
        fields=_fields(window),
    )


def held(window: WindowState, need: int, now_us: int, unanswered: Sequence[str] = ()) -> GatewayError:
    """The window could pay once calls in flight have settled."""
    if _is_limit(window):
        return _limited(window, need, now_us)
    if not (window.held or window.others_held or unanswered):
        # Nothing is in flight: what SQL does not have yet is spent all the same.
        return exceeded(window, need, now_us)
    silent = f" Workers that do not answer have some of it: {', '.join(unanswered)}." if unanswered else ""
    return BudgetHeld(
        "budget_held",
        f"Budget {window.line.budget.name} is held by calls in flight: {_figures(window, need)}.{silent}",
        hint="Try again in a moment.",
        retry_after_s=1,
        fields=_fields(window),
    )


def away(reason: str) -> Unavailable:
    """Nothing can be leased, and what this worker has leased does not cover the call."""
    return Unavailable(
        "ledger_unavailable",
        "The database cannot be reached, and what this worker has leased does not cover the call.",
        hint=f"Try again; calls that the lease covers are served. The database says: {reason}"
        if reason
        else "Try again; calls that the lease covers are served.",
        retry_after_s=1,
    )


def journal_full(used_bytes: int, limit_bytes: int, failure: str) -> Unavailable:
    """Nothing can be written down, so nothing may be sent."""
    what = f"cannot be written ({failure})" if failure else f"is full ({used_bytes} of {limit_bytes} bytes)"
    return Unavailable(
        "ledger_unavailable",
        f"The journal {what}.",
        hint="Calls are refused rather than lost until what waits in it is posted.",
        retry_after_s=5,
    )


def stopping() -> Unavailable:
    """The worker stops and has not admitted this call."""
    return Unavailable("draining", "This worker is stopping.", hint="Try again.", retry_after_s=1)


def _is_limit(window: WindowState) -> bool:
    """Rates, and calls in flight, are limits: waiting always helps. Money by the hour is still money."""
    budget = window.line.budget
    return budget.unit == "concurrent" or (budget.is_rate and budget.unit != "usd")


def _limited(window: WindowState, need: int, now_us: int) -> RateLimited:
    if window.unit == "concurrent":
        return RateLimited(
            "too_many_in_flight",
            f"Limit {window.line.budget.name}: {_figures(window, need)}.",
            hint="Wait for one of the calls in flight to end.",
            retry_after_s=1,
            fields=_fields(window),
        )
    wait_s = max(1, -((now_us - window.ends_at_us) // US_PER_S)) if window.ends_at_us > now_us else 1
    return RateLimited(
        "rate_limit_exceeded",
        f"Limit {window.line.budget.name}: {_figures(window, need)}.",
        hint=_reset_hint(window) + ".",
        retry_after_s=wait_s if is_final(window, need) else 1,
        fields=_fields(window),
    )


def _figures(window: WindowState, need: int) -> str:
    unit = window.unit
    cap, spent, holds, asked = (
        cap_to_text(unit, each) for each in (window.cap, _spent(window), _held(window), need)
    )
    return f"cap {cap}, spent {spent}, held {holds}, this call needs {asked} {_UNITS[unit]}"


def _spent(window: WindowState) -> int:
    return window.spent + window.unposted


def _held(window: WindowState) -> int:
    return window.held + window.others_held


def _reset_hint(window: WindowState) -> str:
    return f"Wait until {rfc3339(window.ends_at_us)}" if window.ends_at_us < FOREVER_US else "Free some of it"


def _fields(window: WindowState) -> dict[str, str | int | None]:
    """Amounts in the budget's unit; by `account` an answer can hide what is not its caller's to know."""
    budget = window.line.budget
    return {
        "budget": budget.name,
        "budget_id": budget.id,
        "account": budget.account,
        "unit": budget.unit,
        "cap": window.cap,
        "spent": _spent(window),
        "held": _held(window),
        "resets_at": rfc3339(window.ends_at_us) if window.ends_at_us < FOREVER_US else None,
    }
