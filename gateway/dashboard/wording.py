"""How figures and instants are said on a page: short to read, exact in the tooltip."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["amount", "moment", "money", "number"]

CENT: Final = Decimal("0.01")
FINE: Final = Decimal("0.0001")
SIGNS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}


def number(value: int | str | None) -> str:
    """A count, with its thousands apart."""
    return "" if value is None else f"{int(value):,}"


def money(value: str | Decimal | None, currency: str = "USD") -> str:
    """An amount: cents from one unit up, a hundredth of a cent below; never 0 for what is not."""
    if value is None:
        return ""
    exact = Decimal(value)
    size = abs(exact)
    rounded = size.quantize(CENT if size >= 1 else FINE, ROUND_HALF_UP)
    sign = SIGNS.get(currency, f"{currency} ")
    if size > 0 and rounded == 0:
        text = f"< {sign}{FINE}"
    elif size >= 1:
        text = f"{sign}{rounded:,}"
    else:
        text = f"{sign}{rounded.quantize(CENT) if rounded == rounded.quantize(CENT) else rounded}"
    return f"-{text}" if exact < 0 else text


def amount(value: str | None, unit: str) -> str:
    """A budget's figure in its unit."""
    if value is None:
        return ""
    return money(value) if unit == "usd" else number(value)


def moment(text: str | None, timezone: str = "UTC") -> str:
    """An instant of the API as a clock in the zone shows it, to the minute."""
    if text is None:
        return ""
    return datetime.fromisoformat(text).astimezone(ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M")
