"""Refusals: whose figures a caller may read."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.errors import BudgetExceeded, BudgetHeld, GatewayError, RateLimited, Unavailable
from gateway.gate.refusals import for_caller
from tests.gate.making import account, budget, caller

KINDS: dict[str, type[GatewayError]] = {
    "budget_exceeded": BudgetExceeded,
    "budget_held": BudgetHeld,
    "rate_limit_exceeded": RateLimited,
    "too_many_in_flight": RateLimited,
}


def refusal(code: str = "budget_exceeded", **fields: Any) -> GatewayError:
    """As the ledger raises it: amounts in the budget's unit."""
    told = {
        "budget": "ours",
        "budget_id": "bud_1",
        "account": "acct_team",
        "unit": "usd",
        "cap": 5_000_000_000,
        "spent": 4_999_000_000,
        "held": 1_000,
        "resets_at": "2026-12-01T00:00:00Z",
        **fields,
    }
    return KINDS[code](code, "Budget ours is spent: cap 5.", hint="Wait.", retry_after_s=3, fields=told)


def test_amounts_are_told_as_text_in_the_budgets_unit() -> None:
    told = for_caller(refusal(), caller(budget(1))).fields
    assert told == {
        "budget": "ours",
        "unit": "usd",
        "budget_id": "bud_1",
        "cap": "5",
        "spent": "4.999",
        "held": "0.000001",
        "resets_at": "2026-12-01T00:00:00Z",
    }
    tokens = for_caller(refusal(unit="tokens", cap=10, spent=9, held=1), caller(budget(1))).fields
    assert (tokens["cap"], tokens["spent"], tokens["held"]) == ("10", "9", "1")


@pytest.mark.parametrize("code", KINDS)
def test_a_budget_above_tells_its_name_and_reset_alone(code: str) -> None:
    chain = [account(), account("acct_top")]
    above = caller(budget(1, account="acct_top"), accounts=chain)
    told = for_caller(refusal(code, account="acct_top"), above)
    assert set(told.fields) == {"budget", "unit", "resets_at"}
    assert "cap" not in told.message
    assert "above" in told.message
    assert (told.code, told.retry_after_s) == (code, 3)


def test_a_budget_of_the_key_itself_is_its_business_wherever_it_stands() -> None:
    own = caller(budget(1, account=None, key="key_1"))
    assert for_caller(refusal(account=None), own).fields["cap"] == "5"
    everybodys = caller(budget(1, account=None))
    assert "cap" not in for_caller(refusal(account=None), everybodys).fields


def test_other_refusals_are_told_as_they_are() -> None:
    error = Unavailable("draining", "Stopping.")
    assert for_caller(error, caller()) is error
