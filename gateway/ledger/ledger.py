"""The ledger of one worker: reserve and settle in memory, journal on disk, leases and posting in SQL.

    admit -> (written) -> upstream ... check ... -> close -> (written) -> the client's end of the answer

`admit`, `check` and `close` are synchronous and touch only memory; `acquire` is the slow way in, for a call
that the leases do not cover. Behind them run a journal (write, fsync), a courier (one transaction at a time:
asks, returns, posts), a poll (recalls, caps, what others hold) and an adopter (journals of dead workers).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gateway.clock import Clock
from gateway.domain.budgets import Budget, Need
from gateway.domain.ids import JOURNAL_BYTES, new_id
from gateway.ledger import refusals
from gateway.ledger.beats import Beats
from gateway.ledger.book import WindowState
from gateway.ledger.correcting import correction
from gateway.ledger.courier import Accounting
from gateway.ledger.entries import Postable
from gateway.ledger.finishing import Finisher
from gateway.ledger.holds import Hold, Pending
from gateway.ledger.identity import find_place, journal_id
from gateway.ledger.journal import AfterWrite, Journal
from gateway.ledger.machinery import FINISHED_BY_OTHERS, Machinery
from gateway.ledger.poster import RECENT
from gateway.ledger.records import VERSION, CallFacts, Closing, Correct, Header, decode
from gateway.ledger.telling import Balance, Health, Unposted, balance_of, health_of, left_of, unposted_of
from gateway.ledger.timer import SystemTimer, Timer
from gateway.ledger.waiter import Waiter
from gateway.store.claims import expire_claims
from gateway.store.corrections import booked
from gateway.store.engine import ADMIN, ASK
from gateway.store.journals import database_id
from gateway.store.outcomes import DatabaseFailed, DatabaseUnknown
from gateway.store.windows import forget_rate_windows

__all__ = ["Balance", "CallFacts", "Closing", "Health", "Hold", "Ledger", "Need", "Unposted"]

logger: Final = logging.getLogger("tollgate.ledger")

POLL_S: Final = 0.25
SHOW_S: Final = 1.0
ADOPT_S: Final = 5.0
TIDY_S: Final = 600.0
# Figures read longer ago than this are not told as if they were of now.
STALE_US: Final = 5_000_000
# Longer than a journal that names them may wait to be posted.
KEEP_RATES_US: Final = 7 * 86_400_000_000
# How much longer than `wait_s` a call waits for a transaction that is under way.
LAST_WORD_S: Final = 1.0


class Ledger:
    """Made by `Ledger.start`. Its parts are public, for whoever drives or looks at one step of it."""

    def __init__(
        self,
        parts: Machinery,
        database: Accounting,
        own: bytes,
        random_bytes: Callable[[int], bytes],
        clock: Clock,
        timer: Timer,
        wait_s: float,
    ) -> None:
        """`own` is the journal's id as bytes."""
        self._parts = parts
        self._database = database
        self._random_bytes = random_bytes
        self._clock = clock
        self._timer = timer
        self._wait_s = wait_s
        self._beats = Beats(timer)
        self._carrying = Beats(timer)
        self._is_stopping = False
        self.journal_id = parts.journal.header.journal
        self.journal_bytes = own  # the same, as it goes into call ids
        self.journal = parts.journal
        self.book = parts.book
        self.holds = parts.holds
        self.courier = parts.courier
        self.openings = parts.openings
        self.asks = parts.asks
        self.returns = parts.returns
        self.shown = parts.shown
        self.poster = parts.poster
        self.watcher = parts.watcher
        self.adopter = parts.adopter
        # The hot path, without a call between.
        self.admit = parts.holds.admit
        self.close = parts.holds.close
        self.check = parts.holds.check
        self.grow = parts.holds.grow
        self.after_write: Callable[[AfterWrite], None] = parts.journal.after_write

    # Starting and stopping.

    @classmethod
    async def start(
        cls,
        database: Accounting,
        data_dir: Path,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        *,
        max_journal_bytes: int = 1 << 30,
        max_records: int = RECENT,
        wait_s: float = 2.0,
        timer: Timer | None = None,
        beats: bool = True,
    ) -> Ledger:
        """Make this worker's journal, enter it in SQL, adopt what dead workers left, and run.

        Raises JournalUnsafe for a data directory on a network file system and Unavailable when the database
        cannot be reached. Of what waits to be posted `max_records` are kept in memory and
        `max_journal_bytes` on disk; past those, calls are refused. With `beats` off nothing runs by itself:
        a test takes each step.
        """
        loop = asyncio.get_running_loop()
        timer = timer or SystemTimer()
        place = await loop.run_in_executor(None, find_place, data_dir, random_bytes)
        try:
            name = await database.account(ASK, database_id, random_bytes(8).hex())
        except (DatabaseFailed, DatabaseUnknown) as error:
            raise refusals.away(str(error)) from None
        own = random_bytes(JOURNAL_BYTES)
        header = Header(journal_id(own), place.data_dir, name, place.boot_id, VERSION)
        journal = await Journal.create(place.journals, header, limit_bytes=max_journal_bytes, timer=timer)
        parts = Machinery(database, place, journal, clock, timer, max_records)
        ledger = cls(parts, database, own, random_bytes, clock, timer, wait_s)
        await ledger.courier.resync()
        await ledger.adopter.bring_back()
        await ledger.adopter.adopt_all()
        if beats:
            ledger._run()
        return ledger

    def _run(self) -> None:
        self._carrying.run(self.courier.run)
        self._beats.run(self.journal.run)
        self._beats.every(POLL_S, self.watcher.poll)
        self._beats.every(SHOW_S, self._show)
        self._beats.every(ADOPT_S, self.adopter.adopt_all)
        self._beats.every(TIDY_S, self.tidy)

    async def tidy(self) -> None:
        """Forget what nobody needs any more: old segments, claims past their time, minutes long gone."""
        now_us = self._clock.now_us()
        self.book.tidy()
        await self.adopter.prune()
        try:
            await self._database.account(ADMIN, expire_claims, now_us)
            await self._database.account(ADMIN, forget_rate_windows, now_us - KEEP_RATES_US)
        except (DatabaseFailed, DatabaseUnknown) as error:
            logger.warning("nothing was tidied up: %s", error)

    async def _show(self) -> None:
        self.shown.refresh()

    async def stop(self, limit_s: float = 5.0) -> bool:
        """Settle, post, give everything back, delete the journal (A5); waiting calls are refused.

        What is still open is closed with its last checkpoint. False when the database did not come along
        within the limit: the journal stays, for this or another worker to adopt.
        """
        self._is_stopping = True
        self.asks.refuse_all(refusals.stopping())
        self.holds.interrupt_all()
        self.journal.flush()
        self.courier.halt()
        await self._end_background()
        is_finished = await self._finish(limit_s)
        if is_finished:
            await self.journal.discard(self.poster.last_seq)
        else:
            logger.error("journal %s is left to be adopted", self.journal_id)
            await self.journal.close()
        return is_finished

    async def abandon(self) -> None:
        """Let go of everything, as a death would; only a transaction under way is waited for. The journal
        stays and is adopted."""
        self._is_stopping = True
        self.courier.halt()
        await self._end_background()
        await self.journal.close()

    async def _end_background(self) -> None:
        """End the beats. Nobody is cut off with a transaction under way or a dead worker's file in hand."""
        await self._carrying.ended()
        await self._beats.stop()
        await self.adopter.quiet()

    async def _finish(self, limit_s: float) -> bool:
        if self.courier.is_finished or self.journal.is_broken:
            return False
        try:
            await self.journal.synced(self.journal.seq)
        except OSError:
            return False
        deadline = asyncio.ensure_future(self._timer.pause(limit_s))
        # What waits is posted as always; only the end itself is special.
        self.courier.attach([self.poster])
        while not self.poster.is_nearly_done and not deadline.done():
            await self.poster.quiet()
            await self._step(deadline)
        finisher = self._parts.finisher = self._finisher()
        self.courier.attach([finisher])
        while not finisher.is_done and not self.courier.is_finished and not deadline.done():
            await self._step(deadline)
        deadline.cancel()
        return finisher.is_done

    async def _step(self, deadline: asyncio.Future[None]) -> None:
        await self.courier.step()
        await self.courier.back_off(deadline)

    def _finisher(self) -> Finisher:
        finisher = Finisher(self.journal_id, "finished", self._clock)
        leases = {window.id: window.lease for window in self.book if not window.is_rowless}
        finisher.known(leases, self.poster.posted)
        left = [Postable(each.seq, each.frame) for each in self.poster.pending]
        finisher.feed(left, is_last=True, rows=self.poster.rows)
        return finisher

    # The slow way in.

    async def acquire(self, facts: CallFacts, needs: Sequence[Need]) -> Hold:
        """Hold what a call needs, asking SQL and other workers for headroom.

        Raises BudgetExceeded, BudgetHeld, RateLimited or Unavailable. Cancelled, it holds nothing.
        """
        if self._is_stopping:
            raise refusals.stopping()
        if self.courier.is_finished:
            raise refusals.away(FINISHED_BY_OTHERS)
        waiter = self.asks.join(facts, needs)
        try:
            await self._wait(waiter)
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        self.asks.leave(waiter)
        if waiter.future.cancelled():
            raise waiter.refusal or refusals.away(self.courier.away_reason)
        hold = waiter.future.result()
        if hold.is_closed:
            # Its open record could not be written, and was taken back before this task had its turn.
            raise self.holds.refusal()
        return hold

    async def _wait(self, waiter: Waiter) -> None:
        if await self._within(waiter, self._wait_s):
            return
        if self.courier.away_since_us is None:
            self.asks.late(waiter)
            await self._within(waiter, LAST_WORD_S)

    async def _within(self, waiter: Waiter, seconds: float) -> bool:
        if waiter.future.done():
            return True
        pause = asyncio.ensure_future(self._timer.pause(seconds))
        await asyncio.wait((waiter.future, pause), return_when=asyncio.FIRST_COMPLETED)
        pause.cancel()
        return waiter.future.done()

    def _abandon(self, waiter: Waiter) -> None:
        """The client is gone: what it was just granted is voided, for nothing was sent."""
        self.asks.leave(waiter)
        if waiter.future.cancelled() or waiter.future.exception() is not None:
            return
        self.close(waiter.future.result(), _void(self._clock.now_us()))

    # What is known.

    def headroom(self, budget: Budget, subject: str) -> Balance | None:
        """The present window's figures as far as this worker knows; None when it has not used it lately."""
        window = self._known(budget, subject, self._clock.now_us())
        return None if window is None else balance_of(window)

    def left(self, budget: Budget, subject: str, now_us: int) -> int | None:
        """What of the present window can still be held, None when this worker has not used it lately."""
        window = self._known(budget, subject, now_us)
        return None if window is None else left_of(window)

    def _known(self, budget: Budget, subject: str, now_us: int) -> WindowState | None:
        line = self.book.lines.get((budget.id, subject))
        window = None if line is None else line.at(budget, now_us)
        is_fresh = window is not None and now_us - window.read_at_us <= STALE_US
        return window if is_fresh or self._parts.is_away else None

    async def balance(self, budget: Budget, subject: str) -> Balance:
        """The present window's figures, its row read now."""
        line = self.book.line(budget, subject)
        await self.openings.present([line])
        window = line.at(budget, self._clock.now_us())
        if window is None:
            raise refusals.away(self.courier.away_reason)
        await self.watcher.look_at([window])
        return balance_of(window)

    def budgets_changed(self, budgets: Sequence[str]) -> None:
        """Budgets were changed or deleted: their windows are read at the next poll, as always."""
        self.watcher.changed(set(budgets))

    async def correct(self, attempt: str, exact: Closing, reason: str, kind: str = "correction") -> bool:
        """Book a later, more exact figure for an attempt as an entry of its own, in the attempt's windows.

        `exact` is what the whole attempt comes to. True when an entry was made; False when nothing changes,
        when the attempt is not in the book yet, or when another correction of it is still to be posted.
        Raises what `store.outcomes` lists.
        """
        found = await self._database.watch(booked, attempt)
        if found is None:
            return False
        if any(_corrects(pending, attempt) for pending in self.poster.of_call(found.row.call)):
            return False
        made = correction(new_id("cor", self._random_bytes(16)), kind, found, exact, reason)
        if made is None:
            return False
        self.holds.correct(made)
        return True

    def unposted(self, call: str) -> list[Unposted]:
        """The ended attempts of a call that are not in SQL yet, in order."""
        return unposted_of(self.poster.of_call(call))

    @property
    def health(self) -> Health:
        """How it stands with the database, the journal and what dead workers left."""
        return health_of(self._parts)


def _corrects(pending: Pending, attempt: str) -> bool:
    record = decode(pending.frame)
    return isinstance(record, Correct) and record.facts.attempt == attempt


def _void(now_us: int) -> Closing:
    return Closing("void", None, None, {}, "none", None, [], ["client_gone"], 0, 0, 0, now_us, 0)
