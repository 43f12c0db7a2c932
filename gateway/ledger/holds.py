"""Holds: admitting a call against every budget at once, and settling it. Synchronous, on the event loop.

There is no await between looking and taking, so there is no race: either every window has room and all are
held, or none is touched. The first close of a hold wins; later ones change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.clock import Clock
from gateway.domain.budgets import Need, amount
from gateway.domain.errors import Unavailable
from gateway.ledger.book import Book, Line, WindowState
from gateway.ledger.journal import Journal, Segment
from gateway.ledger.records import (
    CHECK,
    CLOSE,
    CORRECT,
    CallFacts,
    Check,
    Close,
    Closing,
    Correct,
    Open,
    Part,
    PostedPart,
    interrupted,
)
from gateway.ledger.records import Line as ChargeLine
from gateway.ledger.refusals import journal_full

__all__ = ["Hold", "Holds", "Pending"]

# usage, charge, tokens, lines, charge at list price
_SoFar = tuple[Mapping[str, int], int, int, Sequence[ChargeLine], int]


class Hold:
    """An admitted attempt: what it holds of which window, until it is closed. One owner at a time."""

    __slots__ = ("_check", "facts", "hold_nano", "is_closed", "open_frame", "parts", "segment")

    def __init__(self, facts: CallFacts, parts: list[tuple[WindowState, int | None]]) -> None:
        self.facts = facts
        self.parts = parts
        self.hold_nano = facts.hold_nano
        self.is_closed = False
        self.segment: Segment | None = None
        self.open_frame = b""
        self._check: Check | None = None

    @property
    def attempt(self) -> str:
        """The attempt's id."""
        return self.facts.attempt

    @property
    def call(self) -> str:
        """The call's id."""
        return self.facts.call

    def open_record(self) -> Open:
        """What an adopter would have to know."""
        return Open(self.facts, self.record_parts())

    def record_parts(self) -> list[Part]:
        """The parts as records name them."""
        return [(window.ref, window.unit, held) for window, held in self.parts]

    def last_check(self) -> Check | None:
        """The last checkpoint."""
        return self._check

    def checked(self, check: Check) -> None:
        """Remember a checkpoint."""
        self._check = check

    @property
    def so_far(self) -> tuple[int, int]:
        """Tokens, and the charge in nano-USD, by the last checkpoint: booked if the worker dies now."""
        known = self.facts if self._check is None else self._check
        return known.tokens, known.charge_nano


class Pending(NamedTuple):
    """A closed attempt (or a correction) that SQL is not known to have, as its record stands in the file."""

    seq: int
    call: str
    frame: bytes
    parts: Sequence[PostedPart]


