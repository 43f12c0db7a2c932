"""A small world to run the ledger in: workers on two machines, one database, a clock, and an auditor.

Every method is one thing that can happen. The auditor's books are told of it, and `audit` compares them with
SQL and with each worker's own figures.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, insert

from gateway.clock import DrivenClock
from gateway.domain.budgets import CAP_MAX, Budget, Need
from gateway.domain.errors import Unavailable
from gateway.ledger.ledger import Hold, Ledger
from gateway.ledger.records import frames
from gateway.ledger.timer import DrivenTimer
from gateway.store.budget_changes import (
    change_budget,
    create_budget,
    delete_budget,
    increase_window,
    living_budget,
)
from gateway.store.leases import release
from gateway.store.sql import run
from gateway.store.tables import accounts
from tests.model.audit import Snapshot, View, audit, audit_quiet, audit_view, excess, read_snapshot
from tests.model.books import Books, Desk, Key, Rule
from tests.model.ears import Ears
from tests.model.inline import InlineDatabase
from tests.model.wire import Fault, Place, Wire

__all__ = ["ACCOUNT", "ROUNDS", "START_US", "WAIT_S", "Asking", "Kind", "Worker", "World", "outcome"]

T = TypeVar("T")

# 2026-11-30T23:59:30Z: a minute, a day and a month are about to end.
START_US: Final = 1_796_083_170_000_000
ACCOUNT: Final = "acct_1"
# Rounds of 50 ms in which everything must come to an end; a call waits for 3 s.
ROUNDS: Final = 120
STOP_S: Final = 5.0
# Shorter than what a call waits for headroom; longer than any pause between two tries.
WAIT_S: Final = 2.0
# The pause after which a window is tried to be opened again.
RETRY_S: Final = 0.1
# Transactions a worker has at most to send in one go.
STEPS: Final = 60


class AskedTimer(DrivenTimer):
    """Driven time that tells who waits how long."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: asyncio.Queue[float] = asyncio.Queue()

    async def pause(self, seconds: float) -> None:
        """Wait until `advance` has moved that far."""
        self.asked.put_nowait(seconds)
        await super().pause(seconds)

    def forget(self) -> None:
        """Let whoever asked for little have it, and forget who asked for more."""
        while not self.asked.empty():
            self.asked.get_nowait()
        self.advance(RETRY_S)


@dataclass(frozen=True)
class Kind:
    """A kind of budget."""

    unit: Any
    period: str
    is_hard: bool = True
    each_user: bool = False


@dataclass(eq=False)
class Asking:
    """A call that waits for headroom."""

    needs: Sequence[Need]
    end_user: str
    task: asyncio.Task[Hold]


@dataclass(eq=False)
class Worker:
    """A worker and what the world knows of it."""

    ledger: Ledger
    wire: Wire
    machine: int
    desk: Desk
    holds: dict[str, Hold] = field(default_factory=dict)
    asking: list[Asking] = field(default_factory=list)
    step: asyncio.Task[bool] | None = None  # a transaction that is held up

    @property
    def journal(self) -> str:
        """Its journal's id."""
        return self.desk.journal

    @property
    def is_reachable(self) -> bool:
        """Whether it answers when others need headroom."""
        return not self.wire.is_away and self.step is None


