"""Refusals as callers may read them: amounts as text; of budgets above their account, name and reset only."""

from __future__ import annotations

from typing import cast

from gateway.domain.amounts import format_amount
from gateway.domain.errors import GatewayError
from gateway.gate.directory import Caller

__all__ = ["for_caller"]

_AMOUNTS = ("cap", "spent", "held")
_ABOVE = {
    "budget_exceeded": "is spent",
    "budget_held": "is held by calls in flight",
    "rate_limit_exceeded": "is reached for now",
    "too_many_in_flight": "is reached by calls in flight",
}


def for_caller(error: GatewayError, caller: Caller) -> GatewayError:
    """The ledger's refusal, in words and figures that are this caller's business."""
    fields = error.fields
    budget = fields.get("budget_id")
    if budget is None:
        return error
    unit = str(fields["unit"])
    told = {"budget": fields["budget"], "unit": unit}
    message, hint = error.message, error.hint
    if caller.sees(str(budget)):
        told["budget_id"] = budget
        told |= {name: format_amount(cast(int, fields[name]), unit) for name in _AMOUNTS}
    else:
        message = f"{fields['budget']}, a budget above this key's account, {_ABOVE[error.code]}."
        hint = "Ask its owner, or try again after the reset."
    told["resets_at"] = fields["resets_at"]
    return type(error)(
        error.code, message, hint=hint, param=error.param, retry_after_s=error.retry_after_s, fields=told
    )