class Holds:
    """The open holds of this worker."""

    def __init__(self, book: Book, journal: Journal, clock: Clock) -> None:
        self._book = book
        self._journal = journal
        self._now_us = clock.now_us
        self._on_pending: Callable[[Pending], None] = lambda pending: None
        self._on_freed: Callable[[Line], None] = lambda line: None
        self._on_low: Callable[[WindowState], None] = lambda window: None
        self._on_short: Callable[[WindowState, int], None] = lambda window, amount: None
        self.open: dict[str, Hold] = {}

    def attach(
        self,
        *,
        on_pending: Callable[[Pending], None],
        on_freed: Callable[[Line], None],
        on_low: Callable[[WindowState], None],
        on_short: Callable[[WindowState, int], None],
    ) -> None:
        """Who hears of closed calls, of headroom that came free where calls wait, of what runs low, and of
        what a running call could not grow by."""
        self._on_pending = on_pending
        self._on_freed = on_freed
        self._on_low = on_low
        self._on_short = on_short

    def admit(self, facts: CallFacts, needs: Sequence[Need], is_head: bool = False) -> Hold | None:
        """Hold all or nothing; None when a window is not known or has no room, the journal is full, or others
        wait for the same (unless this call is at the head of its queues)."""
        journal = self._journal
        if journal.used_bytes > journal.bound_bytes:
            return None
        now_us = self._now_us()
        lines = self._book.lines
        parts: list[tuple[WindowState, int | None]] = []
        named: list[Part] = []
        for need in needs:
            budget = need.budget
            line = lines.get((budget.id, need.subject))
            if line is None or (line.waiting and not is_head):
                return None
            window = line.at(budget, now_us)
            if window is None:
                return None
            asked: int | None = need.amount
            if budget.enforcement != "hard":
                asked = None
            # `WindowState.free`, written out. A call that needs nothing always fits.
            elif asked and asked > window.lease - window.held - window.unposted - window.returning:
                return None
            parts.append((window, asked))
            named.append((window.ref, window.unit, asked))
        for window, asked in parts:
            window.used_at_us = now_us
            window.open += 1
            if asked:
                window.held += asked
                if window.free < window.low:
                    self._on_low(window)
            if not window.starts_at_us <= facts.admitted_at_us < window.ends_at_us:
                # It waited past an edge: row, sums and window must say the same hour and month.
                facts = msgspec.structs.replace(facts, admitted_at_us=now_us)
        hold = Hold(facts, parts)
        hold.open_frame = journal.append_open(hold, Open(facts, named))
        self.open[facts.attempt] = hold
        return hold

    def withdrawn(self, runner: Any) -> None:
        """The open record could not be written: the call was not sent, nothing of it stays."""
        assert isinstance(runner, Hold)
        runner.is_closed = True
        del self.open[runner.attempt]
        for window, held in runner.parts:
            window.held -= held or 0
            window.open -= 1
            self._freed(window)

    def check(
        self,
        hold: Hold,
        usage: Mapping[str, int],
        charge_nano: int,
        tokens: int,
        lines: Sequence[ChargeLine] = (),
        list_nano: int | None = None,
        made: Sequence[str] = (),
        awaited: str = "",
    ) -> None:
        """Record what the attempt cost so far, cumulative: booked if the worker dies before the next.

        `made` and `awaited` are as in `Closing`.
        """
        if hold.is_closed:
            return
        listed = charge_nano if list_nano is None else list_nano
        self._append_check(hold, (usage, charge_nano, tokens, lines, listed), made, awaited)

    def _append_check(self, hold: Hold, so_far: _SoFar, made: Sequence[str] = (), awaited: str = "") -> None:
        check = Check(hold.attempt, *so_far, hold.hold_nano, hold.record_parts(), made, awaited)
        hold.checked(check)
        self._journal.append(CHECK, check)

    def grow(self, hold: Hold, deltas: Sequence[Need]) -> bool:
        """Hold more in the windows the attempt named, all or nothing; a checkpoint says so at once.

        False when there is not enough at hand: it is asked for, and growing may succeed a moment later.
        """
        if hold.is_closed:
            return False
        grown = self._grown(hold, deltas)
        if grown is None:
            return False
        for (window, before), (_, after) in zip(hold.parts, grown, strict=True):
            window.held += (after or 0) - (before or 0)
        hold.parts = grown
        in_usd = [held or 0 for window, held in grown if window.unit == "usd"]
        hold.hold_nano = max(hold.hold_nano, *in_usd, 0)
        check = hold.last_check()
        last = check or hold.facts
        so_far = (last.usage, last.charge_nano, last.tokens, last.lines, last.list_nano)
        made, awaited = ((), "") if check is None else (check.made, check.awaited)
        self._append_check(hold, so_far, made, awaited)
        return True

    def _grown(self, hold: Hold, deltas: Sequence[Need]) -> list[tuple[WindowState, int | None]] | None:
        more = {(need.budget.id, need.subject): need.amount for need in deltas}
        grown: list[tuple[WindowState, int | None]] = []
        for window, held in hold.parts:
            delta = more.get((window.line.budget.id, window.line.subject), 0)
            if held is not None and delta > 0:
                if window.free < delta:
                    self._on_short(window, delta - window.free)
                    return None
                held += delta
            grown.append((window, held))
        return grown

    def close(self, hold: Hold, closing: Closing) -> bool:
        """Settle or void; False when it was closed before."""
        if hold.is_closed:
            return False
        hold.is_closed = True
        is_void = not closing.requests
        parts: list[PostedPart] = []
        for window, held in hold.parts:
            charged = amount(window.unit, closing.charge_nano, closing.tokens, is_void)
            window.held -= held or 0
            window.open -= 1
            window.unposted += charged
            parts.append((window.ref, charged, held))
        facts = hold.facts
        seq, frame = self._journal.append(CLOSE, Close(facts, closing, hold.hold_nano, parts))
        self._journal.closed(hold, seq)
        del self.open[facts.attempt]
        self._on_pending(Pending(seq, facts.call, frame, parts))
        for window, _ in hold.parts:
            self._freed(window)
        return True

    def refusal(self) -> Unavailable:
        """Why nothing is admitted although every window has room."""
        return journal_full(
            self._journal.used_bytes,
            self._journal.limit_bytes,
            self._journal.refusal or str(self._journal.failure or ""),
        )

    def correct(self, correct: Correct) -> None:
        """Append a correction; it moves nothing in this worker's book, for nothing is held for it."""
        seq, frame = self._journal.append(CORRECT, correct)
        self._journal.postable(seq)
        self._on_pending(Pending(seq, correct.facts.call, frame, ()))

    def interrupt_all(self) -> None:
        """Close what still runs with its last checkpoint, as an adopter would."""
        now_us = self._now_us()
        for hold in list(self.open.values()):
            self.close(hold, interrupted(hold.open_record(), hold.last_check(), now_us))

    def _freed(self, window: WindowState) -> None:
        if window.line.waiting:
            self._on_freed(window.line)