class World:
    """Used inside one event loop, from `open` to `shut`."""

    def __init__(self, url: str, folder: Path, planted: Mapping[str, str], seed: int) -> None:
        self.database = InlineDatabase(url)
        self.clock = DrivenClock(START_US)
        self.timer = AskedTimer()
        self.books = Books()
        self.workers: list[Worker] = []
        self.dead: dict[str, int] = {}  # journals that nobody has adopted yet, and their machines
        self.lost: list[str] = []  # journals whose disk is gone
        self.budgets: dict[str, Budget] = {}
        self.random = random.Random(seed)
        self.late: list[Callable[[], Awaitable[Any]]] = []
        self._bases: dict[Key, int] = {}
        self._folder = folder
        self._planted = planted
        self._number = 0

    async def open(self) -> None:
        """Add the account that budgets belong to."""
        self.database.now(_add_account)

    async def shut(self) -> None:
        """Let go of everything."""
        for worker in list(self.workers):
            await self.crash(worker, power=False)
        self.database.close()

    # Workers.

    async def start(self, machine: int, faults: Sequence[Fault] = ()) -> None:
        """One more worker; while the database fails it may not start."""
        wire = Wire(self.database, self.late, self._planted)
        desk = Desk("")
        wire.listener = Ears(self.books, desk, self._bases)
        wire.faults.extend(faults)
        try:
            ledger = await Ledger.start(
                wire,
                self._folder / f"machine-{machine}",
                self.clock,
                self.random.randbytes,
                timer=self.timer,
                beats=False,
            )
        except Unavailable:
            assert faults, "a worker starts where there is a database"
            return
        desk.journal = ledger.journal_id
        self.books.desks[desk.journal] = desk
        self.workers.append(Worker(ledger, wire, machine, desk))
        await self._forget_adopted()

    async def crash(self, worker: Worker, *, power: bool) -> None:
        """A worker dies at once; with `power` its machine loses it, and what was not synced is gone."""
        await tick()
        await self.harvest(worker)
        for asking in worker.asking:
            asking.task.cancel()
        await asyncio.gather(*(asking.task for asking in worker.asking), return_exceptions=True)
        if worker.step is not None:
            worker.step.cancel()
            await asyncio.gather(worker.step, return_exceptions=True)
        journal = worker.ledger.journal
        synced = journal.synced_seq if power else None
        await worker.ledger.abandon()
        if synced is not None:
            _cut(journal.folder, synced)
        self._bury(worker, synced)

    async def stop(self, worker: Worker) -> None:
        """SIGTERM: what runs is closed with its last checkpoint, all is posted and given back."""
        await self.let_go(worker)
        await self.harvest(worker)
        self.timer.forget()
        is_finished = await self.timely(worker.ledger.stop(STOP_S), STOP_S)
        for asking in worker.asking:
            assert isinstance(await outcome(asking.task), Unavailable), "who waits is told to go elsewhere"
        self._bury(worker, None)
        await self._forget_adopted()
        is_ended = worker.journal not in self.dead
        assert is_ended or worker.wire.is_away, "where there is a database nothing is left behind"
        assert is_ended == is_finished, "what is said to be finished is, heard or not"

    def _bury(self, worker: Worker, synced: int | None) -> None:
        self.books.crash(worker.journal, synced)
        self.workers.remove(worker)
        self.dead[worker.journal] = worker.machine

    async def adopt(self, worker: Worker) -> None:
        """A worker looks for dead ones on its machine."""
        await worker.ledger.adopter.adopt_all()
        await self._forget_adopted()

    async def _forget_adopted(self) -> None:
        states = self.database.now(_states)
        for journal in [each for each in self.dead if states.get(each, "live") != "live"]:
            del self.dead[journal]

    def lose_disk(self, journal: str) -> None:
        """A dead worker's machine never comes back."""
        shutil.rmtree(self._folder / f"machine-{self.dead.pop(journal)}" / "journals" / journal)
        self.books.lose_disk(journal)
        self.lost.append(journal)

    async def release(self, journal: str, row: int) -> None:
        """An operator takes back what a journal has leased."""
        amount = self.database.now(release, journal, row)
        key = self.books.key_of(row)
        self.books.windows[key].released += amount
        self.books.desks[journal].released[key] += amount

    # What workers do by themselves.

    async def settle(self, worker: Worker) -> None:
        """Sync the journal and carry every errand there is; with the database away, try two."""
        await tick()
        await worker.ledger.journal.sync()
        if worker.step is not None:
            return
        for _ in range(2 if worker.wire.is_away else STEPS):
            if not await worker.ledger.courier.step():
                break
        await self.harvest(worker)

    async def poll(self, worker: Worker) -> None:
        """One poll, what others see, and what follows from both."""
        await self.timely(worker.ledger.watcher.poll(), WAIT_S)
        worker.ledger.shown.refresh()
        await self.settle(worker)

    async def all_answer(self) -> None:
        """Everything is posted, every recall is answered, as far as workers can be reached."""
        for each in (self.settle, self.poll, self.poll):
            for worker in self.workers:
                if worker.is_reachable:
                    await each(worker)

    async def drive(self, done: Callable[[], bool]) -> None:
        """Let all workers run, 50 ms at a time, until it is done."""
        for _ in range(ROUNDS):
            for worker in self.workers:
                await self.poll(worker)
                if done():
                    return
            self.timer.advance(0.05)
            await tick()
        raise AssertionError("nothing came of it in six seconds")

    async def hold_up(self, worker: Worker, place: Place) -> None:
        """The next transaction is held up, before it is executed or before its answer is heard."""
        await tick()
        worker.wire.hold_up = place
        step = asyncio.ensure_future(worker.ledger.courier.step())
        parked = asyncio.ensure_future(worker.wire.has_parked.wait())
        await asyncio.wait((step, parked), return_when=asyncio.FIRST_COMPLETED)
        if step.done():
            parked.cancel()
            worker.wire.let_go()
            await step
        else:
            worker.step = step
        await self.harvest(worker)

    async def let_go(self, worker: Worker) -> None:
        """What is held up goes on."""
        worker.wire.let_go()
        if worker.step is not None:
            step, worker.step = worker.step, None
            await step
        await self.harvest(worker)

    async def timely(self, work: Awaitable[T], limit_s: float) -> T:
        """What comes of it, with every pause it takes granted that is shorter than this."""
        task = asyncio.ensure_future(work)
        while not task.done():
            asked = asyncio.ensure_future(self.timer.asked.get())
            await asyncio.wait((task, asked), return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and asked.result() < limit_s:
                self.timer.advance(asked.result())
            asked.cancel()
        return await task

    async def elapse(self, seconds: float) -> None:
        """Time passes for whoever waits."""
        self.timer.advance(seconds)
        await tick()
        for worker in self.workers:
            await self.harvest(worker)

    async def deliver_late(self, number: int) -> None:
        """The database executes a transaction whose sender gave up on it, or died, long ago."""
        await outcome(self.late.pop(number)())

    async def harvest(self, worker: Worker) -> None:
        """Calls that no longer wait; the machine that drives this world says what to do with them."""
        raise NotImplementedError

    # Budgets.

    async def make_budget(self, kind: Kind, cap: int) -> None:
        """A new budget."""
        self._number += 1
        budget = Budget(
            id=f"bud_{self._number}",
            name=f"budget {self._number}",
            unit=kind.unit,
            cap=cap,
            period=kind.period,
            enforcement="hard" if kind.is_hard else "soft",
            each="end_user" if kind.each_user else None,
            created_at_us=self.clock.now_us(),
        )
        self.database.now(create_budget, budget)
        self.budgets[budget.id] = budget
        self.books.rules[budget.id] = Rule(
            budget.id, kind.unit, kind.period, cap, budget.created_at_us, kind.is_hard, kind.each_user
        )

    async def change_cap(self, budget: str, cap: int) -> None:
        """A new cap, in the windows that are not over and in all later ones."""
        now_us = self.clock.now_us()
        seen = await self.snapshot()
        self.database.now(_change_cap, budget, cap, now_us)
        self.budgets[budget] = replace(self.budgets[budget], cap=cap)
        self.books.rules[budget].cap = cap
        for row in seen.windows:
            if row.budget == budget and (row.ends_us is None or row.ends_us > now_us):
                known = self.books.windows[row.key]
                known.cap = min(CAP_MAX, cap + known.increased)
                known.excess = excess(self.books, row)
        for worker in self.workers:
            worker.ledger.budgets_changed([budget])

    async def increase(self, window: Key, amount: int) -> None:
        """One window may spend more."""
        self._number += 1
        known = self.books.windows[window]
        self.database.now(
            increase_window,
            known.row,
            amount,
            increase_id=f"inc_{self._number}",
            reason="a test",
            made_by="admin_1",
            now_us=self.clock.now_us(),
        )
        known.cap += amount
        known.increased += amount
        for worker in self.workers:
            worker.ledger.budgets_changed([known.rule.id])

    async def delete_budget(self, budget: str) -> None:
        """No new holds in it."""
        self.database.now(delete_budget, budget, self.clock.now_us())
        del self.budgets[budget]

    # The auditor.

    async def snapshot(self) -> Snapshot:
        """What SQL has, taken into the books as far as they need it."""
        seen = self.database.now(read_snapshot)
        audit(self.books, seen, self._bases)
        return seen

    async def audit(self) -> None:
        """Assert everything that holds at any instant."""
        await tick()
        for worker in self.workers:
            await self.harvest(worker)
        await self.snapshot()
        for worker in self.workers:
            assert not worker.ledger.courier.is_finished, "nobody finishes a living worker's journal"
            views = {
                (state.line.budget.id, state.line.subject, state.starts_at_us): View(
                    state.lease, state.held, state.unposted, state.returning, state.is_rowless
                )
                for state in worker.ledger.book
            }
            audit_view(self.books, worker.desk, views)

    async def audit_quiet(self) -> None:
        """Assert what holds when nothing runs."""
        audit_quiet(self.books, await self.snapshot())


async def tick(times: int = 8) -> None:
    """Let the event loop take a few steps."""
    for _ in range(times):
        await asyncio.sleep(0)


async def outcome(work: Awaitable[Any]) -> Any:
    """What came of it, an error as a value."""
    try:
        return await work
    except Exception as error:
        return error


def _cut(folder: Path, synced: int) -> None:
    """Take from a journal what had not reached the disk, and leave half a record, as a power cut may."""
    for file in sorted(folder.glob("*.seg")):
        data = file.read_bytes()
        kept = [frame for frame in frames(data) if frame.seq <= synced]
        end = kept[-1].start + len(kept[-1].raw) if kept else 0
        file.write_bytes(data[: min(len(data), end + 9)])


def _add_account(conn: Connection) -> None:
    conn.execute(
        insert(accounts).values(
            id=ACCOUNT,
            parent=None,
            name="acme",
            path="acme",
            kind="organization",
            cost_center=None,
            timezone="UTC",
            metadata={},
            status="active",
            created_at=START_US,
            deleted_at=None,
            revision=1,
        )
    )


def _states(conn: Connection) -> dict[str, str]:
    return dict(iter(run(conn, "SELECT id, state FROM journals").all()))


def _change_cap(conn: Connection, budget: str, cap: int, now_us: int) -> None:
    change_budget(conn, living_budget(conn, budget), {"cap": cap}, now_us)
