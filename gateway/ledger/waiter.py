"""One call that waits for headroom: what it needs, in which queues it stands, what it was told so far."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.domain.budgets import Need
from gateway.domain.errors import GatewayError
from gateway.ledger.book import Line, WindowState
from gateway.ledger.holds import Hold
from gateway.ledger.records import CallFacts

__all__ = ["Waiter"]


class Waiter:
    """One call that waits. `recalls` are the numbers under which it recalled headroom, by window."""

    __slots__ = (
        "facts",
        "future",
        "is_late",
        "is_queued",
        "late_asks",
        "needs",
        "pairs",
        "recalls",
        "refusal",
        "shorts",
    )

    def __init__(self, facts: CallFacts, needs: Sequence[Need], lines: Sequence[Line]) -> None:
        self.facts = facts
        self.needs = needs
        self.pairs = list(zip(needs, lines, strict=True))
        self.future: asyncio.Future[Hold] = asyncio.get_running_loop().create_future()
        self.recalls: dict[int, int] = {}
        self.shorts: dict[int, int] = {}  # what was missing in which window when it asked last
        self.refusal: GatewayError | None = None  # what it would be told if its time were up
        self.is_late = False  # its time is up: it is judged whether it heads its queues or not
        self.is_queued = False  # its turn to ask has come
        self.late_asks = 0

    @property
    def is_head(self) -> bool:
        """Whether nobody is before it in any of its queues."""
        return all(line.waiting[0] is self for _, line in self.pairs)

    def wanted(self, now_us: int) -> list[tuple[WindowState, int]]:
        """What it must hold, in the windows of this instant as far as they are known."""
        found = []
        for need, line in self.pairs:
            window = line.at(need.budget, now_us)
            if window is not None and need.amount and need.budget.is_hard:
                found.append((window, need.amount))
        return found

    def unknown(self, now_us: int) -> list[Line]:
        """The lines whose window of this instant is not known."""
        return [line for need, line in self.pairs if line.at(need.budget, now_us) is None]
