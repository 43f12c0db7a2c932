"""Work that runs for as long as the worker does: a defect in it is logged, and it begins again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.ledger.timer import Timer

__all__ = ["Beats"]

logger: Final = logging.getLogger("tollgate.ledger")

AGAIN_S: Final = 1.0


class Beats:
    """The worker's background tasks."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run this until it returns; calls in flight need it, so a failure is not its end."""
        self._begin(work, 0.0)

    def every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        """Take this step again and again, with a pause before each."""

        async def beat() -> None:
            while True:
                await self._timer.pause(seconds)
                await step()

        self._begin(beat, 0.0)

    async def stop(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()
        await self.ended()

    async def ended(self) -> None:
        """Wait until they have ended by themselves; none begins again."""
        self._is_over = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Callable[[], Awaitable[None]], after_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._after(work, after_s))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._after_all(done, work))

    async def _after(self, work: Callable[[], Awaitable[None]], after_s: float) -> None:
        if after_s:
            await self._timer.pause(after_s)
        await work()

    def _after_all(self, task: asyncio.Task[None], work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._is_over:
            logger.error("the ledger's background work failed and begins again", exc_info=error)
            self._begin(work, AGAIN_S)
