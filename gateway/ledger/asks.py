"""Calls that wait for headroom, and asking SQL for it: the slow way in.

Calls wait in one queue per budget and subject, first come first served; a call that needs several budgets
is in all their queues and asks, once it heads them all, for everything it lacks in one transaction. What it
is granted it is admitted on in the same step. It is refused on what is free at that moment, never on what is
remembered, and only after every worker that has headroom was asked to give it back and has answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.domain.budgets import Need
from gateway.domain.errors import GatewayError
from gateway.ledger import refusals
from gateway.ledger.book import Book, Line, WindowState
from gateway.ledger.courier import Errand
from gateway.ledger.holds import Holds
from gateway.ledger.records import CallFacts
from gateway.ledger.slack import slack_for, top_up
from gateway.ledger.timer import Timer
from gateway.ledger.waiter import Waiter
from gateway.store.engine import ASK
from gateway.store.leases import Asked, Granted, Refused, Shortage, ask

__all__ = ["Asks"]

ASK_AGAIN_S: Final = 0.05
FRESH_US: Final = 1_000_000
# A call past its time is judged at the next answer; headroom that keeps moving may postpone that this often.
LATE_ASKS: Final = 8
# Calls behind the head whose needs one ask may cover too.
LOOK_AHEAD: Final = 64


class Asks:
    """The queues of one worker."""

    def __init__(
        self,
        book: Book,
        holds: Holds,
        journal: str,
        clock: Clock,
        timer: Timer,
        *,
        wake: Callable[[], None],
        open_windows: Callable[[Sequence[Line]], Awaitable[GatewayError | None]],
        on_refused: Callable[[WindowState], None],
        is_away: Callable[[], bool],
    ) -> None:
        """`open_windows` makes the present windows of these lines known, or says why not; `wake` says that
        there is an errand; `on_refused` hears of each refusal; `is_away` knows about the database."""
        self._book = book
        self._holds = holds
        self._journal = journal
        self._clock = clock
        self._timer = timer
        self._wake = wake
        self._open_windows = open_windows
        self._on_refused = on_refused
        self._is_away = is_away
        self._waiters: dict[Waiter, None] = {}
        self._ready: deque[Waiter] = deque()
        self._low: dict[WindowState, int] = {}  # what to lease ahead of need; 0: as the slack has it
        self._recalls: set[WindowState] = set()  # those of which others are to give back what lies idle
        self._under_way: list[WindowState] = []
        self._pauses: set[asyncio.Task[None]] = set()

    # The queues.

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiters)

    def join(self, facts: CallFacts, needs: Sequence[Need]) -> Waiter:
        """Queue a call; its future gets the hold or the refusal."""
        waiter = Waiter(facts, needs, [self._book.line(need.budget, need.subject) for need in needs])
        for _, line in waiter.pairs:
            line.waiting.append(waiter)
        self._waiters[waiter] = None
        if waiter.is_head:
            self._try(waiter)
        return waiter

    def late(self, waiter: Waiter) -> None:
        """The call's time is up: it is judged at the next answer."""
        waiter.is_late = True
        self._is_ready(waiter)

    def leave(self, waiter: Waiter) -> None:
        """The call waits no longer."""
        if not waiter.future.done():
            waiter.future.cancel()
            self._settle(waiter)

    def serve(self, line: Line) -> None:
        """Headroom may have come free: admit from the head of the queue for as long as calls fit."""
        while line.waiting:
            waiter: Waiter = line.waiting[0]
            if not waiter.is_head or not self._try(waiter):
                return

    def resume(self) -> None:
        """After a resync: an ask whose answer was not heard is put again."""
        self._put([])
        for waiter in list(self._waiters):
            if not waiter.future.done() and waiter.is_head:
                self._try(waiter)
            elif waiter.is_late:
                self._is_ready(waiter)

    def refuse_all(self, error: GatewayError) -> None:
        """The worker stops: nobody waits any more."""
        for waiter in list(self._waiters):
            self._refuse(waiter, error)
        for task in self._pauses:
            task.cancel()

    def _try(self, waiter: Waiter) -> bool:
        hold = self._holds.admit(waiter.facts, waiter.needs, is_head=True)
        if hold is None:
            self._is_ready(waiter)
            return False
        self._settle(waiter)
        waiter.future.set_result(hold)
        return True

    def _refuse(self, waiter: Waiter, error: GatewayError) -> None:
        self._settle(waiter)
        waiter.future.set_exception(error)

    def _settle(self, waiter: Waiter) -> None:
        """Out of the queues; whoever heads them now has their turn in the next step of the loop."""
        del self._waiters[waiter]
        loop = asyncio.get_running_loop()
        for _, line in waiter.pairs:
            line.waiting.remove(waiter)
            if line.waiting:
                loop.call_soon(self.serve, line)

    def _is_ready(self, waiter: Waiter) -> None:
        if not waiter.is_queued:
            waiter.is_queued = True
            self._ready.append(waiter)
            self._wake()

    # Asking.

    def low(self, window: WindowState) -> None:
        """A window's free headroom runs low: ask ahead of need."""
        self._low[window] = 0
        self._wake()

    def next_errand(self) -> Errand | None:
        """The next ask: for a call first, ahead of need otherwise."""
        while self._ready:
            waiter = self._ready.popleft()
            waiter.is_queued = False
            if waiter.future.done() or not (waiter.is_late or waiter.is_head):
                continue
            errand = self._errand(waiter)
            if errand is not None:
                return errand
        return self._top_up()

    def _errand(self, waiter: Waiter) -> Errand | None:
        now_us = self._clock.now_us()
        unknown = waiter.unknown(now_us)
        if unknown and self._is_away():
            unknown = [line for line in unknown if not self._book.go_on(line, now_us)]
        if unknown:
            self._later(self._after_opening(waiter, unknown))
            return None
        wanted = waiter.wanted(now_us)
        # What was read a moment ago decides without SQL; the poll keeps it so fresh while it is in use.
        fresh = [each for each in wanted if 0 <= now_us - each[0].read_at_us < FRESH_US]
        if self._refuse_final(waiter, fresh, now_us):
            return None
        short = [(window, need - window.free) for window, need in wanted if need > window.free]
        if self._refuse_rowless(waiter, short, now_us):
            return None
        if not short:
            if not self._try(waiter):
                # There is room in every window and the call was still not taken: the journal is full.
                self._refuse(waiter, self._holds.refusal())
            return None
        waiter.shorts = {window.id: missing for window, missing in short}
        self._put([window for window, _ in short])
        asked = [self._asked(waiter, window, missing, now_us) for window, missing in short]
        return Errand(
            ASK,
            ask,
            (self._journal, asked, True),
            heard=lambda result: self._heard(waiter, result),
            failed=lambda error: self._failed(waiter),
        )

    def _refuse_rowless(self, waiter: Waiter, short: Sequence[tuple[WindowState, int]], now_us: int) -> bool:
        """The share of a window that could not be leased is used up: nobody can be asked for more."""
        rowless = next((window for window, _ in short if window.is_rowless), None)
        if rowless is not None:
            needs = dict(waiter.wanted(now_us))
            self._refuse(waiter, refusals.held(rowless, needs[rowless], now_us))
        return rowless is not None

    def _asked(self, waiter: Waiter, window: WindowState, short: int, now_us: int) -> Asked:
        slack = slack_for(window, short, self._behind(window.line, waiter), now_us)
        return Asked(window.id, short, slack, waiter.recalls.get(window.id), window.in_flight)

    @staticmethod
    def _behind(line: Line, waiter: Waiter) -> int:
        total = 0
        for _, other in zip(range(LOOK_AHEAD), line.waiting, strict=False):
            if other is not waiter:
                total += sum(need.amount for need, its in other.pairs if its is line)
        return total

    async def _after_opening(self, waiter: Waiter, lines: Sequence[Line]) -> None:
        error = await self._open_windows(lines)
        if error is None:
            self._is_ready(waiter)
        elif not waiter.future.done():
            self._refuse(waiter, error)

    async def _after_pause(self, waiter: Waiter) -> None:
        await self._timer.pause(ASK_AGAIN_S)
        self._is_ready(waiter)

    def _later(self, work: Awaitable[None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._pauses.add(task)
        task.add_done_callback(self._pauses.discard)

    # Answers.

    def _heard(self, waiter: Waiter, result: Granted | Refused) -> None:
        self._put([])
        if isinstance(result, Granted):
            self._granted(result)
            for _, line in waiter.pairs:
                self.serve(line)
            if not waiter.future.done():
                self._is_ready(waiter)
        else:
            for shortage in result.shortages:
                self._learn(shortage)
            if not waiter.future.done():
                self._judge(waiter, result.shortages)

    def _failed(self, waiter: Waiter) -> None:
        self._put([])
        self._is_ready(waiter)

    def _put(self, windows: list[WindowState]) -> None:
        """An ask for these is under way, and none before it: they are remembered until it is answered.

        What it brings would have nobody to keep it otherwise. The courier carries one errand at a time.
        """
        for window in self._under_way:
            window.is_asked = False
        for window in windows:
            window.is_asked = True
        self._under_way = windows

    def _granted(self, result: Granted) -> None:
        now_us = self._clock.now_us()
        for window, amount in result.amounts.items():
            state = self._book.windows[window]
            state.lease += amount
            state.answered = 0
            state.low = state.slice // 2
            cap, spent, leased, recall = result.figures[window]
            state.heard(cap, spent, leased, now_us)
            state.saw_recall(recall, now_us)

    def _learn(self, shortage: Shortage) -> None:
        state = self._book.windows[shortage.window]
        state.heard(shortage.cap, shortage.spent, shortage.leased, self._clock.now_us())
        state.others_held = sum(other.held for other in shortage.others)

    def _judge(self, waiter: Waiter, shortages: Sequence[Shortage]) -> None:
        """Refuse, wait, or ask again because something moved since the question was put."""
        now_us = self._clock.now_us()
        for shortage in shortages:
            waiter.recalls.setdefault(shortage.window, shortage.recall)
        wanted = waiter.wanted(now_us)
        shorts = {window.id: need - window.free for window, need in wanted if need > window.free}
        if shorts != waiter.shorts and waiter.late_asks < LATE_ASKS:
            if shorts.keys() - waiter.shorts.keys():
                # The window turned: what was recalled in the old one says nothing about the new one.
                waiter.recalls.clear()
            waiter.late_asks += waiter.is_late
            self._is_ready(waiter)
            return
        fell_short = {shortage.window for shortage in shortages}
        short = [(window, need) for window, need in wanted if window.id in fell_short]
        if not short:
            self._is_ready(waiter)
        elif not self._refuse_final(waiter, short, now_us):
            self._hold_off(waiter, shortages, short[0], now_us)

    def _hold_off(
        self, waiter: Waiter, shortages: Sequence[Shortage], first: tuple[WindowState, int], now_us: int
    ) -> None:
        """It would fit but for what is in flight: refuse once everybody has answered, or time is up."""
        window, need = first
        unanswered = sorted({journal for shortage in shortages for journal in shortage.unanswered})
        waiter.refusal = refusals.held(window, need, now_us, unanswered)
        # With nothing in flight what is missing is on its way: not posted yet, or leased again since.
        is_idle = not (window.held or window.others_held)
        is_coming = is_idle and window.spent + window.unposted + need <= window.cap
        if waiter.is_late or not (unanswered or is_coming):
            self._on_refused(window)
            self._refuse(waiter, waiter.refusal)
            return
        if not unanswered:
            waiter.recalls.clear()
        self._later(self._after_pause(waiter))

    def _refuse_final(self, waiter: Waiter, wanted: Sequence[tuple[WindowState, int]], now_us: int) -> bool:
        """Refuse when a cap cannot pay for the call whatever happens to those in flight."""
        for window, need in wanted:
            if refusals.is_final(window, need):
                window.used_at_us = now_us
                self._on_refused(window)
                self._refuse(waiter, refusals.exceeded(window, need, now_us))
                return True
        return False

    # Ahead of need.

    def ahead(self, window: WindowState, amount: int) -> None:
        """Lease this much of a window that is about to begin."""
        if amount > 0:
            self._low[window] = amount
            self._wake()

    def short(self, window: WindowState, amount: int) -> None:
        """A running call could not grow by this much: lease it, from what idles with others if need be."""
        self._recalls.add(window)
        self.ahead(window, amount)

    def _top_up(self) -> Errand | None:
        now_us = self._clock.now_us()
        while self._low:
            window, amount = self._low.popitem()
            may_recall = window in self._recalls
            self._recalls.discard(window)
            if self._book.windows.get(window.ref) is not window:
                continue  # forgotten before its turn came
            if not amount and not window.line.waiting:
                amount = top_up(window, now_us)
            if amount > 0:
                window.low = 0
                self._put([window])
                asked = [Asked(window.id, amount, 0, None if may_recall else 0, window.in_flight)]
                return Errand(
                    ASK,
                    ask,
                    (self._journal, asked, may_recall),
                    heard=self._topped_up,
                    failed=lambda error: self._put([]),
                )
        return None

    def _topped_up(self, result: Granted | Refused) -> None:
        self._put([])
        if isinstance(result, Granted):
            self._granted(result)
        else:
            for shortage in result.shortages:
                self._learn(shortage)
