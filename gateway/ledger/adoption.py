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
from gateway.ledger.courier import Accounting, Errand, ErrandFailed, deliver
from gateway.ledger.entries import Postable
from gateway.ledger.files import Replay, append_frames, read_postable
from gateway.ledger.finishing import Finisher
from gateway.ledger.openings import rows_of
from gateway.ledger.records import (
    CLOSE,
    Check,
    Close,
    Closing,
    Correct,
    Open,
    PostedPart,
    WindowRef,
    decode,
    encode,
    interrupted,
)
from gateway.store.engine import POST
from gateway.store.journals import FINISHED, Finished, Standing, register, resync, revive
from gateway.store.outcomes import DatabaseRefused
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
        self.last_seq = found.last_postable  # of what is posted in the end

    async def run(self) -> None:
        """Take it to its end. Raises what `store.outcomes` lists, or SerialMoved: try again later."""
        found = self._found
        standing = await self._stand()
        if standing.state in FINISHED:
            if not found.open and found.last_postable <= standing.posted:
                return
            await self._account(revive, self.journal, standing.serial)
            standing = standing._replace(serial=standing.serial + 1)
        last_seq = self.last_seq = await self._close_open()
        finisher = Finisher(self.journal, self._state, self._clock)
        finisher.resynced(standing)
        serial, fed = standing.serial, standing.posted
        while not finisher.is_done:
            errand = finisher.next_errand()
            if errand is None:
                fed = await self._feed(finisher, fed, last_seq)
            else:
                serial += await self._deliver(errand, serial)

    async def _feed(self, finisher: Finisher, after_seq: int, last_seq: int) -> int:
        """Read another segment's records; returns the seq up to which there are none left to read."""
        loop = asyncio.get_running_loop()
        read = await loop.run_in_executor(None, read_postable, self._folder, after_seq, last_seq)
        refs = await loop.run_in_executor(None, _rowless, read)
        rows = await rows_of(self._database, refs)
        reached = read[-1][0] if read else last_seq
        finisher.feed([Postable(seq, frame) for seq, frame in read], reached >= last_seq, rows)
        return reached

    async def _stand(self) -> Standing:
        standing: Standing = await self._account(
            _stand, self.journal, self._found.header.data_dir, self._host, self._clock.now_us()
        )
        return standing

    async def _close_open(self) -> int:
        """Close what was running as it last stood, in the file first; and bring the file to the disk.

        Returns the seq of the journal's last record that is to be posted.
        """
        found = self._found
        known = await self._account(posted_attempts, [opened.facts.attempt for opened, _ in found.open])
        frames: list[bytes] = []
        for opened, check in found.open:
            # A disk restored beside a database that was not: the call has ended, and is in the book.
            if opened.facts.attempt not in known:
                frames.append(self._close_frame(found.last_seq + len(frames) + 1, opened, check))
        self.interrupted = len(frames)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, append_frames, self._folder, b"".join(frames))
        return found.last_seq + len(frames) if frames else found.last_postable

    def _close_frame(self, seq: int, opened: Open, check: Check | None) -> bytes:
        closing = interrupted(opened, check, self._clock.now_us())
        hold_nano = opened.facts.hold_nano if check is None else check.hold_nano
        close = Close(opened.facts, closing, hold_nano, close_parts(opened, check, closing))
        return encode(seq, CLOSE, close)

    async def _deliver(self, errand: Errand, serial: int) -> int:
        """One transaction; returns how far the serial moved."""
        try:
            result = await deliver(self._database, errand, self.journal, serial, self._clock.now_us())
        except (DatabaseRefused, ErrandFailed) as error:
            # The finisher looks for the record that is to blame.
            errand.failed(error)
            return 0
        errand.heard(result)
        return 1

    async def _account(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await self._database.account(POST, fn, *args)


def _rowless(read: Sequence[tuple[int, bytes]]) -> set[WindowRef]:
    """The windows that these records name without their row."""
    refs: set[WindowRef] = set()
    for _, frame in read:
        record = decode(frame)
        assert isinstance(record, (Close, Correct))
        refs.update(ref for ref, _, _ in record.parts if not isinstance(ref, int))
    return refs


def _stand(conn: Connection, journal: str, data_dir: str, host: str, now_us: int) -> Standing:
    # A journal that SQL has never heard of died before its first transaction.
    register(conn, journal, data_dir, host, now_us)
    standing = resync(conn, journal)
    assert standing is not None, "the row is there"
    return standing
