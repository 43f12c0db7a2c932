"""From the journal to SQL: closed calls in batches, once each, in the order of the file.

Only what is on disk is posted, so that after a power cut the file is never behind `posted`. A record that
SQL refuses is found by halving the batch and set aside in `quarantine`: its money counts, the rest goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.ledger.book import Book
from gateway.ledger.courier import Errand
from gateway.ledger.entries import Postable, digest
from gateway.ledger.files import read_postable
from gateway.ledger.holds import Pending
from gateway.ledger.journal import Journal
from gateway.ledger.records import Close, Correct, WindowRef, decode
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
        rows: Callable[[Iterable[WindowRef]], Awaitable[Mapping[WindowRef, int | None]]],
        recent: int,
    ) -> None:
        """`resync` has the journal's standing read before a record is taken for poison; `rows` opens the
        windows that records name without their row."""
        self._book = book
        self._journal = journal
        self._clock = clock
        self._wake = wake
        self._resync = resync
        self._open_rows = rows
        self.rows: dict[WindowRef, int | None] = {}
        self._recent = recent
        self._pending: deque[Pending] = deque()
        self._calls: dict[str, list[Pending]] = {}
        self._spilled = 0  # records that are only in the file
        self.last_seq = 0  # of the last record that is to be posted
        self._read_to = 0
        self._reading: asyncio.Future[None] | None = None  # of the file, or of windows
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
        """Whether one batch takes what is left, and nothing is to be read for it."""
        refs = (ref for each in self._pending for ref, _, _ in each.parts)
        are_known = all(isinstance(ref, int) or ref in self.rows for ref in refs)
        return not self._spilled and len(self._pending) <= BATCH and are_known

    @property
    def pending(self) -> Iterable[Pending]:
        """The records that wait in memory, in order: all of them but after a long outage."""
        return self._pending

    def add(self, pending: Pending) -> None:
        """A call was closed, or corrected."""
        self.last_seq = pending.seq
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

    @property
    def is_reading(self) -> bool:
        """Whether something has to be read before more can be posted."""
        return self._reading is not None

    async def quiet(self) -> None:
        """Wait for that."""
        if self._reading is not None:
            await asyncio.wait((self._reading,))

    def next_errand(self) -> Errand | None:
        """The next batch of what is on disk."""
        synced = self._journal.synced_seq
        batch = []
        for pending in islice(self._pending, self._batch):
            if pending.seq > synced:
                break
            batch.append(pending)
        if self._reading is not None or self._must_read(batch, synced):
            return None
        journal, rows = self._journal.header.journal, self.rows
        postables = [Postable(each.seq, each.frame, self._poison) for each in batch]
        return Errand(
            POST,
            post_frames,
            (journal, self._standings(batch), self._clock.now_us()),
            heard=lambda moved: self._heard(batch[-1].seq, moved),
            failed=lambda error: self._failed(batch, error),
            prepare=lambda: digest(journal, postables, rows),
        )

    def _must_read(self, batch: Sequence[Pending], synced: int) -> bool:
        """Whether this batch cannot be posted yet; begins to read what is missing."""
        if not batch:
            if self._spilled and synced > self._read_to:
                self._read(self._read_back(synced))
            return True
        refs = {ref for each in batch for ref, _, _ in each.parts if not isinstance(ref, int)}
        if refs - self.rows.keys():
            self._read(self._learn_rows(refs))
        return self._reading is not None

    def _read(self, work: Coroutine[Any, Any, None]) -> None:
        self._reading = asyncio.ensure_future(work)
        self._reading.add_done_callback(self._has_read)

    def _has_read(self, done: asyncio.Future[None]) -> None:
        self._reading = None
        if done.cancelled() or done.exception() is not None:
            # The database is away. Whatever shows that it is back wakes the courier, and this is tried again.
            return
        self._wake()

    async def _read_back(self, synced: int) -> None:
        """Take the next segment's records back into memory."""
        after = self._pending[-1].seq if self._pending else self.posted
        read = await asyncio.get_running_loop().run_in_executor(
            None, _read_back, self._journal.folder, after, synced
        )
        for pending in read:
            self._keep(pending)
        self._spilled -= len(read)
        self._read_to = read[-1].seq if read else synced

    async def _learn_rows(self, refs: Iterable[WindowRef]) -> None:
        self.rows.update(await self._open_rows(refs))

    def _standings(self, batch: Sequence[Pending]) -> dict[int, Standing]:
        """The windows these records were counted in, as they stand now."""
        standings = {}
        for pending in batch:
            for window, _, _ in pending.parts:
                state = self._book.windows.get(window)
                if state is not None and not state.is_rowless and state.id not in standings:
                    standings[state.id] = Standing(state.lease, state.in_flight)
        return standings

    def _heard(self, last_seq: int, moved: Mapping[int, Moved]) -> None:
        if self._poison:
            self.quarantined += 1
            self._poison = ""
        self._batch = min(BATCH, self._batch * 2)
        now_us = self._clock.now_us()
        for window, each in moved.items():
            state = self._book.windows.get(window)
            if state is not None:
                state.lease -= each.shrunk
                state.booked += each.shrunk
                state.shown_held = each.held
                state.heard(each.cap, each.spent, each.leased, now_us)
                state.overrun = each.overrun
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
                    if state.is_rowless:
                        state.lease -= charged  # a share is used once, like a lease
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
        # A correction is held by nobody: it moves nothing in this worker's book.
        parts = record.parts if isinstance(record, Close) else ()
        found.append(Pending(seq, record.facts.call, frame, parts))
    return found


def post_frames(
    conn: Connection, journal: str, standings: Mapping[int, Standing], now_us: int, batch: Batch
) -> dict[int, Moved]:
    """The body of a post."""
    return post(conn, journal, batch, standings, now_us)
