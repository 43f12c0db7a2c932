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
from gateway.ledger.files import DONE, discard, list_journals, replay, try_lock
from gateway.store.journals import SerialMoved
from gateway.store.outcomes import DatabaseFailed, DatabaseUnknown

__all__ = ["Adopter"]

logger: Final = logging.getLogger("tollgate.ledger")


class Adopter:
    """Adopts the dead journals of one data directory."""

    def __init__(
        self,
        parent: Path,
        own: str,
        database: Accounting,
        database_id: str,
        boot_id: str,
        host: str,
        clock: Clock,
    ) -> None:
        self._parent = parent
        self._own = own
        self._database = database
        self._database_id = database_id
        self._boot_id = boot_id
        self._host = host
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
            if await self._is_finished(folder):
                await loop.run_in_executor(None, discard, folder, self._parent / DONE)
        finally:
            os.close(lock)

    async def _is_finished(self, folder: Path) -> bool:
        """Take a dead journal to its end; False when that did not succeed, and it must stay."""
        found = await asyncio.get_running_loop().run_in_executor(None, replay, folder)
        if found is None:
            return True  # it died while it was being deleted
        if found.header.database != self._database_id:
            logger.error("journal %s belongs to another database and is left alone", folder.name)
            self.foreign.add(folder.name)
            return False
        adoption = Adoption(self._database, folder, found, self._boot_id, self._host, self._clock)
        try:
            await adoption.run()
        except (DatabaseFailed, DatabaseUnknown, SerialMoved) as error:
            logger.warning("journal %s waits to be adopted: %s", folder.name, error)
            self.waiting.add(folder.name)
            return False
        self.waiting.discard(folder.name)
        self.adopted += 1
        self.interrupted += adoption.interrupted
        logger.warning("adopted journal %s: %d calls interrupted", folder.name, adoption.interrupted)
        return True
