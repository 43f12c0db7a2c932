"""From what became of an attempt to what the ledger books. Pure: figures in, a Closing out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from gateway.domain.catalogue import Catalogue
from gateway.domain.costing import Charge, cost
from gateway.domain.prices import RateCard
from gateway.domain.quotes import Quote
from gateway.domain.usage import Usage, UsageSource, input_total, output_total
from gateway.formats.base import Intent, Report
from gateway.gate.admission import Offer
from gateway.gate.plans import Plan
from gateway.ledger.ledger import Closing

__all__ = ["Agreed", "Ending", "Settlement", "cards_of", "settle", "told_tier"]

# As wide as their columns.
SERVED_MODEL_MAX_CHARACTERS = 255
TIER_MAX_CHARACTERS = 32


class Ending(msgspec.Struct, frozen=True, gc=False):
    """How an attempt ended, as far as anybody knows.

    `outcome` is done, aborted or void; nothing of a void attempt can have been billed. `report` is the
    provider's own usage, `counted` our count of what was sent and relayed, for what it leaves out.
    """

    outcome: str
    status: int | None
    report: Report | None = None
    counted: Usage | None = None
    flags: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether nothing has to be counted."""
        return self.outcome == "void" or (self.report is not None and not self.report.missing)

    def with_count(self, counted: Usage) -> Ending:
        """The same with our count of it.

        A provider that reported an error before it produced anything refused the call, and no provider
        bills a refused call.
        """
        is_refusal = "upstream_error" in self.flags and self.report is None and not counted.get("output")
        if is_refusal:
            return msgspec.structs.replace(self, outcome="void")
        return msgspec.structs.replace(self, counted=counted)

    def flagged(self, flag: str) -> Ending:
        """The same with one more flag."""
        return msgspec.structs.replace(self, flags=(*self.flags, flag))


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What is booked, and the charge it rests on (for receipts, headers and the client's `usage.cost`)."""

    closing: Closing
    charge: Charge


class Agreed(NamedTuple):
    """What is left of an offer once its worker is gone: enough to price a call by."""

    plan: Plan
    intent: Intent
    quote: Quote
    admitted_at_us: int


def settle(
    offer: Offer | Agreed, ending: Ending, card_of: Callable[[str], RateCard | None], closed_at_us: int
) -> Settlement:
    """Price an ending. `card_of` finds the rate card of a served model's name.

    The served model and tier decide the price where they are told and known, the requested ones otherwise.
    A call belongs to the instant it was admitted, so its price does too.
    """
    usage, source = _usage(ending)
    report = ending.report
    served = report.model if report and _is_name(report.model) else None
    card = (card_of(served) if served else None) or offer.plan.card
    tier = (report.service_tier if report else None) or offer.intent.service_tier
    charge = cost(usage, card, offer.admitted_at_us, tier)
    for model, used in report.others if report else ():
        usage = _added(usage, used)
        # The fee of a request is the call's own; a part that names nobody is of the model asked for.
        known = card_of(model) if model else None
        part = cost({**used, "requests": 0}, known or offer.plan.card, offer.admitted_at_us, tier)
        if model and known is None:
            part = part._replace(flags=(*part.flags, f"unknown_model:{model[:64]}"))
        charge = _with_part(charge, part)
    flags = offer.plan.flags + ending.flags + charge.flags + _anomalies(report, charge, offer)
    if source in ("counted", "mixed"):
        flags += ("estimated",)
    closing = Closing(
        outcome=ending.outcome,
        status=ending.status,
        served_model=served,
        usage=usage,
        usage_source=source,
        raw_usage=report.raw if report else None,
        lines=charge.lines,
        flags=list(dict.fromkeys(flags)) if flags else [],
        charge_nano=charge.total_nano,
        list_nano=charge.list_nano,
        tokens=input_total(usage) + output_total(usage),
        closed_at_us=closed_at_us,
        requests=0 if ending.outcome == "void" else 1,
        service_tier=told_tier(tier),
    )
    return Settlement(closing, charge)


def cards_of(catalogue: Catalogue, plan: Plan, accounts: Sequence[str]) -> Callable[[str], RateCard | None]:
    """Finds the prices that these accounts pay for what a provider says it served."""

    def card_of(served: str) -> RateCard | None:
        entry = catalogue.resolve(plan.upstream.prices_of, served)
        return entry.card.for_accounts(accounts) if entry is not None and entry.card.is_priced else None

    return card_of


def _added(usage: Usage, more: Usage) -> dict[str, int]:
    """Both usages meter by meter."""
    return {meter: usage.get(meter, 0) + more.get(meter, 0) for meter in (*usage, *more)}


def _with_part(charge: Charge, part: Charge) -> Charge:
    """A charge and that of what another model did for the same call: each line keeps its own price row."""
    return Charge(
        charge.lines + part.lines,
        charge.total_nano + part.total_nano,
        charge.list_nano + part.list_nano,
        charge.flags + part.flags,
    )


def told_tier(tier: str | None) -> str:
    """A service tier, which client and upstream may make up, as it is stored: "" for the standard one."""
    return tier[:TIER_MAX_CHARACTERS] if tier and tier.isprintable() else ""


def _is_name(model: str | None) -> bool:
    """Whether a served model's name, which an upstream may make up, can be stored and shown."""
    return model is not None and 0 < len(model) <= SERVED_MODEL_MAX_CHARACTERS and model.isprintable()


def _usage(ending: Ending) -> tuple[Usage, UsageSource | str]:
    """What is charged, and whose figures they are. A report is completed by our count where it has gaps."""
    report, counted = ending.report, ending.counted or {}
    if report is None:
        found = {meter: quantity for meter, quantity in counted.items() if quantity}
        return (found, "counted") if ending.counted is not None else ({}, "none")
    # What was told of a side before the report broke off is the least it can have been.
    gaps = {
        side: max(counted[side], report.usage.get(side, 0)) for side in report.missing if counted.get(side)
    }
    return ({**report.usage, **gaps}, "mixed") if report.missing else (report.usage, "provider")


def _anomalies(report: Report | None, charge: Charge, offer: Offer | Agreed) -> tuple[str, ...]:
    overrun = ("overrun",) if charge.total_nano > offer.quote.cost_nano else ()
    if report is None or not report.unknown:
        return overrun
    return (*(f"unknown_usage:{field[:64]}" for field in report.unknown[:8]), *overrun)
