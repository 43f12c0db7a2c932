"""The end of a journal: everything left is posted, and with the last of it every lease goes back (A5).

A worker does this to its own journal when it stops, an adopter to a dead one's. Leases are returned in the
transaction that posts the last charge and not before: headroom sold earlier would be paid for twice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.ledger.courier import Errand
from gateway.ledger.entries import Postable, Rows, digest
from gateway.ledger.poster import BATCH
from gateway.store.engine import POST
from gateway.store.journals import Finished, SerialMoved, finish
from gateway.store.journals import Standing as JournalStanding
from gateway.store.outcomes import DatabaseAway
from gateway.store.posting import Batch, Moved, Standing, post

__all__ = ["Finisher"]

logger: Final = logging.getLogger("tollgate.ledger")


class Finisher:
    """Posts what is left of one journal, then finishes it. The source of its courier's last errands."""

    def __init__(self, journal: str, state: Finished, clock: Clock) -> None:
        self._journal = journal
        self._state = state
        self._clock = clock
        self._left: deque[Postable] = deque()
        self._rows: Rows = {}
        self._has_all = False
        self._leases: dict[int, int] = {}
        self._posted = 0
        self._batch = BATCH
        self._poison = ""
        self._end: int | None = None  # the last record's seq, once the last batch was sent
        self.is_done = False

    def feed(self, postables: Iterable[Postable], is_last: bool, rows: Rows) -> None:
        """More of the journal, in order; after the last of it comes the end. `rows` is for `digest`."""
        self._rows = rows
        self._left.extend(each for each in postables if each.seq > self._posted)
        self._has_all = is_last

    def resynced(self, standing: JournalStanding) -> None:
        """How SQL says the journal stands."""
        self._leases = {window: amount for window, (amount, _) in standing.leases.items()}
        self._drop(standing.posted)

    def known(self, leases: Mapping[int, int], posted: int) -> None:
        """How the worker itself knows it to stand."""
        self._leases = dict(leases)
        self._posted = posted

    def has_ended(self, standing: JournalStanding) -> bool:
        """Whether this is the end that was sent: its answer was lost, and SQL has all of it."""
        self.is_done = standing.state == self._state and standing.posted == self._end
        return self.is_done

    def next_errand(self) -> Errand | None:
        """The next batch; the last one finishes the journal. None when done, or when it must be fed."""
        if self.is_done or not (self._left or self._has_all):
            return None
        batch = [each._replace(poison=self._poison) for each in islice(self._left, self._batch)]
        is_last = self._has_all and len(batch) == len(self._left)
        if is_last:
            self._end = batch[-1].seq if batch else self._posted
        standings = {window: Standing(amount, 0) for window, amount in self._leases.items()}
        journal, rows = self._journal, self._rows
        return Errand(
            POST,
            _post_and_finish,
            (journal, standings, self._clock.now_us(), self._state if is_last else None),
            heard=lambda moved: self._heard(batch, is_last, moved),
            failed=lambda error: self._failed(batch, error),
            prepare=lambda: digest(journal, batch, rows) if batch else None,
        )

    def _heard(self, batch: Sequence[Postable], is_last: bool, moved: Mapping[int, Moved]) -> None:
        self._poison = ""
        self._batch = min(BATCH, self._batch * 2)
        for window, each in moved.items():
            self._leases[window] = self._leases.get(window, 0) - each.shrunk
        self._drop(batch[-1].seq if batch else 0)
        self.is_done = is_last

    def _drop(self, posted: int) -> None:
        self._posted = max(self._posted, posted)
        while self._left and self._left[0].seq <= posted:
            self._left.popleft()

    def _failed(self, batch: Sequence[Postable], error: Exception) -> None:
        if isinstance(error, (DatabaseAway, SerialMoved, OSError)):
            return
        if len(batch) > 1:
            self._batch = len(batch) // 2
            return
        logger.error("a record of journal %s is refused by the database: %s", self._journal, error)
        self._poison = f"amounts: {error}" if self._poison else f"row: {error}"


def _post_and_finish(
    conn: Connection,
    journal: str,
    standings: Mapping[int, Standing],
    now_us: int,
    state: Finished | None,
    batch: Batch | None,
) -> Mapping[int, Moved]:
    moved = {} if batch is None else post(conn, journal, batch, standings, now_us)
    if state is not None:
        finish(conn, journal, state)
    return moved
