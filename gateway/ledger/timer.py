"""The one way the ledger waits for time to pass, and a driven twin for tests."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Protocol

__all__ = ["DrivenTimer", "SystemTimer", "Timer"]


class Timer(Protocol):
    """Lets seconds pass. Everything that waits for time is handed one."""

    async def pause(self, seconds: float) -> None:
        """Return when the seconds have passed."""


class SystemTimer:
    """The event loop's own clock."""

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


class DrivenTimer:
    """Time that stands still until it is told to move."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    async def pause(self, seconds: float) -> None:
        """Wait until `advance` has moved that far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self._now + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Move on; whoever waited for less goes on in the next steps of the event loop."""
        self._now += seconds
        while self._waiting and self._waiting[0][0] <= self._now:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
