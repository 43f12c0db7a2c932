"""Taking over one dead journal whose lock is held: close what was open, post what is left, finish it.

Every step can be repeated by the next adopter: the serial kills what the dead worker, or an adopter that
died in the middle, still has on its way to SQL; closes are in the file before SQL hears of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.domain.budgets import amount
from gateway.ledger.courier import Accounting, Errand, deliver
from gateway.ledger.entries import Postable
from gateway.ledger.files import Replay, append_frames
from gateway.ledger.finishing import Finisher
from gateway.ledger.records import CLOSE, Check, Close, Closing, Open, PostedPart, encode, interrupted
from gateway.store.engine import POST
from gateway.store.journals import FINISHED, Finished, SerialMoved, Standing, register, resync, revive
from gateway.store.outcomes import DatabaseAway, DatabaseUnknown
from gateway.store.posting import posted_attempts

__all__ = ["Adoption", "close_parts"]


def close_parts(opened: Open, check: Check | None, closing: Closing) -> list[PostedPart]:
    """What an attempt charges each window it named, by the unit of the window's budget."""
    parts = opened.parts if check is None else check.parts
    return [
        (window, amount(unit, closing.charge_nano, closing.tokens, not closing.requests), hold)
        for window, unit, hold in parts
    ]


class Adoption:
    """One journal being taken over."""

    def __init__(
        self, database: Accounting, folder: Path, found: Replay, boot_id: str, host: str, clock: Clock
    ) -> None:
        self._database = database
        self._folder = folder
        self._found = found
        self._host = host
        self._clock = clock
        self.journal = found.header.journal
        # After a power cut open records may be lost: a claim on such a call is not free to take over.
        self._state: Finished = "finished" if found.header.boot == boot_id else "finished_unclean"
        self.interrupted = 0
        self.posted = 0

    async def run(self) -> None:
        """Take it to its end. Raises what `store.outcomes` lists, or SerialMoved: try again later."""
        standing = await self._stand()
        postables = [Postable(frame.seq, frame.raw, opened) for frame, opened in self._found.postable]
        if standing.state in FINISHED:
            if not self._found.open and all(each.seq <= standing.posted for each in postables):
                return
            await self._account(revive, self.journal, standing.serial)
            standing = standing._replace(serial=standing.serial + 1)
        postables += await self._close_open()
        finisher = Finisher(self.journal, postables, self._state, self._clock)
        finisher.resynced(standing)
        self.posted = finisher.left
        serial = standing.serial
        while (errand := finisher.next_errand()) is not None:
            serial += await self._deliver(errand, serial)

    async def _stand(self) -> Standing:
        standing: Standing = await self._account(
            _stand, self.journal, self._found.header.data_dir, self._host, self._clock.now_us()
        )
        return standing

    async def _close_open(self) -> Sequence[Postable]:
        """Close what was running as it last stood, in the file first; and bring the file to the disk."""
        attempts = [opened.facts.attempt for opened, _, _ in self._found.open]
        known = await self._account(posted_attempts, attempts)
        closes = []
        seq = self._found.last_seq
        for opened, check, open_frame in self._found.open:
            # A disk restored beside a database that was not: the call has ended, and is in the book.
            if opened.facts.attempt not in known:
                seq += 1
                closes.append(Postable(seq, self._close_frame(seq, opened, check), open_frame))
        self.interrupted = len(closes)
        frames = b"".join(each.frame for each in closes)
        await asyncio.get_running_loop().run_in_executor(None, append_frames, self._folder, frames)
        return closes

    def _close_frame(self, seq: int, opened: Open, check: Check | None) -> bytes:
        closing = interrupted(opened, check, self._clock.now_us())
        hold_nano = opened.facts.hold_nano if check is None else check.hold_nano
        close = Close(opened.facts.attempt, closing, hold_nano, close_parts(opened, check, closing))
        return encode(seq, CLOSE, close)

    async def _deliver(self, errand: Errand, serial: int) -> int:
        """One transaction; returns how far the serial moved."""
        try:
            result = await deliver(self._database, errand, self.journal, serial, self._clock.now_us())
        except (DatabaseAway, DatabaseUnknown, SerialMoved):
            raise
        except Exception as error:
            # Refused, or impossible to send: the finisher looks for the record that is to blame.
            errand.failed(error)
            return 0
        errand.heard(result)
        return 1

    async def _account(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await self._database.account(POST, fn, *args)


def _stand(conn: Connection, journal: str, data_dir: str, host: str, now_us: int) -> Standing:
    # A journal that SQL has never heard of died before its first transaction.
    register(conn, journal, data_dir, host, now_us)
    standing = resync(conn, journal)
    assert standing is not None, "the row is there"
    return standing
