"""Money: integer nano-USD for amounts, integer pico-USD per unit for prices, and the one rounding point.

A price of one micro-USD per million tokens is one pico-USD per token, so "usd_per_million" strings and
pico-USD per unit differ by the factor 1,000,000 alone: $0.0375 per million is 37,500.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.domain.errors import BadRequest

__all__ = [
    "NANO_PER_USD",
    "PICO_PER_USD",
    "format_price",
    "format_usd",
    "line_cost",
    "parse_price",
    "parse_usd",
    "price_pico",
]

NANO_PER_USD: Final = 1_000_000_000
PICO_PER_USD: Final = 1_000_000_000_000

# What a signed 64-bit column holds. A text longer than any such figure needs is refused before it is
# read, so that nobody can make us multiply numbers of a million digits.
_MOST: Final = 2**63 - 1
_LONGEST_TEXT: Final = 48
_DECIMAL = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,2}))?", re.ASCII)


class _Decimal(NamedTuple):
    """A decimal number without a point: `digits * 10**exponent`."""

    digits: int
    exponent: int


def parse_usd(text: str, *, param: str = "amount", negative: bool = False) -> int:
    """Nano-USD of a decimal string of USD, exactly.

    Refused with `invalid_value`: anything but a string (a float has already lost digits), NaN and
    infinities, digits below a nano-USD, amounts beyond 64 bits, and negative ones unless `negative`.
    """
    number = _read(text, param)
    if number.digits < 0 and not negative:
        raise _invalid(param, f"{text} is negative", "Give an amount of zero or more.")
    whole, parts = _fraction(number, 9)
    if whole % parts:
        raise _invalid(param, f"{text} has more than 9 decimals", "A nano-USD, 0.000000001, is the least.")
    return _bounded(whole // parts, text, param)


def format_usd(nano: int) -> str:
    """USD as a decimal string: no exponent, no more digits than it needs, exact."""
    return _format(nano, 9)


def parse_price(text: str, *, param: str = "usd_per_million") -> int:
    """Pico-USD per unit of a price given as USD per million units, rounded half-up where it must be."""
    return price_pico(text, 1_000_000, param=param)


def price_pico(text: str, per: int, *, param: str = "price") -> int:
    """Pico-USD per unit of a price given as USD per `per` units, rounded half-up.

    Callers keep the text beside the figure: few prices are no whole number of pico-USD, but some are.
    """
    number = _read(text, param)
    if number.digits < 0:
        raise _invalid(param, f"{text} is negative", "Give a price of zero or more.")
    pico, parts = _fraction(number, 12)
    parts *= per
    return _bounded((2 * pico + parts) // (2 * parts), text, param)


def format_price(pico: int) -> str:
    """USD per million units of a price in pico-USD per unit, exact."""
    return _format(pico, 6)


def line_cost(quantity: int, pico: int) -> int:
    """Nano-USD of `quantity` units at `pico` each, rounded half-up: the only place where money is rounded.

    Both are zero or more.
    """
    return (quantity * pico + 500) // 1000


def _read(text: str, param: str) -> _Decimal:
    hint = 'Give a decimal string such as "12.50".'
    if not isinstance(text, str):
        raise _invalid(param, f"{text!r} is not a decimal string", hint)
    match = _DECIMAL.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise _invalid(param, f"{text[:_LONGEST_TEXT]!r} is not a decimal number", hint)
    sign, whole, fraction, exponent = match.groups(default="")
    digits = int(whole + fraction)
    return _Decimal(-digits if sign == "-" else digits, int(exponent or 0) - len(fraction))


def _fraction(number: _Decimal, places: int) -> tuple[int, int]:
    """Numerator and denominator of the number times 10**places."""
    shift = number.exponent + places
    ten: int = 10 ** abs(shift)
    return (number.digits * ten, 1) if shift >= 0 else (number.digits, ten)


def _bounded(value: int, text: str, param: str) -> int:
    if abs(value) > _MOST:
        raise _invalid(param, f"{text} is too large", "Amounts reach about nine billion USD.")
    return value


def _format(value: int, places: int) -> str:
    whole, fraction = divmod(abs(value), 10**places)
    sign = "-" if value < 0 else ""
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:0{places}d}".rstrip("0")


def _invalid(param: str, message: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", message, hint=hint, param=param)
