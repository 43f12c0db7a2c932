"""The worker's book: what it may still admit of every window it knows. Pure, in memory, on the event loop.

    free = lease - held - unposted - returning

`lease` is what SQL last said this journal has of the window, `held` the open holds, `unposted` what closed
calls cost and SQL is not known to have, `returning` what is on its way back or of unknown fate. `free` is
negative after an overrun. A soft budget has no lease; its `held` is 0 and its `unposted` only shown.

A window that begins while the database is away cannot be leased. Minute and hour limits then go on with the
share this worker last had of such a window, and soft budgets just count: such a window is known by its name
instead of a row, for as long as it lasts, and is opened in SQL when its charges are posted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from gateway.domain.budgets import Budget, Unit
from gateway.domain.periods import window as period_window
from gateway.ledger.records import WindowRef

__all__ = ["FOREVER_US", "Book", "Line", "WindowState"]

# The end of a lifetime window: later than any instant a clock can tell.
FOREVER_US: Final = 1 << 62


class WindowState:
    """One window of a budget for one subject, as this worker sees it.

    `cap`, `spent`, `leased`, `overrun`, `recall` and `others_held` are SQL's, as last heard; `answered` is
    the number of the last recall this worker has answered.
    """

    __slots__ = (
        "answered",
        "asked_at_us",
        "booked",
        "cap",
        "ends_at_us",
        "held",
        "id",
        "is_asked",
        "is_refused",
        "is_rowless",
        "lease",
        "leased",
        "line",
        "low",
        "news",
        "open",
        "others_held",
        "overrun",
        "read_at_us",
        "recall",
        "recall_seen_at_us",
        "ref",
        "returning",
        "shown_held",
        "slice",
        "spent",
        "starts_at_us",
        "unit",
        "unposted",
        "used_at_us",
    )

    def __init__(self, line: Line, ref: WindowRef, starts_at_us: int, ends_at_us: int | None) -> None:
        self.line = line
        self.ref = ref  # how records name it
        self.id = ref if isinstance(ref, int) else 0  # its row; 0 where it has none
        self.is_rowless = not self.id
        self.unit: Unit = line.budget.unit
        self.starts_at_us = starts_at_us
        self.ends_at_us = FOREVER_US if ends_at_us is None else ends_at_us
        self.lease = self.held = self.unposted = self.returning = 0
        self.open = 0  # calls that run in it, also those that hold nothing of it
        self.is_asked = False  # an ask for it is under way
        self.cap = self.spent = self.leased = self.overrun = self.others_held = 0
        self.booked = 0  # what of this worker's lease was spent and is posted
        self.recall = self.answered = 0
        self.is_refused = False  # a refusal of this window was noted under its present cap
        self.shown_held = 0  # what of this worker's is held, as last written to SQL for others to see
        self.read_at_us = 0  # when SQL's figures were last heard
        self.news = 0  # how often they were: what was read before the last time is old
        self.used_at_us = 0  # the last admission or refusal
        self.asked_at_us = 0  # the last ask, by which the slack is doubled or halved
        self.recall_seen_at_us = 0  # when the number of the last recall was first seen
        self.slice = 0  # the slack last asked for
        self.low = 0  # below this much free headroom more is asked for ahead of need

    @property
    def free(self) -> int:
        """What may be admitted without asking; negative after an overrun."""
        return self.lease - self.held - self.unposted - self.returning

    def covers(self, now_us: int) -> bool:
        """Whether the instant lies in the window."""
        return self.starts_at_us <= now_us < self.ends_at_us

    def heard(self, cap: int, spent: int, leased: int, now_us: int) -> None:
        """Take in figures of SQL's."""
        self.news += 1
        if cap != self.cap:
            self.is_refused = False
        self.cap, self.spent, self.leased = cap, spent, leased
        self.read_at_us = now_us

    def saw_recall(self, recall: int, now_us: int) -> None:
        """Note the number of the last recall, and when it was news."""
        if recall != self.recall:
            self.recall = recall
            self.recall_seen_at_us = now_us

    @property
    def is_busy(self) -> bool:
        """Whether anything of this worker's is in it."""
        return bool(self.lease or self.held or self.unposted or self.returning or self.open or self.is_asked)

    @property
    def in_flight(self) -> int:
        """What this worker shows as held: open holds and charges that SQL does not have yet."""
        return self.held + self.unposted


class Line:
    """One budget for one subject: its windows over time, and the calls that wait for them in order."""

    __slots__ = ("budget", "current", "share", "subject", "waiting", "windows")

    def __init__(self, budget: Budget, subject: str) -> None:
        self.budget = budget
        self.subject = subject
        self.current: WindowState | None = None
        self.windows: dict[int, WindowState] = {}
        self.share = 0  # what this worker had of the last window that SQL leased it
        self.waiting: deque[Any] = deque()

    def at(self, budget: Budget, now_us: int) -> WindowState | None:
        """The window this instant lies in, if it is known; also makes it the current one."""
        current = self.current
        if (
            current is not None
            and budget is self.budget
            and current.starts_at_us <= now_us < current.ends_at_us
        ):
            return current
        if current is not None:
            self.keep_share(current)
        self.budget = budget
        self.current = self.windows.get(self.start_at(now_us))
        return self.current

    def keep_share(self, ended: WindowState) -> None:
        """Remember what this worker had of a window, before it goes back."""
        if not ended.is_rowless and ended.lease + ended.booked > 0:
            self.share = ended.lease + ended.booked

    def start_at(self, now_us: int) -> int:
        """When the window of this instant begins."""
        budget = self.budget
        return period_window(
            budget.period, now_us, budget.timezone, budget.anchor_day, budget.anchor_month
        ).start_us


class Book:
    """Every line and window this worker knows."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], Line] = {}
        self.windows: dict[WindowRef, WindowState] = {}

    def line(self, budget: Budget, subject: str) -> Line:
        """The line of a budget and subject, made if it is new."""
        line = self.lines.get((budget.id, subject))
        if line is None:
            line = self.lines[budget.id, subject] = Line(budget, subject)
        return line

    def open(self, line: Line, ref: WindowRef, starts_at_us: int, ends_at_us: int | None) -> WindowState:
        """Enter a window; the same one again changes nothing."""
        state = self.windows.get(ref)
        if state is None:
            state = self.windows[ref] = WindowState(line, ref, starts_at_us, ends_at_us)
            line.windows[starts_at_us] = state
        return state

    def go_on(self, line: Line, now_us: int) -> bool:
        """Make the present window known without its row, where that is allowed; the database is away."""
        budget = line.budget
        if budget.is_hard and not (budget.is_rate and line.share):
            return False
        found = period_window(budget.period, now_us, budget.timezone, budget.anchor_day, budget.anchor_month)
        name = (budget.id, line.subject, found.start_us, found.end_us)
        state = self.open(line, name, found.start_us, found.end_us)
        state.cap, state.lease = budget.cap, line.share if budget.is_hard else 0
        return True

    def forget(self, state: WindowState) -> None:
        """Drop a window that has ended and that nothing of this worker's is in."""
        assert not state.is_busy, "a window with something of ours in it is remembered"
        del self.windows[state.ref]
        line = state.line
        del line.windows[state.starts_at_us]
        if line.current is state:
            line.current = None
        if not line.windows and not line.waiting:
            self.lines.pop((line.budget.id, line.subject), None)

    def tidy(self) -> None:
        """Drop lines that have no window and nobody waiting."""
        for key, line in list(self.lines.items()):
            if not line.windows and not line.waiting:
                del self.lines[key]

    def __iter__(self) -> Iterator[WindowState]:
        return iter(self.windows.values())
