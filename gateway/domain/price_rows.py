"""One price of one meter, and the hours of the day it may be bound to."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.domain.zones import offset_us, zone

__all__ = ["GENAI", "MANUAL", "SEED", "Hours", "PriceRow"]

# Whose word counts; see `domain.prices`.
GENAI: Final = 10
SEED: Final = 20
MANUAL: Final = 30

_US_PER_MINUTE: Final = 60_000_000


class Hours(NamedTuple):
    """A daily span, in minutes of the local day: `start` belongs to it, `end` does not.

    A span whose end comes before its start runs over midnight.
    """

    start: int
    end: int
    timezone: str

    def cover(self, at_us: int) -> bool:
        """Whether the instant falls into the span, by the zone's wall clock."""
        ahead_us = 0 if self.timezone == "UTC" else offset_us(zone(self.timezone), at_us)
        minute = (at_us + ahead_us) // _US_PER_MINUTE % 1440
        if self.end < self.start:
            return minute >= self.start or minute < self.end
        return self.start <= minute < self.end


class PriceRow(NamedTuple):
    """One price of one meter, as `prices` holds it; ten thousand of them are made at every start.

    `price_pico` is pico-USD per unit. `service_tier` is "" for the standard tier. A row with
    `context_over` N applies to the whole call once its input total exceeds N; 0 is the base. It is in
    force from `effective_from_us` until `effective_to_us` (exclusive; None: until a better row).
    `source_text` is the figure as the source wrote it. `account` narrows it to that account and those
    below it. `rank` is whose word counts, `recorded_at_us` when it became known to us.
    """

    id: str
    provider: str
    model: str
    meter: str
    price_pico: int
    service_tier: str = ""
    context_over: int = 0
    hours: Hours | None = None
    effective_from_us: int = 0
    effective_to_us: int | None = None
    account: str | None = None
    source: str = "manual"
    source_text: str = ""
    rank: int = MANUAL
    recorded_at_us: int = 0

    def in_force(self, at_us: int) -> bool:
        """Whether the row's dates and hours cover the instant."""
        if at_us < self.effective_from_us:
            return False
        if self.effective_to_us is not None and at_us >= self.effective_to_us:
            return False
        return self.hours is None or self.hours.cover(at_us)
