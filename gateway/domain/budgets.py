"""Budgets: a cap on a scope for a period, and what one call needs of it.

A spend cap, a token quota, a trial grant, a rate limit and a limit on calls in flight are the same
thing with another `unit` and `period`, and are enforced by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.domain.errors import BadRequest
from gateway.domain.money import format_usd, parse_usd

__all__ = [
    "CAP_MAX",
    "ENFORCEMENTS",
    "UNITS",
    "Budget",
    "Need",
    "Unit",
    "amount",
    "cap_from_text",
    "cap_to_text",
    "need",
]

Unit = Literal["usd", "tokens", "requests", "concurrent"]
UNITS: Final[tuple[str, ...]] = ("usd", "tokens", "requests", "concurrent")
ENFORCEMENTS: Final[tuple[str, ...]] = ("hard", "soft")
# A billion USD. Sums of a few caps stay far inside the signed 64 bits of a column.
CAP_MAX: Final = 10**18


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


@dataclass(frozen=True, slots=True)
class Need:
    """What one call must hold of one budget: `amount` in the budget's unit, in the window of `subject`."""

    budget: Budget
    subject: str
    amount: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a unit counts. `need` and `amount` take (nano-USD, tokens)."""

    need: Callable[[int, int], int]
    amount: Callable[[int, int], int]
    parse: Callable[[str, str], int]
    format: Callable[[int], str]


def _integer(text: str, param: str) -> int:
    if not isinstance(text, str) or _INTEGER.fullmatch(text) is None:
        shown = text[:40] if isinstance(text, str) else text
        hint = 'Give a whole number in a string, such as "100000".'
        raise BadRequest("invalid_value", f"{shown!r} is no whole number.", hint=hint, param=param)
    return int(text)


# No longer than CAP_MAX needs, so that nobody makes us read a number of a million digits.
_INTEGER: Final = re.compile(r"[0-9]{1,19}", re.ASCII)

_RULES: Final[Mapping[str, _Rule]] = {
    "usd": _Rule(
        need=lambda cost_nano, tokens: cost_nano,
        amount=lambda cost_nano, tokens: cost_nano,
        parse=lambda text, param: parse_usd(text, param=param),
        format=format_usd,
    ),
    "tokens": _Rule(
        need=lambda cost_nano, tokens: tokens,
        amount=lambda cost_nano, tokens: tokens,
        parse=_integer,
        format=str,
    ),
    "requests": _Rule(
        need=lambda cost_nano, tokens: 1,
        amount=lambda cost_nano, tokens: 1,
        parse=_integer,
        format=str,
    ),
    "concurrent": _Rule(
        need=lambda cost_nano, tokens: 1,
        amount=lambda cost_nano, tokens: 0,
        parse=_integer,
        format=str,
    ),
}


def need(unit: Unit, cost_nano: int, tokens: int) -> int:
    """What a call holds at admission, given the cost and tokens of its quote (input and output together)."""
    return _RULES[unit].need(cost_nano, tokens)


def amount(unit: Unit, cost_nano: int, tokens: int, is_void: bool = False) -> int:
    """What a call has spent once it is closed, given its charge and tokens (input and output together).

    A void call (refused by the provider, or never sent) spends nothing, not even its request.
    """
    return 0 if is_void else _RULES[unit].amount(cost_nano, tokens)


def cap_from_text(unit: Unit, text: str, *, param: str = "cap") -> int:
    """An amount in the unit: USD as a decimal string, everything else as a whole number in a string."""
    value = _RULES[unit].parse(text, param)
    if value > CAP_MAX:
        hint = f"Give at most {cap_to_text(unit, CAP_MAX)}."
        raise BadRequest("invalid_value", f"{text} is too large.", hint=hint, param=param)
    return value


def cap_to_text(unit: Unit, value: int) -> str:
    """An amount in the unit as `cap_from_text` reads it; negative ones (headroom after an overrun) too."""
    return _RULES[unit].format(value)
