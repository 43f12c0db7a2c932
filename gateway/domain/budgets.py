"""Budgets: a cap on a scope for a period, and what one call needs of it.

A spend cap, a token quota, a trial grant, a rate limit and a limit on calls in flight are the same
thing with another `unit` and `period`, and are enforced by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["ENFORCEMENTS", "UNITS", "Budget", "Unit"]

Unit = Literal["usd", "tokens", "requests", "concurrent"]
UNITS: Final[tuple[str, ...]] = ("usd", "tokens", "requests", "concurrent")
ENFORCEMENTS: Final[tuple[str, ...]] = ("hard", "soft")


@dataclass(frozen=True, slots=True)
class Budget:
    """One rule. Amounts are integers in the unit: nano-USD, tokens, requests, calls.

    The scope fields narrow what the budget applies to; all that are set must match (`scopes.applies`).
    `account` covers the account and everything below it; `models` are glob patterns on the catalogue
    name, which is `provider/model` or the bare model. `each` gives every end user, key or tag value a
    window of its own.
    """

    id: str
    name: str
    unit: Unit
    cap: int
    period: str
    timezone: str = "UTC"
    anchor_day: int = 1
    anchor_month: int = 1
    enforcement: str = "hard"
    account: str | None = None
    key: str | None = None
    models: tuple[str, ...] = ()
    provider: str | None = None
    end_user: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    each: str | None = None
    alert_at: tuple[int, ...] = ()
    fallback: str | None = None
    created_at_us: int = 0
    count_from: str = "window"

    @property
    def is_hard(self) -> bool:
        """Hard budgets refuse; soft ones only count and alert."""
        return self.enforcement == "hard"

    @property
    def is_rate(self) -> bool:
        """Limits by the minute or hour never clamp an output cap; they hold little and settle after."""
        return self.period in ("minute", "hour")
