"""Exchange: amounts of USD in another currency, at a dated rate, in integers.

A rate says how many units of a currency one USD is, in billionths, so that an amount of nano-USD times the
rate, divided by 10**9, is an amount of billionths of that currency.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final, NamedTuple

from gateway.domain.errors import BadRequest
from gateway.domain.money import format_usd, parse_usd

__all__ = ["USD", "Rate", "check_currency", "converted", "format_rate", "parse_day", "parse_rate"]

USD: Final = "USD"
"""The currency of prices, budgets and the ledger."""

_ONE: Final = 10**9
_CODE: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Rate(NamedTuple):
    """What one USD is in `currency` from the day `day` (ISO 8601) on, in billionths of its unit."""

    currency: str
    day: str
    rate_nano: int
    source: str


def converted(nano: int, rate_nano: int) -> int:
    """Billionths of the other currency for nano-USD, rounded half away from zero, once.

    A deduction is as large as the addition it takes back, which rounding half-up would not give.
    """
    amount = (2 * abs(nano) * rate_nano + _ONE) // (2 * _ONE)
    return -amount if nano < 0 else amount


def check_currency(code: str, *, param: str = "currency") -> None:
    """Raise BadRequest for a text that is no currency code of ISO 4217's form."""
    if not _CODE.fullmatch(code):
        raise _invalid(param, f"{code[:16]!r} is no currency", "Give a code of ISO 4217, such as EUR.")


def parse_day(text: str, *, param: str = "date") -> str:
    """A day as ISO 8601 has it; BadRequest for one that does not exist."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise _invalid(param, f"{text[:40]!r} is no date", "Give a date such as 2026-11-01.")


def parse_rate(text: str, *, param: str = "rate") -> int:
    """The rate of a decimal string, in billionths; BadRequest for zero, less, or more than nine decimals."""
    rate_nano = parse_usd(text, param=param)
    if rate_nano == 0:
        raise _invalid(param, "A rate of 0 makes everything free", "Give the units that one USD buys.")
    return rate_nano


def format_rate(rate_nano: int) -> str:
    """The rate as a decimal string, exactly."""
    return format_usd(rate_nano)


def _invalid(param: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{problem}.", hint=hint, param=param)
