"""A worker's ledger as a process of its own, told by its standard input what to call for.

Each line is a JSON order, each answer a line of JSON on standard output:

    {"calls": 1000, "callers": 64, "need": 300, "charges": [100, 300], "seed": 1}
    -> {"settled": {"att_...": 123, ...}, "exceeded": 12, "held": 3, "seconds": ...}

A caller that is told `budget_held` tries again, as a client would. The end of the input stops the worker.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import msgspec

from gateway.clock import SystemClock
from gateway.domain.budgets import Budget, Need
from gateway.domain.errors import BudgetExceeded, BudgetHeld
from gateway.domain.ids import attempt_id
from gateway.ledger.ledger import CallFacts, Closing, Hold, Ledger
from gateway.store.engine import Database

__all__ = ["Order", "Outcome", "main"]


class Order(msgspec.Struct):
    """Calls to make: `callers` at a time, each of at most `need`, costing one of `charges` at random."""

    calls: int
    callers: int
    need: int
    charges: tuple[int, int]
    seed: int


class Outcome(msgspec.Struct):
    """What came of them: charges by attempt, calls told that the budget is spent, tries told to wait."""

    settled: dict[str, int]
    exceeded: int
    held: int


class Caller:
    """The calls of one worker."""

    def __init__(self, ledger: Ledger, budget: Budget, order: Order) -> None:
        self._ledger = ledger
        self._budget = budget
        self._order = order
        self._left = order.calls
        self._random = random.Random(order.seed)
        self._clock = SystemClock()
        self.outcome = Outcome({}, 0, 0)

    async def run(self) -> None:
        """Call until no call is left."""
        while self._left:
            self._left -= 1
            hold = await self._hold()
            if hold is None:
                self.outcome.exceeded += 1
                continue
            await asyncio.sleep(0)  # the provider answers in another step of the loop
            charge = self._random.randint(*self._order.charges)
            assert self._ledger.close(hold, self._closing(charge))
            self.outcome.settled[hold.attempt] = charge

    async def _hold(self) -> Hold | None:
        needs = [Need(self._budget, "", self._order.need)]
        while True:
            facts = self._facts()
            try:
                return self._ledger.admit(facts, needs) or await self._ledger.acquire(facts, needs)
            except BudgetHeld:
                self.outcome.held += 1
            except BudgetExceeded:
                return None

    def _facts(self) -> CallFacts:
        return CallFacts(
            attempt=attempt_id(os.urandom(16)),
            call=f"call_{self._ledger.journal_id}{self._left:011d}",
            key="key_1",
            account="acct_1",
            end_user=None,
            tags={},
            provider="openai",
            upstream="openai",
            model="gpt-4.1",
            format="openai_chat",
            streamed=False,
            admitted_at_us=self._clock.now_us(),
            hold_nano=self._order.need,
            usage={"input": 1},
            charge_nano=1,
            tokens=1,
        )

    def _closing(self, charge: int) -> Closing:
        return Closing(
            outcome="done",
            status=200,
            served_model="gpt-4.1-2025-04-14",
            usage={"input": 1, "output": charge},
            usage_source="provider",
            raw_usage=b"{}",
            lines=[("output", charge, "price_1", 1000, charge, charge)],
            flags=[],
            charge_nano=charge,
            list_nano=charge,
            tokens=charge,
            closed_at_us=self._clock.now_us(),
            requests=1,
        )


async def main(url: str, data_dir: str, budget: Budget) -> None:
    """Serve orders until the input ends."""
    database = Database(url)
    ledger = await Ledger.start(database, Path(data_dir), SystemClock(), os.urandom)
    _say({"ready": ledger.journal_id})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        order = msgspec.json.decode(line, type=Order)
        caller = Caller(ledger, budget, order)
        await asyncio.gather(*(caller.run() for _ in range(order.callers)))
        _say(caller.outcome)
    _say({"stopped": await ledger.stop(30)})
    await database.stop()


def _say(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], msgspec.json.decode(sys.argv[3], type=Budget)))
