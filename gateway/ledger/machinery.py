"""What a ledger is made of, put together: who wakes whom, and what happens after a resync."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from gateway.clock import Clock
from gateway.ledger import refusals
from gateway.ledger.adopter import Adopter
from gateway.ledger.asks import Asks
from gateway.ledger.book import Book
from gateway.ledger.courier import Accounting, Courier, Identity
from gateway.ledger.finishing import Finisher
from gateway.ledger.holds import Holds
from gateway.ledger.identity import Place
from gateway.ledger.journal import Journal
from gateway.ledger.openings import Openings, rows_of
from gateway.ledger.poster import Poster
from gateway.ledger.returns import Returns, Shown
from gateway.ledger.timer import Timer
from gateway.ledger.watching import Watcher
from gateway.store.journals import Standing

__all__ = ["FINISHED_BY_OTHERS", "Machinery"]

logger: Final = logging.getLogger("tollgate.ledger")

FINISHED_BY_OTHERS: Final = "this worker's journal was finished by somebody else"


class Machinery:
    """The parts of one worker's ledger. Each does one thing and is told the rest when it is made."""

    def __init__(
        self,
        database: Accounting,
        place: Place,
        journal: Journal,
        clock: Clock,
        timer: Timer,
        max_records: int,
    ) -> None:
        own = journal.header.journal
        self.journal = journal
        self.finisher: Finisher | None = None  # once the worker stops
        self.book = book = Book()
        self.holds = Holds(book, journal, clock)
        self.courier = courier = Courier(
            database,
            Identity(own, journal.header.data_dir, place.host),
            clock,
            timer,
            posted=lambda: self.poster.posted,
            synced=journal.synced,
            on_resync=self._resynced,
            on_finished=self._was_finished,
        )
        wake = courier.wake
        self.openings = Openings(book, database, clock, timer)
        self.shown = Shown(book, own, clock, wake=wake, last_word_us=lambda: courier.heard_at_us)
        self.asks = Asks(
            book,
            self.holds,
            own,
            clock,
            timer,
            wake=wake,
            open_windows=self.openings.present,
            on_refused=self.shown.refused,
            is_away=lambda: self.is_away,
        )
        self.returns = Returns(book, own, clock, last_seq=lambda: journal.seq, wake=wake)
        rows = partial(rows_of, database)
        self.poster = Poster(
            book, journal, clock, wake=wake, resync=courier.drift, rows=rows, recent=max_records
        )
        self.watcher = Watcher(book, own, database, clock, self.openings, self.asks, self.returns, wake)
        self.adopter = Adopter(place, own, database, journal.header.database, clock)
        self._join()

    def _join(self) -> None:
        self.journal.attach(self.holds.withdrawn, self.courier.wake)
        self.holds.attach(
            on_pending=self.poster.add,
            on_freed=self.asks.serve,
            on_low=self.asks.low,
            on_short=self.asks.short,
        )
        self.courier.attach([self.asks, self.returns, self.shown, self.poster])

    @property
    def is_away(self) -> bool:
        """Whether the database did not come along the last time somebody tried."""
        return self.courier.away_since_us is not None or self.watcher.away_since_us is not None

    def _resynced(self, standing: Standing) -> None:
        """How SQL says this journal stands, after an outcome that was not heard: one step of the loop."""
        if self.finisher is not None:
            self.finisher.resynced(standing)
            return
        self.poster.advance(standing.posted)
        for state in self.book:
            if not state.is_rowless:
                state.lease, state.answered = standing.leases.get(state.id, (0, 0))
                state.returning = 0
        self.returns.resynced(standing.leases)
        self.asks.resume()

    def _was_finished(self, standing: Standing | None) -> None:
        if self.finisher is not None and standing is not None and self.finisher.has_ended(standing):
            return
        logger.critical(
            "journal %s was finished, or its database restored, while this worker lives: it must not go on",
            self.journal.header.journal,
        )
        self.journal.refuse(FINISHED_BY_OTHERS)
        self.asks.refuse_all(refusals.away(FINISHED_BY_OTHERS))
