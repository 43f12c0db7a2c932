"""The state machine: anything may happen at any moment, and the auditor looks after each step.

Rules are few and choose within themselves, so that about half of what happens are calls.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.ledger.ledger import Hold
from tests.model.inline import InlineLoop
from tests.model.traffic import Quote, Traffic, Way
from tests.model.wire import Fault, Place
from tests.model.world import Kind, Worker

__all__ = ["LedgerMachine"]

T = TypeVar("T")

KINDS: Final = (
    Kind("usd", "month"),
    Kind("usd", "day"),
    Kind("usd", "lifetime", each_user=True),
    Kind("tokens", "day"),
    Kind("requests", "minute"),
    Kind("concurrent", "lifetime"),
    Kind("usd", "day", is_hard=False),
)
MOST_WORKERS: Final = 3
MOST_BUDGETS: Final = 4

# Mostly so narrow that every unit counts, now and then wide enough for slack.
caps = st.one_of(st.integers(0, 12), st.integers(12, 40), st.sampled_from([64, 160]))
kinds = st.sampled_from(KINDS)
amounts = st.integers(0, 12)
index = st.integers(0, 7)
users = st.integers(0, 1)
places: st.SearchStrategy[Place] = st.sampled_from(["sent", "answered"])
faults: st.SearchStrategy[Fault] = st.sampled_from(["away", "unheard", "late"])
ways: st.SearchStrategy[Way] = st.sampled_from(["fast", "settled", "unsettled", "waiting"])
slow_ways: st.SearchStrategy[Way] = st.sampled_from(["settled", "unsettled"])
# Within a minute, past idleness, over the edges of minute, day and month, and back.
jumps = st.sampled_from([1, 3, 6, 21, 31, 61, 700, 86_400, -1, -31, -61, -86_400])
Chore = Literal["settle", "poll", "let go", "adopt"]
chores: st.SearchStrategy[Chore] = st.sampled_from(["settle", "poll", "let go", "adopt"])
Death = Literal["crash", "power cut", "stop", "disk"]
deaths: st.SearchStrategy[Death] = st.sampled_from(["crash", "crash", "power cut", "stop", "disk"])


class LedgerMachine(RuleBasedStateMachine):
    """Up to three workers on two machines, and four budgets."""

    planted: ClassVar[Mapping[str, str]] = {}
    template: ClassVar[bytes] = b""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=InlineLoop)
        self.folder = tempfile.TemporaryDirectory(prefix="tollgate-model-")
        self.world: Traffic

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """One thing that happens, to its end."""
        return self.runner.run(work)

    def url(self) -> str:
        """A database with the tables."""
        path = Path(self.folder.name) / "tollgate.db"
        path.write_bytes(self.template)
        return f"sqlite:///{path}"

    @initialize(seed=st.integers(0, 1 << 32), made=st.lists(st.tuples(kinds, caps), min_size=1, max_size=3))
    def begin(self, seed: int, made: list[tuple[Kind, int]]) -> None:
        self.run(self._begin(seed, made))

    async def _begin(self, seed: int, made: list[tuple[Kind, int]]) -> None:
        self.world = Traffic(self.url(), Path(self.folder.name), self.planted, seed)
        await self.world.open()
        for kind, cap in made:
            await self.world.make_budget(kind, cap)
        await self.world.start(0)
        await self.world.start(0)

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                try:
                    self.run(self.world.come_to_rest())
                finally:
                    self.run(self.world.shut())
        finally:
            self.runner.close()
            self.folder.cleanup()

    # Choosing.

    def worker(self, number: int) -> Worker:
        """One of the living."""
        return self.world.workers[number % len(self.world.workers)]

    def hold(self, number: int) -> tuple[Worker, Hold]:
        """One of the open calls."""
        found = [(worker, hold) for worker in self.world.workers for hold in worker.holds.values()]
        return found[number % len(found)]

    def budget(self, number: int) -> str:
        """One of the budgets."""
        return sorted(self.world.budgets)[number % len(self.world.budgets)]

    def has_workers(self) -> bool:
        return bool(self.world.workers)

    def has_neighbours(self) -> bool:
        return bool(len(self.world.workers) > 1 and self.world.budgets)

    def has_holds(self) -> bool:
        return any(worker.holds for worker in self.world.workers)

    def has_budgets(self) -> bool:
        return bool(self.world.workers and self.world.budgets)

    # Calls.

    @precondition(has_budgets)
    @rule(number=index, budget=index, amount=amounts, user=users, way=slow_ways)
    def call(self, number: int, budget: int, amount: int, user: int, way: Way) -> None:
        quote = Quote(amount, amount, [self.budget(budget)], f"user-{user}")
        self.run(self.world.call(self.worker(number), quote, way))

    @precondition(has_budgets)
    @rule(number=index, cost=amounts, tokens=amounts, mask=st.integers(1, 15), user=users, way=ways)
    def call_of_several(self, number: int, cost: int, tokens: int, mask: int, user: int, way: Way) -> None:
        names = [name for place, name in enumerate(self.world.budgets) if mask >> place & 1]
        quote = Quote(cost, tokens, names, f"user-{user}")
        self.run(self.world.call(self.worker(number), quote, way))

    @precondition(has_neighbours)
    @rule(number=index, budget=index, held=amounts, cost=amounts, user=users)
    def spend_the_rest_elsewhere(self, number: int, budget: int, held: int, cost: int, user: int) -> None:
        """In a quiet moment one worker is left with headroom it does not use; another needs all there is."""
        self.run(
            self._spend_elsewhere(number, Quote(held, held, [self.budget(budget)], f"user-{user}"), cost)
        )

    async def _spend_elsewhere(self, number: int, quote: Quote, cost: int) -> None:
        world, worker, other = self.world, self.worker(number), self.worker(number + 1)
        await world.recover()
        await world.hear_all_out()
        before = set(worker.holds)
        await world.call(worker, quote, "settled")
        for attempt in worker.holds.keys() - before:
            world.close(worker, worker.holds[attempt], ("done", cost, cost), is_poison=False)
        rest = world.rest(quote)
        await world.call(other, quote._replace(cost=rest, tokens=rest), "settled")

    @precondition(has_holds)
    @rule(number=index, charge=amounts, tokens=amounts)
    def check(self, number: int, charge: int, tokens: int) -> None:
        self.run(self._check(number, charge, tokens))

    async def _check(self, number: int, charge: int, tokens: int) -> None:
        self.world.check(*self.hold(number), charge, tokens)

    @precondition(has_holds)
    @rule(number=index, cost=st.integers(1, 4), tokens=st.integers(1, 4), user=users)
    def grow(self, number: int, cost: int, tokens: int, user: int) -> None:
        self.run(self._grow(number, Quote(cost, tokens, list(self.world.budgets), f"user-{user}")))

    async def _grow(self, number: int, quote: Quote) -> None:
        self.world.grow(*self.hold(number), self.world.needs(quote))

    @precondition(has_holds)
    @rule(
        number=index,
        what=st.sampled_from(["done", "done", "aborted", "void"]),
        charge=amounts,
        tokens=amounts,
        poison=st.integers(0, 9),
    )
    def close(self, number: int, what: str, charge: int, tokens: int, poison: int) -> None:
        is_poison = poison == 9 and what != "void"
        self.run(self._close(number, (what, charge, tokens), is_poison=is_poison, settles=False))

    @precondition(has_holds)
    @rule(number=index, amount=amounts)
    def close_and_settle(self, number: int, amount: int) -> None:
        self.run(self._close(number, ("done", amount, amount), is_poison=False, settles=True))

    async def _close(self, number: int, end: tuple[str, int, int], *, is_poison: bool, settles: bool) -> None:
        worker, hold = self.hold(number)
        self.world.close(worker, hold, end, is_poison=is_poison)
        if settles:
            await self.world.settle(worker)

    # What workers do by themselves, and time.

    @precondition(has_workers)
    @rule(number=index, chore=chores)
    def work(self, number: int, chore: Chore) -> None:
        world = self.world
        does = {"settle": world.settle, "poll": world.poll, "let go": world.let_go, "adopt": world.adopt}
        self.run(does[chore](self.worker(number)))

    @rule(seconds=st.sampled_from([0.05, 0.2, 2.0]))
    def elapse(self, seconds: float) -> None:
        self.run(self.world.elapse(seconds))

    @rule(seconds=jumps)
    def jump(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    # What goes wrong.

    @precondition(has_workers)
    @rule(number=index, place=places)
    def hold_up(self, number: int, place: Place) -> None:
        worker = self.worker(number)
        if worker.step is None:
            self.run(self.world.hold_up(worker, place))

    @precondition(has_workers)
    @rule(number=index, fault=faults)
    def fail(self, number: int, fault: Fault) -> None:
        self.worker(number).wire.faults.append(fault)

    @precondition(has_workers)
    @rule(number=index, is_away=st.booleans())
    def go_away(self, number: int, is_away: bool) -> None:
        self.worker(number).wire.is_away = is_away

    @precondition(lambda self: bool(self.world.late))
    @rule(number=index)
    def deliver(self, number: int) -> None:
        self.run(self.world.deliver_late(number % len(self.world.late)))

    @precondition(lambda self: bool(self.world.workers or self.world.dead))
    @rule(number=index, death=deaths)
    def die(self, number: int, death: Death) -> None:
        world = self.world
        if death == "disk" and world.dead:
            world.lose_disk(sorted(world.dead)[number % len(world.dead)])
        elif death == "stop" and world.workers:
            self.run(world.stop(self.worker(number)))
        elif world.workers:
            self.run(world.crash(self.worker(number), power=death == "power cut"))

    @precondition(lambda self: len(self.world.workers) < MOST_WORKERS)
    @rule(machine=st.integers(0, 1), failing=st.one_of(st.just([]), st.lists(faults, max_size=2)))
    def start(self, machine: int, failing: list[Fault]) -> None:
        self.run(self.world.start(machine, failing))

    # What people do.

    @precondition(has_budgets)
    @rule(number=index, cap=caps)
    def change_cap(self, number: int, cap: int) -> None:
        self.run(self.world.change_cap(self.budget(number), cap))

    @precondition(lambda self: bool(self.world.books.windows))
    @rule(number=index, amount=st.integers(1, 12))
    def increase(self, number: int, amount: int) -> None:
        windows = sorted(self.world.books.windows)
        self.run(self.world.increase(windows[number % len(windows)], amount))

    @precondition(lambda self: bool(self.world.books.leases))
    @rule(number=index)
    def release(self, number: int) -> None:
        leases = sorted(self.world.books.leases)
        self.run(self.world.release(*leases[number % len(leases)]))

    @rule(kind=kinds, cap=caps, number=index)
    def replace_budget(self, kind: Kind, cap: int, number: int) -> None:
        if len(self.world.budgets) >= MOST_BUDGETS:
            self.run(self.world.delete_budget(self.budget(number)))
        self.run(self.world.make_budget(kind, cap))

    # The auditor.

    @invariant()
    def audited(self) -> None:
        if hasattr(self, "world"):
            self.run(self.world.audit())
