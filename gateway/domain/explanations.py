"""Explanations: which rows a call would pay, and what each of them is preferred to and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.domain.money import format_price
from gateway.domain.prices import PriceRow, RateCard

__all__ = ["ExplainedRate", "explain"]


# Meters that are worth a line of their own even where they pay another meter's price.
_COMMON: Final = frozenset({"cache_read", "cache_write_5m", "cache_write_1h", "reasoning"})


class ExplainedRate(NamedTuple):
    """The row that `meter` pays at a service tier ("" is standard) with an input above `context_over`.

    `why` says in words why it is this one; `overruled` are the rows of its slot that are in force too.
    """

    meter: str
    service_tier: str
    context_over: int
    row: PriceRow
    why: str
    overruled: tuple[PriceRow, ...]


def explain(card: RateCard, at_us: int) -> Iterator[ExplainedRate]:
    """Every rate of a card at an instant: the standard tier's first, then what others have of their own."""
    for tier in ("", *sorted(card.tiers)):
        for over in (0, *card.thresholds):
            for meter, row in card.rates(at_us, tier, over + 1).rows.items():
                own = (row.meter, row.service_tier, row.context_over) == (meter, tier, over)
                if own or (not tier and not over and meter in _COMMON):
                    yield _explained(card, meter, tier, over, at_us)


def _explained(card: RateCard, meter: str, tier: str, over: int, at_us: int) -> ExplainedRate:
    row, *others = card.candidates(meter, at_us, tier, over)
    slot = (row.meter, row.service_tier, row.context_over)
    overruled = tuple(each for each in others if (each.meter, each.service_tier, each.context_over) == slot)
    paid = card.paid(row, meter, at_us)
    if paid is not row:
        return ExplainedRate(meter, tier, over, paid, _negotiated(paid, row), (row, *overruled))
    why = _preference(row, overruled[0], card) if overruled else "no other row is in force"
    if row.meter != meter:
        why = f"{meter} has no price of its own and pays that of {row.meter}"
    return ExplainedRate(meter, tier, over, row, why, overruled)


def _negotiated(paid: PriceRow, row: PriceRow) -> str:
    """What a term made of the price, in words."""
    listed = format_price(row.price_pico)
    return f"{paid.source} of {paid.account}: {paid.source_text} on {listed} USD per million"


def _preference(row: PriceRow, other: PriceRow, card: RateCard) -> str:
    """The first rule of `domain.prices` that tells the two apart, in words."""
    if row.account != other.account:
        return "an account's own price goes before others"
    if (row in card.rows) != (other in card.rows):
        return "the model's own price goes before one it inherits"
    if row.rank != other.rank:
        return "prices posted by hand go before cited ones, and those before imported ones"
    if row.hours != other.hours:
        return "a price for these hours goes before one for all day"
    return "the later price goes before the earlier"
