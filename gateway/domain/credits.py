"""Credit as a setting describes it: what every new account is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.domain.budgets import Unit, cap_from_text
from gateway.domain.errors import BadRequest

__all__ = ["CREDIT_UNITS", "Credit", "parse_credit"]

CREDIT_UNITS: Final[tuple[Unit, ...]] = ("usd", "tokens", "requests")


@dataclass(frozen=True, slots=True)
class Credit:
    """An amount in a unit: nano-USD, tokens or requests."""

    unit: Unit
    amount: int


def parse_credit(text: str, *, param: str) -> Credit | None:
    """The credit of a text such as `100000 tokens` or `5.00 usd`; None for an empty one."""
    words = text.lower().split()
    if not words:
        return None
    unit = next((known for known in CREDIT_UNITS if words[1:] == [known]), None)
    if unit is None:
        raise BadRequest(
            "invalid_value",
            f"{text[:40]!r} is no credit.",
            hint="Write an amount and a unit: `100000 tokens`, `500 requests` or `5.00 usd`.",
            param=param,
        )
    return Credit(unit, cap_from_text(unit, words[0], param=param))
