"""From the journal to SQL: closed calls in batches, once each, in the order of the file.

Only what is on disk is posted, so that after a power cut the file is never behind `posted`. A record that
SQL refuses is found by halving the batch and set aside in `quarantine`: its money counts, the rest goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.ledger.book import Book
from gateway.ledger.courier import Errand
from gateway.ledger.entries import Postable, digest
from gateway.ledger.files import read_postable
from gateway.ledger.holds import Pending
from gateway.ledger.journal import Journal
from gateway.ledger.records import Close, Correct, decode
from gateway.store.engine import POST
from gateway.store.journals import SerialMoved
from gateway.store.outcomes import DatabaseAway
from gateway.store.posting import Batch, Moved, Standing, post

__all__ = ["BATCH", "RECENT", "Poster", "post_frames"]

logger = logging.getLogger("tollgate.ledger")

BATCH: Final = 500
# About 20 MB of records.
RECENT: Final = 20_000


class Poster:
    """What of this worker's journal is not in SQL yet.

    At most RECENT records are kept in memory. When the database is away for long the later ones are only in
    the file, and are read from it, a segment at a time, once the earlier ones are posted.
    """

    def __init__(
        self,
        book: Book,
        journal: Journal,
        clock: Clock,
        *,
        wake: Callable[[], None],
        resync: Callable[[], None],
        recent: int,
    ) -> None:
        """`resync` has the journal's standing read before a record is taken for poison."""
        self._book = book
        self._journal = journal
        self._clock = clock
        self._wake = wake
        self._resync = resync
        self._recent = recent
        self._pending: deque[Pending] = deque()
        self._calls: dict[str, list[Pending]] = {}
        self._spilled = 0  # records that are only in the file
        self._last_seq = 0  # of the last record that is to be posted
        self._refill: asyncio.Task[None] | None = None
        self._batch = BATCH
        self._suspect = 0  # a record that was refused alone
        self._poison = ""
        self.posted = 0
        self.quarantined = 0

    @property
    def unposted(self) -> int:
        """How many records wait."""
        return len(self._pending) + self._spilled

    @property
    def is_nearly_done(self) -> bool:
        """Whether one batch takes what is left."""
        return not self._spilled and len(self._pending) <= BATCH

    @property
    def pending(self) -> Iterable[Pending]:
        """The records that wait in memory, in order: all of them but after a long outage."""
        return self._pending

    def add(self, pending: Pending) -> None:
        """A call was closed, or corrected."""
        self._last_seq = pending.seq
        if self._spilled or len(self._pending) >= self._recent:
            self._spilled += 1
        else:
            self._keep(pending)

    def _keep(self, pending: Pending) -> None:
        self._pending.append(pending)
        self._calls.setdefault(pending.call, []).append(pending)

    def of_call(self, call: str) -> Sequence[Pending]:
        """The records of a call that are not posted yet, as far as they are in memory."""
        return self._calls.get(call, ())

    async def read_back(self) -> None:
        """Take the next segment's records back into memory; done by itself when they are due."""
        last = self._pending[-1].seq if self._pending else self.posted
        journal = self._journal
        read = await asyncio.get_running_loop().run_in_executor(
            None, _read_back, journal.folder, last, journal.synced_seq
        )
        for pending in read:
            self._keep(pending)
        self._spilled -= len(read)
        if read and read[-1].seq == self._last_seq:
            assert not self._spilled, "whatever was only in the file has been read"
        self._wake()

    async def settle(self) -> None:
        """Wait for records being read back."""
        if self._refill is not None:
            await self._refill

    def next_errand(self) -> Errand | None:
        """The next batch of what is on disk."""
        synced = self._journal.synced_seq
        batch = []
        for pending in islice(self._pending, self._batch):
            if pending.seq > synced:
                break
            batch.append(pending)
        if self._spilled and not self._pending and (self._refill is None or self._refill.done()):
            self._refill = asyncio.ensure_future(self.read_back())
        if not batch:
            return None
        journal = self._journal.header.journal
        postables = [Postable(each.seq, each.frame, self._poison) for each in batch]
        return Errand(
            POST,
            post_frames,
            (journal, self._standings(batch), self._clock.now_us()),
            heard=lambda moved: self._heard(batch[-1].seq, moved),
            failed=lambda error: self._failed(batch, error),
            prepare=lambda: digest(journal, postables),
        )

    def _standings(self, batch: Sequence[Pending]) -> dict[int, Standing]:
        """The windows these records were counted in, as they stand now."""
        standings = {}
        for pending in batch:
            for window, _, _ in pending.parts:
                state = self._book.windows.get(window)
                if state is not None and window not in standings:
                    standings[window] = Standing(state.lease, state.in_flight)
        return standings

    def _heard(self, last_seq: int, moved: Mapping[int, Moved]) -> None:
        if self._poison:
            self.quarantined += 1
            self._poison = ""
        self._batch = min(BATCH, self._batch * 2)
        for window, each in moved.items():
            state = self._book.windows.get(window)
            if state is not None:
                state.lease -= each.shrunk
                state.shown_held = each.held
                state.cap, state.spent, state.leased, state.overrun = (
                    each.cap,
                    each.spent,
                    each.leased,
                    each.overrun,
                )
        self.advance(last_seq)

    def advance(self, posted: int) -> None:
        """Every record up to `posted` is in SQL: their charges are no longer this worker's to count."""
        while self._pending and self._pending[0].seq <= posted:
            pending = self._pending.popleft()
            of_call = self._calls[pending.call]
            of_call.remove(pending)
            if not of_call:
                del self._calls[pending.call]
            for window, charged, _ in pending.parts:
                state = self._book.windows.get(window)
                if state is not None:
                    state.unposted -= charged
        if posted > self.posted:
            self.posted = posted
            self._journal.note_posted(posted)

    def _failed(self, batch: Sequence[Pending], error: Exception) -> None:
        if isinstance(error, (DatabaseAway, SerialMoved, OSError)):
            return
        if len(batch) > 1:
            self._batch = len(batch) // 2
            return
        seq = batch[0].seq
        if self._suspect != seq:
            # What is wrong may be what this worker believes of its leases, not the record.
            self._suspect = seq
            self._resync()
            return
        # Alone and refused again: its row is poison. Refused even without its row, its amounts are, too.
        logger.error("journal record %d is refused by the database: %s", seq, error)
        self._poison = f"amounts: {error}" if self._poison else f"row: {error}"


def _read_back(folder: Path, after_seq: int, up_to_seq: int) -> list[Pending]:
    found = []
    for seq, frame in read_postable(folder, after_seq, up_to_seq):
        record = decode(frame)
        assert isinstance(record, (Close, Correct))
        found.append(Pending(seq, record.facts.call, frame, record.parts))
    return found


def post_frames(
    conn: Connection, journal: str, standings: Mapping[int, Standing], now_us: int, batch: Batch
) -> dict[int, Moved]:
    """The body of a post."""
    return post(conn, journal, batch, standings, now_us)
