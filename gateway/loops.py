"""What a worker does for ever beside its calls: learn of changes, expire credit, say how far it is posted,
close slow connections.

Calls need each of these loops, so a defect in one is logged and the loop begins again, later each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.api.wire import Watch
from gateway.clock import Clock
from gateway.domain.errors import Unavailable
from gateway.gate.directory import Directory
from gateway.gate.gate import Gate
from gateway.store.engine import Database
from gateway.store.grants import expire_grants
from gateway.store.periods import complete_until

__all__ = ["expire", "for_ever", "poll", "sweep", "tell"]

logger: Final = logging.getLogger("tollgate")

# Changes anywhere take effect within this and a read.
POLL_EVERY_S: Final = 0.25
SWEEP_EVERY_S: Final = 1.0
EXPIRE_EVERY_S: Final = 5.0
TELL_EVERY_S: Final = 15.0
AGAIN_S: Final = 0.25
AGAIN_MAX_S: Final = 30.0

Pause = Callable[[float], Awaitable[None]]


async def for_ever(work: Callable[[], Awaitable[None]], pause: Pause = asyncio.sleep) -> None:
    """Run a loop that never ends by itself; after a failure again, later each time while it keeps failing."""
    loop = asyncio.get_running_loop()
    again_s = AGAIN_S
    while True:
        began = loop.time()
        try:
            await work()
        except Exception:
            logger.exception("a background loop failed, and begins again in %g s", again_s)
        await pause(again_s)
        again_s = AGAIN_S if loop.time() - began > 2 * AGAIN_MAX_S else min(AGAIN_MAX_S, again_s * 2)


async def poll(directory: Directory) -> None:
    """Learn of changes made by other workers, for ever; a database that is away is asked again."""
    while True:
        await asyncio.sleep(POLL_EVERY_S)
        try:
            await directory.refresh()
        except Unavailable:
            continue


async def expire(database: Database, clock: Clock) -> None:
    """Take back credit whose time is over, for ever: what is leased stays until it comes back."""
    while True:
        await asyncio.sleep(EXPIRE_EVERY_S)
        try:
            await database.write(expire_grants, clock.now_us())
        except Unavailable:
            continue


async def tell(database: Database, gate: Gate) -> None:
    """Write down how far this worker's calls are posted, for ever: nobody closes a month before that."""
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        try:
            await database.write(complete_until, gate.ledger.journal_id, gate.posted_until_us)
        except Unavailable:
            continue


async def sweep(watch: Watch) -> None:
    """Close the connections of slow clients, for ever."""
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        watch.sweep()
