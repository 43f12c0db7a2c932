"""What a worker counts of its calls, for the metrics: a few additions a call, nothing an event."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

from gateway.ledger.records import Closing

__all__ = ["BOUNDS_MS", "OTHER", "Figures", "Histogram"]

# Upper bounds of the duration's buckets. A generation takes seconds, a refusal by the provider milliseconds.
BOUNDS_MS: Final = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000)
# Providers and models told apart; names beyond are one. The catalogue is bounded, unpriced names are not.
MOST_MODELS: Final = 1_000
OTHER: Final = "other"
US_PER_MS: Final = 1_000


class Histogram:
    """Durations by bucket; the last bucket is for what is above every bound."""

    __slots__ = ("counts", "total_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.total_us = 0

    def add(self, took_us: int) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_MS, took_us / US_PER_MS)] += 1
        self.total_us += took_us


class Figures:
    """Sums since the worker started."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str, str]] = Counter()  # by provider, model, outcome
        self.units: Counter[tuple[str, str, str]] = Counter()  # by provider, model, meter
        self.charged_nano: Counter[tuple[str, str]] = Counter()  # by provider, model
        self.overrun_nano = 0
        self.took: dict[bool, Histogram] = {False: Histogram(), True: Histogram()}  # by whether it streamed

    def ended(
        self, provider: str, model: str, closing: Closing, *, streamed: bool, took_us: int, hold_nano: int
    ) -> None:
        """A call has ended; it held `hold_nano`."""
        pair = (provider, model)
        if pair not in self.charged_nano and len(self.charged_nano) >= MOST_MODELS:
            pair = (provider, OTHER)
        self.calls[(*pair, closing.outcome)] += 1
        self.charged_nano[pair] += closing.charge_nano
        for meter, quantity in closing.usage.items():
            self.units[(*pair, meter)] += quantity
        if closing.charge_nano > hold_nano:
            self.overrun_nano += closing.charge_nano - hold_nano
        self.took[streamed].add(took_us)
