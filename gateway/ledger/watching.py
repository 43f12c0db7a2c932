"""The poll: what happened to the windows in use, and making the next ones ready ahead of their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final

from gateway.clock import Clock
from gateway.ledger.asks import Asks
from gateway.ledger.book import FOREVER_US, Book, WindowState
from gateway.ledger.courier import Accounting
from gateway.ledger.openings import Openings
from gateway.ledger.returns import IDLE_US, Returns
from gateway.store.outcomes import DatabaseFailed, DatabaseUnknown
from gateway.store.windows import watch

__all__ = ["Watcher"]

# Windows read in one statement.
CHUNK: Final = 500
# A window that was used this recently is looked at although nothing of it is leased, in every such poll.
RECENT_US: Final = 60_000_000
RECENT_POLLS: Final = 4
# A window that has rested this long is forgotten; it is read again when it is used again.
FORGET_US: Final = 600_000_000
# How long before its turn a window is opened and leased, at most, and as a part of its length. What is
# leased then is all there is if the database is away at the turn.
AHEAD_US: Final = 3_600_000_000
AHEAD_PART: Final = 4
AHEAD_SHARE: Final = 16


class Watcher:
    """Looks at SQL on behalf of the worker. Reads only; what it finds due, others do."""

    def __init__(
        self,
        book: Book,
        journal: str,
        database: Accounting,
        clock: Clock,
        openings: Openings,
        asks: Asks,
        returns: Returns,
        wake: Callable[[], None],
    ) -> None:
        self._book = book
        self._journal = journal
        self._database = database
        self._clock = clock
        self._openings = openings
        self._asks = asks
        self._returns = returns
        self._wake = wake
        self._changed: set[str] = set()
        self._polls = 0
        self.away_since_us: int | None = None  # since when the poll has failed, and why
        self.away_reason = ""

    def changed(self, budgets: set[str]) -> None:
        """These budgets are looked at in the next poll although nothing of them is in use."""
        self._changed |= budgets

    async def poll(self) -> None:
        """One look at everything in use; a database that is away is looked at again the next time."""
        now_us = self._clock.now_us()
        changed, self._changed = self._changed, set()
        try:
            await self.look_at(self._due(changed, now_us))
        except (DatabaseFailed, DatabaseUnknown) as error:
            self._changed |= changed
            self.away_since_us = self.away_since_us or now_us
            self.away_reason = str(error)
            return
        if self.away_since_us is not None:
            self.away_since_us, self.away_reason = None, ""
            self._wake()
        self._forget(now_us)
        await self._ahead(now_us)

    def _due(self, changed: set[str], now_us: int) -> list[WindowState]:
        """Windows with something of this worker's in every poll, those used lately now and then."""
        self._polls += 1
        with_recent = self._polls % RECENT_POLLS == 0
        return [
            each
            for each in self._book
            if each.is_busy
            or each.line.waiting
            or each.line.budget.id in changed
            or (with_recent and 0 <= now_us - each.used_at_us < RECENT_US)
        ]

    async def look_at(self, windows: Iterable[WindowState]) -> None:
        """Read these windows' rows and take in what they say; raises what `store.outcomes` lists."""
        # With nothing to look at a look still tells whether the database is there.
        known = {window.id: window.news for window in windows if not window.is_rowless}
        ids = iter(list(known) or [0])
        while chunk := list(islice(ids, CHUNK)):
            rows = await self._database.watch(watch, self._journal, chunk)
            self._returns.heard([(row, self._is_news(row.window, known)) for row in rows])

    def _is_news(self, window: int, known: Mapping[int, int]) -> bool:
        """Whether nothing was heard of the window while it was read: a posting may have been quicker, and
        what was read before it would set the window back."""
        state = self._book.windows.get(window)
        return state is not None and state.news == known.get(window)

    def _forget(self, now_us: int) -> None:
        for window in list(self._book):
            is_over = now_us >= window.ends_at_us or not 0 <= now_us - window.used_at_us < FORGET_US
            if is_over and not window.is_busy and not window.line.waiting:
                self._book.forget(window)

    async def _ahead(self, now_us: int) -> None:
        """Open the windows about to begin, for lines in use, and lease what was lately used at once."""
        for window in [each for each in self._book if _is_ending(each, now_us)]:
            line = window.line
            if window.ends_at_us in line.windows:
                continue
            after = await self._openings.at(line, window.ends_at_us)
            if after is not None and line.budget.is_hard:
                self._asks.ahead(after, _ahead_of(window, after))


def _ahead_of(window: WindowState, after: WindowState) -> int:
    """What to lease of the next window: of a rate what this worker had, of anything else a fair slice."""
    if window.line.budget.is_rate:
        return window.lease + window.booked
    return max(window.slice, after.cap // AHEAD_SHARE)


def _is_ending(window: WindowState, now_us: int) -> bool:
    # A line that rests is given up, not leased ahead for.
    if window.ends_at_us >= FOREVER_US or not 0 <= now_us - window.used_at_us < IDLE_US:
        return False
    length_us = window.ends_at_us - window.starts_at_us
    return 0 < window.ends_at_us - now_us <= min(AHEAD_US, length_us // AHEAD_PART)
