"""What prices look like in requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.api.admin.values import Instant, instant, known_instant
from gateway.domain.money import format_price
from gateway.domain.prices import PriceRow

__all__ = [
    "DifferenceAnswer",
    "ExplanationAnswer",
    "ExplanationQuery",
    "HoursAnswer",
    "ImportAnswer",
    "ImportPrices",
    "PriceAnswer",
    "RateAnswer",
    "shown_price",
]

FILE_MAX_CHARACTERS = 4 * 1024 * 1024


class ImportPrices(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to import: the price list that is installed with the gateway, or a file's text (JSON or CSV)."""

    file: (
        Annotated[str, Meta(max_length=FILE_MAX_CHARACTERS, description="Absent: the installed price list.")]
        | None
    ) = None
    name: Annotated[str, Meta(min_length=1, max_length=255, description="Where the file came from.")] = (
        "upload"
    )


class ImportAnswer(msgspec.Struct, kw_only=True):
    """What an import did. `conflicts` says, a line each, what was left as it was and why."""

    added: int
    unchanged: int
    conflicts: list[str]


class HoursAnswer(msgspec.Struct, kw_only=True):
    """A daily span in minutes of the local day; one whose end comes before its start runs over midnight."""

    start: int
    end: int
    timezone: str


class PriceAnswer(msgspec.Struct, kw_only=True):
    """One price of one meter. `source_text` is the figure as its source wrote it."""

    id: str
    provider: str
    model: str
    meter: str
    service_tier: str
    context_over: int
    hours: HoursAnswer | None
    usd_per_million: str
    effective_from: datetime | None
    effective_to: datetime | None
    account: str | None
    source: str
    source_text: str
    created_at: datetime


class DifferenceAnswer(msgspec.Struct, kw_only=True):
    """Sources that disagree: the price that counts, and those it overrules."""

    counts: PriceAnswer
    overruled: list[PriceAnswer]


class RateAnswer(msgspec.Struct, kw_only=True):
    """The price that a meter pays in one situation, why it is that one, and which others it overrules."""

    meter: str
    service_tier: str
    context_over: int
    price: PriceAnswer
    why: str
    overruled: list[PriceAnswer]


class ExplanationAnswer(msgspec.Struct, kw_only=True):
    """What a name means and what a call of it pays. `list_provider` is whose price list it is."""

    name: str
    provider: str
    model: str
    list_provider: str
    how: str
    at: datetime
    context_window: int | None
    max_output: int | None
    rates: list[RateAnswer]


class ExplanationQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to explain."""

    model: Annotated[str, Meta(min_length=1, max_length=255, description="provider/model, or a bare name.")]
    at: Annotated[Instant, Meta(description="When; now if absent.")] | None = None
    account: (
        Annotated[str, Meta(max_length=40, description="For whom; nobody's own prices if absent.")] | None
    ) = None


def shown_price(row: PriceRow) -> PriceAnswer:
    """A price as an administrator sees it; one from the beginning of time has no `effective_from`."""
    hours = None
    if row.hours is not None:
        hours = HoursAnswer(start=row.hours.start, end=row.hours.end, timezone=row.hours.timezone)
    return PriceAnswer(
        id=row.id,
        provider=row.provider,
        model=row.model,
        meter=row.meter,
        service_tier=row.service_tier,
        context_over=row.context_over,
        hours=hours,
        usd_per_million=format_price(row.price_pico),
        effective_from=instant(row.effective_from_us or None),
        effective_to=instant(row.effective_to_us),
        account=row.account,
        source=row.source,
        source_text=row.source_text,
        created_at=known_instant(row.recorded_at_us),
    )
