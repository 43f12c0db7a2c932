"""What a booked call would be charged by the prices there are now, at the instant it was admitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.domain.catalogue import Catalogue
from gateway.domain.costing import Charge, cost
from gateway.domain.prices import RateCard
from gateway.domain.terms import list_price_id
from gateway.domain.usage import Usage

__all__ = ["Rated", "rerated"]


class Rated(NamedTuple):
    """A call as it was charged. `provider` is the one whose prices it pays, `accounts` run from its own up to
    the root; `lines` are (meter, price id, quantity)."""

    provider: str
    model: str
    served_model: str | None
    service_tier: str
    accounts: Sequence[str]
    admitted_at_us: int
    usage: Usage
    lines: Sequence[tuple[str, str, int]]


def rerated(call: Rated, catalogue: Catalogue) -> Charge | None:
    """The charge; None for a model that still nobody prices.

    As when it was settled: the served model's card where there is one, and what other models did inside the
    call, which its lines tell, at their own.
    """
    own = _card(catalogue, call.provider, call.served_model) or _card(catalogue, call.provider, call.model)
    if own is None:
        return None
    parts = _others(call, catalogue, own)
    usage = Counter(call.usage)
    for part in parts.values():
        usage.subtract(part)
    charge = cost(usage, own.for_accounts(call.accounts), call.admitted_at_us, call.service_tier)
    for (provider, model), part in parts.items():
        card = _card(catalogue, provider, model)
        assert card is not None, "a price of it was paid"
        paid = card.for_accounts(call.accounts)
        more = cost({**part, "requests": 0}, paid, call.admitted_at_us, call.service_tier)
        charge = Charge(
            charge.lines + more.lines,
            charge.total_nano + more.total_nano,
            charge.list_nano + more.list_nano,
            charge.flags + more.flags,
        )
    return charge


def _card(catalogue: Catalogue, provider: str, name: str | None) -> RateCard | None:
    entry = catalogue.resolve(provider, name) if name else None
    return entry.card if entry is not None and entry.card.is_priced else None


def _others(call: Rated, catalogue: Catalogue, own: RateCard) -> Mapping[tuple[str, str], Counter[str]]:
    """The usage of each other model whose prices the call paid."""
    ours = {row.id for row in (*own.rows, *own.inherited)}
    parts: dict[tuple[str, str], Counter[str]] = {}
    for meter, named, quantity in call.lines:
        price = list_price_id(named)
        row = None if price in ours else catalogue.price(price)
        if row is not None and quantity:
            parts.setdefault((row.provider, row.model), Counter())[meter] += quantity
    return parts
