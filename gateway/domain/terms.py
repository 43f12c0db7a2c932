"""Terms: what an account negotiated on list prices: a discount, a markup, or a flat price, with dates.

A term covers models and meters of an account and of everything below it. Of several that cover a meter the
first of these that tells them apart decides: the nearer account, a term for this meter, for this model, for
this provider, the later date, the later made. A price posted for an account goes before a term of that
account or of one above it, and after a term of one below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from gateway.domain.patterns import matches_model
from gateway.domain.price_rows import PriceRow

__all__ = ["MOST_PPM", "PER_PERCENT", "Kind", "Term", "contracted", "joined_id", "list_price_id"]

Kind = Literal["discount", "markup", "flat"]

PER_PERCENT: Final = 10_000
"""Parts per million in a percent."""
_WHOLE: Final = 1_000_000
MOST_PPM: Final = 100 * _WHOLE


class Term(NamedTuple):
    """One row of `rate_cards`.

    `amount` is parts per million of the list price for a discount or a markup, pico-USD per unit for a flat
    price. `model` is a pattern (`domain.patterns`); None, like a `provider` or `meter` of None, is any.
    In force from `effective_from_us` until `effective_to_us` (exclusive).
    """

    id: str
    account: str
    provider: str | None
    model: str | None
    meter: str | None
    kind: Kind
    amount: int
    text: str
    effective_from_us: int
    effective_to_us: int | None
    recorded_at_us: int

    def covers(self, provider: str, model: str) -> bool:
        """Whether it is about this model, as that provider serves it."""
        if self.provider not in (None, provider):
            return False
        return self.model is None or matches_model((self.model,), provider, model)

    def in_force(self, at_us: int) -> bool:
        """Whether its dates cover the instant."""
        return self.effective_from_us <= at_us and (
            self.effective_to_us is None or at_us < self.effective_to_us
        )

    def price_pico(self, list_pico: int) -> int:
        """The contracted price: pico-USD per unit, rounded half-up, once; every charge is made of it."""
        if self.kind == "flat":
            return self.amount
        share = _WHOLE - self.amount if self.kind == "discount" else _WHOLE + self.amount
        return (2 * list_pico * share + _WHOLE) // (2 * _WHOLE)


def contracted(
    row: PriceRow, meter: str, at_us: int, terms: Sequence[Term], depth: Mapping[str, int]
) -> PriceRow:
    """The row a meter pays: `row` itself, or what the best of `terms` makes of it.

    `depth` is 0 for the caller's own account and less for each one above it.
    """
    found = max(
        (term for term in terms if term.in_force(at_us) and term.meter in (None, meter, row.meter)),
        key=lambda term: _precedence(term, depth),
        default=None,
    )
    if found is None:
        return row
    if row.account is not None and depth[row.account] >= depth[found.account]:
        return row
    return row._replace(
        id=joined_id(row.id, found.id),
        price_pico=found.price_pico(row.price_pico),
        account=found.account,
        source=f"rate card {found.id}",
        source_text=found.text,
    )


def joined_id(price: str, term: str) -> str:
    """How a charge names a list price and the term that was applied to it."""
    return f"{price}.{term}"


def list_price_id(price: str) -> str:
    """The list price that a charge names, the term aside."""
    return price.partition(".")[0]


def _precedence(term: Term, depth: Mapping[str, int]) -> tuple[int | str, ...]:
    return (
        depth[term.account],
        int(term.meter is not None),
        int(term.model is not None),
        int(term.provider is not None),
        term.effective_from_us,
        term.recorded_at_us,
        term.id,
    )
