"""Amounts read back from rows, where the unit is text: shown as the budget's unit has it."""

from __future__ import annotations

from typing import cast

from gateway.domain.budgets import UNITS, Unit, cap_to_text

__all__ = ["format_amount"]


def format_amount(amount: int, unit: str) -> str:
    """USD as a decimal string, everything else as a whole number; a headroom after an overrun has a sign."""
    assert unit in UNITS, unit
    return cap_to_text(cast(Unit, unit), amount)
