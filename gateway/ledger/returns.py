"""Giving headroom back: when somebody recalled it, when it lies idle, when its window has ended.

What is returned leaves `free` before the transaction is sent, and every record the figure rests on is on
disk by then. The answer names the recall that was read before the figure was taken; a worker that has
nothing free answers all the same, and so does one whose own calls wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.ledger.book import Book, WindowState
from gateway.ledger.courier import Errand
from gateway.store.alerts import note_exceeded
from gateway.store.engine import RETURN
from gateway.store.leases import give_back, show_held
from gateway.store.windows import Watched, note_refusal

__all__ = ["IDLE_US", "Returns", "Shown"]

IDLE_US: Final = 5_000_000
# Well below what others take for silence; it is only shown, and decides nothing.
SILENT_US: Final = 5_000_000
# Several times as long as a call waits for headroom.
RECALL_US: Final = 20_000_000
# Windows in one transaction: it holds their rows, and somebody's ask waits for it.
BATCH: Final = 200


class Returns:
    """What this worker gives back."""

    def __init__(
        self, book: Book, journal: str, clock: Clock, *, last_seq: Callable[[], int], wake: Callable[[], None]
    ) -> None:
        """`last_seq` is the seq of the last record appended."""
        self._book = book
        self._journal = journal
        self._clock = clock
        self._last_seq = last_seq
        self._wake = wake
        self._due: dict[WindowState, int] = {}
        self._orphans: dict[int, int] = {}

    def heard(self, watched: Iterable[tuple[Watched, bool]]) -> None:
        """Take in what a poll read, and note which windows are to be returned or answered.

        With each row goes whether its figures are the latest; a recall counts whichever they are.
        """
        now_us = self._clock.now_us()
        for each, is_latest in watched:
            state = self._book.windows.get(each.window)
            if state is None:
                continue
            if is_latest:
                state.heard(each.cap, each.spent, each.leased, now_us)
                state.overrun, state.others_held = each.overrun, each.others_held
                state.answered = each.answered
            state.saw_recall(max(each.recall, state.recall), now_us)
            self._judge(state, each, now_us)
        if self._due:
            self._wake()

    def _judge(self, state: WindowState, read: Watched, now_us: int) -> None:
        if not state.lease:
            return
        if now_us >= state.ends_at_us:
            state.line.keep_share(state)
        is_recalled = read.recall > read.answered and self._is_fresh(state, now_us)
        if is_recalled or (state.free > 0 and self._is_idle(state, now_us)):
            self._due[state] = read.recall

    @staticmethod
    def _is_fresh(state: WindowState, now_us: int) -> bool:
        # Each grant withdraws the answer, so that a window recalled once would give back its slack for ever.
        # A number first seen longer ago than any call waits has nobody behind it who could be refused.
        return now_us - state.recall_seen_at_us < RECALL_US

    @staticmethod
    def _is_idle(state: WindowState, now_us: int) -> bool:
        if now_us < state.starts_at_us:
            # Leased ahead of its turn, for as long as the window before it is in use.
            before = state.line.current
            return before is None or not 0 <= now_us - before.used_at_us < IDLE_US
        last_us = max(state.used_at_us, state.starts_at_us)
        return now_us >= state.ends_at_us or not 0 <= now_us - last_us < IDLE_US

    def resynced(self, leases: Mapping[int, tuple[int, int]]) -> None:
        """Leases of windows that this worker has forgotten (granted, unheard) go back as they are."""
        self._orphans = {
            window: amount for window, (amount, _) in leases.items() if window not in self._book.windows
        }
        if self._orphans:
            self._wake()

    def next_errand(self) -> Errand | None:
        """One transaction for what is due; the figures are taken now, and leave `free` now."""
        batch: list[tuple[WindowState, int, int]] = []
        while self._due and len(batch) < BATCH:
            state, recall = self._due.popitem()
            amount = max(0, state.free)
            state.returning += amount
            batch.append((state, amount, recall))
        returns = [(state.id, amount, recall, state.in_flight) for state, amount, recall in batch]
        orphans, self._orphans = self._orphans, {}
        returns += [(window, amount, 0, 0) for window, amount in orphans.items()]
        if not returns:
            return None
        return Errand(
            RETURN,
            give_back,
            (self._journal, returns),
            sync_to=self._last_seq(),
            heard=lambda _: self._returned(batch),
            failed=lambda _: self._undone(batch, orphans),
        )

    @staticmethod
    def _returned(batch: Sequence[tuple[WindowState, int, int]]) -> None:
        for state, amount, recall in batch:
            state.lease -= amount
            state.returning -= amount
            state.leased -= amount
            state.answered = recall
            state.shown_held = state.in_flight

    def _undone(self, batch: Sequence[tuple[WindowState, int, int]], orphans: Mapping[int, int]) -> None:
        self._orphans.update(orphans)
        # Nothing happened, certainly; the next poll finds it due again.
        for state, amount, _ in batch:
            state.returning -= amount


class Shown:
    """What others see of this worker: how much it holds, when it last said a word, its first refusals."""

    def __init__(
        self,
        book: Book,
        journal: str,
        clock: Clock,
        *,
        wake: Callable[[], None],
        last_word_us: Callable[[], int],
    ) -> None:
        """`last_word_us` is when a transaction of this journal was last heard."""
        self._book = book
        self._journal = journal
        self._clock = clock
        self._wake = wake
        self._last_word_us = last_word_us
        self._is_due = False
        self._refused: dict[WindowState, None] = {}

    def refresh(self) -> None:
        """Once a second: write what changed; say a word now and then while anything is held."""
        now_us = self._clock.now_us()
        is_silent = not 0 <= now_us - self._last_word_us() < SILENT_US
        self._is_due = bool(self._changed()) or (is_silent and any(each.is_busy for each in self._book))
        if self._is_due:
            self._wake()

    def _changed(self) -> list[WindowState]:
        return [each for each in self._book if each.shown_held != each.in_flight and not each.is_rowless]

    def refused(self, state: WindowState) -> None:
        """A call was refused in this window; the first one under a cap is an event."""
        if not state.is_refused:
            state.is_refused = True
            self._refused[state] = None
            self._wake()

    def next_errand(self) -> Errand | None:
        """One transaction for both."""
        refused = list(self._refused)
        if not self._is_due and not refused:
            return None
        changed = self._changed() if self._is_due else []
        self._is_due = False
        self._refused.clear()
        held = [(each.id, each.in_flight) for each in changed]
        figures = [(each.id, each.in_flight + each.others_held) for each in refused]
        return Errand(
            RETURN,
            _show,
            (self._journal, held, figures, self._clock.now_us()),
            heard=lambda _: self._shown(changed, held),
            failed=lambda _: self._refused.update(dict.fromkeys(refused)),
        )

    @staticmethod
    def _shown(changed: Sequence[WindowState], held: Sequence[tuple[int, int]]) -> None:
        for state, (_, amount) in zip(changed, held, strict=True):
            state.shown_held = amount


def _show(
    conn: Connection,
    journal: str,
    held: Sequence[tuple[int, int]],
    refused: Sequence[tuple[int, int]],
    now_us: int,
) -> None:
    # Window rows before lease rows, in ascending order, as every transaction takes them.
    for window, in_flight in sorted(refused):
        if note_refusal(conn, window, now_us):
            note_exceeded(conn, window, in_flight, now_us)
    show_held(conn, journal, held)
