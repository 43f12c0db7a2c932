"""Costing: usage times rates, one line per meter, and the charge that is their sum."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.domain.prices import RateCard, Rates
from gateway.domain.usage import Usage, input_total

__all__ = ["NEGATIVE", "UNPRICED", "Charge", "Line", "cost"]

# Flags of a charge, each followed by the meter: consumed but priced by nobody; reported as less than none.
UNPRICED: Final = "unpriced:"
NEGATIVE: Final = "negative:"


class Line(NamedTuple):
    """What one meter costs: the units, the price row paid, and amounts in nano-USD.

    `list_nano` is the same at list price; it differs where the account has prices of its own.
    """

    meter: str
    quantity: int
    price_id: str
    price_pico: int
    cost_nano: int
    list_nano: int


class Charge(NamedTuple):
    """A call's cost: lines, their sums in nano-USD, and what was odd (`UNPRICED` + meter, ...)."""

    lines: tuple[Line, ...]
    total_nano: int
    list_nano: int
    flags: tuple[str, ...]


def cost(usage: Usage, card: RateCard, at_us: int, service_tier: str | None = "") -> Charge:
    """What `usage` costs at the rates of the call's own time and served tier.

    A call is one request by definition: where requests are priced and the usage does not count them, one
    is charged, unless nothing was consumed at all.
    """
    entered = input_total(usage) if card.thresholds else 0
    rates = card.rates(at_us, service_tier, entered)
    contracted = card.list_card is not card
    listed = card.list_card.rates(at_us, service_tier, input_total(usage)) if contracted else rates
    if rates.per_request and usage and "requests" not in usage:
        usage = {**usage, "requests": 1}
    rows = rates.rows
    flags = rates.flags
    lines = []
    total = list_total = 0
    for meter, quantity in usage.items():
        row = rows.get(meter)
        if row is None or quantity < 1:
            flags += _oddities(meter, quantity)
            continue
        # `money.line_cost`, written out: a call in Python costs more than the sum does.
        nano = at_list = (quantity * row.price_pico + 500) // 1000
        if contracted:
            at_list = _list_cost(meter, quantity, listed)
        total += nano
        list_total += at_list
        lines.append(Line(meter, quantity, row.id, row.price_pico, nano, at_list))
    return Charge(tuple(lines), total, list_total, flags)


def _oddities(meter: str, quantity: int) -> tuple[str, ...]:
    """The flags of a meter that makes no line. Requests without a fee are the usual case, not an oddity."""
    if quantity < 0:
        return (NEGATIVE + meter,)
    return (UNPRICED + meter,) if quantity and meter != "requests" else ()


def _list_cost(meter: str, quantity: int, listed: Rates) -> int:
    row = listed.rows.get(meter)
    return 0 if row is None else (quantity * row.price_pico + 500) // 1000
