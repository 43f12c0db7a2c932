"""Credit as a setting describes it."""

from __future__ import annotations

import pytest

from gateway.domain.credits import Credit, parse_credit
from gateway.domain.errors import BadRequest


def test_an_amount_and_a_unit() -> None:
    assert parse_credit("100000 tokens", param="x") == Credit("tokens", 100_000)
    assert parse_credit(" 5.00  USD ", param="x") == Credit("usd", 5_000_000_000)
    assert parse_credit("7 requests", param="x") == Credit("requests", 7)
    assert parse_credit("", param="x") is None
    assert parse_credit("  ", param="x") is None


@pytest.mark.parametrize(
    "text", ["100000", "tokens", "5 euros", "5 concurrent", "1.5 tokens", "-1 usd", "1 usd x"]
)
def test_what_is_no_credit_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse_credit(text, param="accounts.signup_grant")
    assert refusal.value.param == "accounts.signup_grant"
    assert refusal.value.hint
