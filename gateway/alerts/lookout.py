"""Looks out for what no transaction of a call brings about, and writes it down as events.

Windows that ended, budgets that run out before their window, keys that expire, workers that are lost, models
without a price. Every worker looks; each task is done by whoever has its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.domain.errors import Unavailable
from gateway.store.alarms import (
    forget_delivered,
    take_turn,
    tell_ended,
    tell_expiring,
    tell_stranded,
    tell_too_fast,
    too_fast,
)
from gateway.store.engine import Database
from gateway.store.notices import note_missing_prices, note_upstream_unhealthy

__all__ = ["Lookout"]

LOOK_EVERY_S: Final = 1.0
SOON_US: Final = 2_000_000
SLOWLY_US: Final = 60_000_000
FAILS: Final = "failures in a row"


class Lookout:
    """One worker's. `missing_prices` gives the (provider, model) pairs named since it was last asked,
    `unhealthy` the upstreams that calls began to avoid since then."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        missing_prices: Callable[[], Sequence[tuple[str, str]]],
        unhealthy: Callable[[], Sequence[str]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._missing_prices = missing_prices
        self._unhealthy = unhealthy
        self._next_us = {"ended": 0, "forecast": 0}

    async def run(self) -> None:
        """Look for ever; a database that is away is asked again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Unavailable:
                continue

    async def look(self) -> None:
        """Do what is due now."""
        now_us = self._clock.now_us()
        if missing := self._missing_prices():
            await self._database.write(note_missing_prices, missing, now_us)
        for upstream in self._unhealthy():
            await self._database.write(note_upstream_unhealthy, upstream, FAILS, now_us)
        if await self._has_turn("ended", SOON_US, now_us):
            while await self._database.write(tell_ended, now_us):
                pass
        if await self._has_turn("forecast", SLOWLY_US, now_us):
            # Reading every running window is no work for the one connection that writes.
            found = await self._database.read(too_fast, now_us)
            await self._database.write(tell_too_fast, found, now_us)
            await self._database.write(tell_expiring, now_us)
            await self._database.write(tell_stranded, now_us)
            while await self._database.write(forget_delivered, now_us):
                pass

    async def _has_turn(self, task: str, every_us: int, now_us: int) -> bool:
        if now_us < self._next_us[task]:
            return False
        self._next_us[task] = now_us + every_us
        return await self._database.write(take_turn, task, every_us, now_us)
