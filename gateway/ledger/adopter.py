"""Looking after the journals of dead workers (A6): at the start, and every few seconds after.

The lock says who is dead, nothing else does, and what is read is read under the lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from gateway.clock import Clock
from gateway.ledger.adoption import Adoption
from gateway.ledger.courier import Accounting
from gateway.ledger.files import (
    Replay,
    bring_back,
    discard,
    first_seq,
    kept_journals,
    list_journals,
    prune,
    replay,
    reunite,
    try_lock,
)
from gateway.ledger.identity import Place
from gateway.ledger.records import VERSION
from gateway.store.engine import POST
from gateway.store.journals import SerialMoved, posted_of
from gateway.store.outcomes import DatabaseFailed, DatabaseUnknown

__all__ = ["Adopter"]

logger: Final = logging.getLogger("tollgate.ledger")


# How long, and how much of, posted segments are kept: as far back as a database may have to be restored.
KEEP_S: Final = 2 * 86_400
KEEP_BYTES: Final = 4 << 30


class Adopter:
    """Adopts the dead journals of one data directory."""

    def __init__(self, place: Place, own: str, database: Accounting, database_id: str, clock: Clock) -> None:
        """`own` is this worker's journal; those of another database than `database_id` are left alone."""
        self._place = place
        self._parent = place.journals
        self._own = own
        self._database = database
        self._database_id = database_id
        self._clock = clock
        self._in_hand: asyncio.Future[None] | None = None
        self.adopted = 0  # journals taken to their end
        self.interrupted = 0  # calls closed for their dead workers
        self.waiting: set[str] = set()  # dead journals that the database did not take yet
        self.foreign: set[str] = set()  # journals of another database, left alone

    async def adopt_all(self) -> None:
        """Take over whatever is dead, one after the other.

        Cancelled, it goes on to the end of the journal in hand: nobody may find its lock free while a thread
        of ours still writes to it.
        """
        loop = asyncio.get_running_loop()
        for journal in await loop.run_in_executor(None, list_journals, self._parent):
            if journal != self._own and journal not in self.foreign:
                self._in_hand = asyncio.ensure_future(self._adopt(journal))
                await asyncio.shield(self._in_hand)

    async def quiet(self) -> None:
        """Wait for the journal in hand."""
        if self._in_hand is not None:
            await asyncio.wait((self._in_hand,))

    async def _adopt(self, journal: str) -> None:
        loop = asyncio.get_running_loop()
        folder = self._parent / journal
        lock = await loop.run_in_executor(None, try_lock, folder)
        if lock is None:
            return
        try:
            posted = await self._finish(folder)
            if posted is not None:
                await loop.run_in_executor(None, discard, folder, posted)
        finally:
            os.close(lock)

    async def _finish(self, folder: Path) -> int | None:
        """Take a dead journal to its end; the seq it is posted up to, None when it must stay."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, replay, folder)
        if found is None:
            return 0  # it died while it was being deleted
        if found.header.database != self._database_id or found.header.version > VERSION:
            logger.error("journal %s is of another database or a later release, and left alone", folder.name)
            self.foreign.add(folder.name)
            return None
        try:
            found = await self._whole(folder, found)
            boot_id, host = self._place.boot_id, self._place.host
            adoption = Adoption(self._database, folder, found, boot_id, host, self._clock)
            await adoption.run()
        except (DatabaseFailed, DatabaseUnknown, SerialMoved) as error:
            logger.warning("journal %s waits to be adopted: %s", folder.name, error)
            self.waiting.add(folder.name)
            return None
        self.waiting.discard(folder.name)
        self.adopted += 1
        self.interrupted += adoption.interrupted
        logger.warning("adopted journal %s: %d calls interrupted", folder.name, adoption.interrupted)
        return adoption.last_seq

    async def _whole(self, folder: Path, found: Replay) -> Replay:
        """The journal with the segments that were set aside, where a restored database lacks them."""
        loop = asyncio.get_running_loop()
        posted = await self._database.account(POST, posted_of, [folder.name])
        if await loop.run_in_executor(None, first_seq, folder) <= posted.get(folder.name, 0) + 1:
            return found
        if not await loop.run_in_executor(None, reunite, folder):
            return found
        whole = await loop.run_in_executor(None, replay, folder)
        assert whole is not None, "there are more segments than before"
        return whole

    async def bring_back(self) -> None:
        """At the start: finished journals that the database has forgotten, for it was restored, come back."""
        loop = asyncio.get_running_loop()
        kept = await loop.run_in_executor(None, kept_journals, self._parent)
        try:
            known = await self._database.account(POST, posted_of, list(kept))
        except (DatabaseFailed, DatabaseUnknown) as error:
            logger.warning("whether the database was restored is not known: %s", error)
            return
        for journal, posted in kept.items():
            if known.get(journal, 0) < posted:
                logger.error(
                    "the database, restored, has journal %s up to %d of %d: the rest is posted again",
                    journal,
                    known.get(journal, 0),
                    posted,
                )
                await loop.run_in_executor(None, bring_back, self._parent, journal)

    async def prune(self) -> None:
        """Forget what was set aside long ago."""
        before_s = self._clock.now_us() // 1_000_000 - KEEP_S
        await asyncio.get_running_loop().run_in_executor(None, prune, self._parent, before_s, KEEP_BYTES)
