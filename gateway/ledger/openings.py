"""Making windows known: each is opened in SQL once, and whoever asks for it meanwhile shares the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.domain.budgets import Budget
from gateway.domain.errors import GatewayError, Unavailable
from gateway.domain.periods import window as period_window
from gateway.ledger.book import Book, Line, WindowState
from gateway.ledger.courier import Accounting
from gateway.ledger.records import WindowRef
from gateway.ledger.timer import Timer
from gateway.store.engine import ASK, POST
from gateway.store.outcomes import DatabaseFailed, DatabaseUnknown
from gateway.store.windows import Opened, Opening, open_window

__all__ = ["Openings", "opening_at", "rows_of"]

RETRY_S: Final = 0.1


def opening_at(budget: Budget, subject: str, at_us: int) -> Opening:
    """The window of a budget and subject at an instant, as SQL names it."""
    found = period_window(budget.period, at_us, budget.timezone, budget.anchor_day, budget.anchor_month)
    return Opening(budget.id, subject, found.start_us, found.end_us)


async def rows_of(database: Accounting, refs: Iterable[WindowRef]) -> dict[WindowRef, int | None]:
    """The rows of windows that records name otherwise, opened if need be; raises as `store.outcomes` says."""
    found: dict[WindowRef, int | None] = {}
    for ref in refs:
        if not isinstance(ref, int):
            opened = await database.account(POST, open_window, Opening(*ref))
            found[ref] = None if opened is None else opened.window
    return found


class Openings:
    """The windows being opened by this worker."""

    def __init__(self, book: Book, database: Accounting, clock: Clock, timer: Timer) -> None:
        self._book = book
        self._database = database
        self._clock = clock
        self._timer = timer
        self._tasks: dict[Opening, asyncio.Task[GatewayError | None]] = {}

    async def present(self, lines: Sequence[Line]) -> GatewayError | None:
        """Make the windows of now known; an error when one cannot be. A database that is away is no error:
        the caller asks again."""
        now_us = self._clock.now_us()
        tasks = [self._task(line, opening_at(line.budget, line.subject, now_us)) for line in lines]
        answers = await asyncio.gather(*(asyncio.shield(task) for task in tasks))
        return next((answer for answer in answers if answer is not None), None)

    async def at(self, line: Line, at_us: int) -> WindowState | None:
        """Make the window of an instant to come known, if the database is there."""
        opening = opening_at(line.budget, line.subject, at_us)
        await asyncio.shield(self._task(line, opening))
        return line.windows.get(opening.starts_at_us)

    @property
    def is_busy(self) -> bool:
        """Whether any are under way."""
        return bool(self._tasks)

    async def quiet(self) -> None:
        """Wait for those under way."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    def _task(self, line: Line, opening: Opening) -> asyncio.Task[GatewayError | None]:
        task = self._tasks.get(opening)
        if task is None:
            task = self._tasks[opening] = asyncio.ensure_future(self._open(line, opening))
            task.add_done_callback(lambda _: self._tasks.pop(opening, None))
        return task

    async def _open(self, line: Line, opening: Opening) -> GatewayError | None:
        if opening.starts_at_us in line.windows:
            return None
        try:
            opened = await self._database.account(ASK, open_window, opening)
        except (DatabaseFailed, DatabaseUnknown):
            # Opening the same window twice is one window, so an unknown outcome is simply tried again.
            await self._timer.pause(RETRY_S)
            return None
        if opened is None:
            return Unavailable(
                "ledger_unavailable",
                f"Budget {line.budget.name} ({opening.budget}) is not in the database.",
                hint="It was deleted a moment ago; try again.",
                retry_after_s=1,
            )
        self._enter(line, opened)
        return None

    def _enter(self, line: Line, opened: Opened) -> None:
        state = self._book.open(line, opened.window, opened.opening.starts_at_us, opened.opening.ends_at_us)
        now_us = self._clock.now_us()
        state.heard(opened.cap, opened.spent, opened.leased, now_us)
        state.overrun = opened.overrun
        state.saw_recall(opened.recall, now_us)
