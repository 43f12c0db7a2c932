"""From the journal to SQL: closed calls in batches, once each, in the order of the file.

Only what is on disk is posted, so that after a power cut the file is never behind `posted`. A record that
SQL refuses is found by halving the batch and set aside in `quarantine`: its money counts, the rest goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.ledger.book import Book
from gateway.ledger.courier import Errand
from gateway.ledger.entries import Postable, digest
from gateway.ledger.holds import Pending
from gateway.ledger.journal import Journal
from gateway.store.engine import POST
from gateway.store.journals import SerialMoved
from gateway.store.outcomes import DatabaseAway
from gateway.store.posting import Batch, Moved, Standing, post

__all__ = ["BATCH", "Poster", "post_batch"]

logger = logging.getLogger("tollgate.ledger")

BATCH: Final = 500


class Poster:
    """What of this worker's journal is not in SQL yet."""

    def __init__(self, book: Book, journal: Journal, clock: Clock, *, wake: Callable[[], None]) -> None:
        self._book = book
        self._journal = journal
        self._clock = clock
        self._wake = wake
        self._pending: deque[Pending] = deque()
        self._calls: dict[str, list[Pending]] = {}
        self._batch = BATCH
        self._poison = ""
        self.posted = 0
        self.quarantined = 0

    @property
    def pending(self) -> Iterable[Pending]:
        """The records that wait, in order."""
        return self._pending

    @property
    def unposted(self) -> int:
        """How many records wait."""
        return len(self._pending)

    def add(self, pending: Pending) -> None:
        """A call was closed, or corrected."""
        self._pending.append(pending)
        self._calls.setdefault(pending.call, []).append(pending)

    def of_call(self, call: str) -> Sequence[Pending]:
        """The records of a call that are not posted yet."""
        return self._calls.get(call, ())

    def next_errand(self) -> Errand | None:
        """The next batch of what is on disk."""
        synced = self._journal.synced_seq
        batch = []
        for pending in islice(self._pending, self._batch):
            if pending.seq > synced:
                break
            batch.append(pending)
        if not batch:
            return None
        journal = self._journal.header.journal
        postables = [Postable(each.seq, each.frame, each.open_frame, self._poison) for each in batch]
        return Errand(
            POST,
            post_batch,
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
            if pending.segment is not None:
                self._journal.posted(pending.segment)
        if posted > self.posted:
            self.posted = posted
            self._journal.note_posted(posted)

    def _failed(self, batch: Sequence[Pending], error: Exception) -> None:
        if isinstance(error, (DatabaseAway, SerialMoved, OSError)):
            return
        if len(batch) > 1:
            self._batch = len(batch) // 2
            return
        # Alone and refused: its row is poison. Refused again without its row, its amounts are, too.
        logger.error("journal record %d is refused by the database: %s", batch[0].seq, error)
        self._poison = f"amounts: {error}" if self._poison else f"row: {error}"


def post_batch(
    conn: Connection, journal: str, standings: Mapping[int, Standing], now_us: int, batch: Batch
) -> dict[int, Moved]:
    """The body of a post."""
    return post(conn, journal, batch, standings, now_us)
