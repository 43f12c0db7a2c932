"""What goes wrong when a transaction's outcome is not known, or it happens later: one test for each story.

Numbers are those of the protocol's list; each test fails without the rule its docstring names.
"""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.budgets import Need
from gateway.domain.errors import BudgetHeld
from gateway.store.journals import SerialMoved
from gateway.store.leases import release
from tests.ledger.workbench import Faulty, Workbench, closing, tick


async def test_05_a_post_that_was_not_heard_is_not_posted_again(bench: Workbench) -> None:
    """Serial and `posted`: the resync finds that it happened."""
    budget = await bench.budget(1_000)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    ledger.close(await bench.hold(ledger, (budget, 100)), closing(60))
    faulty.faults, faulty.only = ["unheard"], "post_frames"
    await bench.settle(ledger)
    assert await bench.rows("SELECT charge FROM ledger") == [(60,)]
    (window,) = ledger.book
    assert (window.spent, window.unposted, window.held) == (0, 0, 0), "known by resync, not by an answer"
    assert window.lease == await bench.scalar("SELECT amount FROM leases")
    await bench.audit()


async def test_06_an_ask_that_was_not_heard_is_neither_used_nor_lost(bench: Workbench) -> None:
    """Resync: treated as failed, one's own unknown lease would refuse the call, and then leak."""
    budget = await bench.budget(100)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    faulty.faults, faulty.only = ["unheard"], "ask"
    hold = await bench.hold(ledger, (budget, 80))
    (window,) = ledger.book
    assert window.lease == await bench.scalar("SELECT amount FROM leases") == 86
    ledger.close(hold, closing(80))
    await bench.settle(ledger)
    await bench.audit()


async def test_06_an_ask_that_never_happened_is_asked_again(bench: Workbench) -> None:
    """The same, the other way round: lost before it was executed, and the late one dies."""
    budget = await bench.budget(100)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    faulty.faults, faulty.only = ["late"], "ask"
    await bench.hold(ledger, (budget, 80))
    (late,) = await faulty.deliver_late()
    assert isinstance(late, SerialMoved)
    assert await bench.scalar("SELECT leased FROM windows") == 86
    await bench.audit()


async def test_07_headroom_of_a_return_not_heard_is_not_used(bench: Workbench) -> None:
    """R stays until the resync: added back, a call would be admitted on what is executed away later."""
    budget = await bench.budget(1_600)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    ledger.close(await bench.hold(ledger, (budget, 100)), closing(0))
    await bench.settle(ledger)
    (window,) = ledger.book
    lease = window.lease
    bench.clock.advance(6)
    faulty.faults, faulty.only = ["late", "away", "away"], None
    faulty.only = "give_back"
    await ledger.watcher.poll()
    await ledger.courier.step()
    assert (window.returning, window.free) == (lease, 0)
    assert ledger.admit(bench.facts(ledger), [Need(budget, "", 1)]) is None
    # Executed before the resync: SQL then says that it is gone.
    assert await faulty.deliver_late() == [None]
    await ledger.courier.resync()
    assert (window.returning, window.lease) == (0, 0)
    await bench.audit()


async def test_08_after_the_resync_the_old_return_is_dead(bench: Workbench) -> None:
    """The resync moves the serial: by a plain read, the old return would take what was lent again."""
    budget = await bench.budget(1_600)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    ledger.close(await bench.hold(ledger, (budget, 100)), closing(0))
    await bench.settle(ledger)
    bench.clock.advance(6)
    faulty.faults, faulty.only = ["late"], "give_back"
    await ledger.watcher.poll()
    await ledger.courier.step()
    await ledger.courier.resync()
    (window,) = ledger.book
    hold = ledger.admit(bench.facts(ledger), [Need(budget, "", 100)])
    assert hold is not None, "what the resync confirmed is used"
    (late,) = await faulty.deliver_late()
    assert isinstance(late, SerialMoved)
    assert window.lease == await bench.scalar("SELECT amount FROM leases")
    await bench.audit()


async def test_09_an_ask_of_a_dead_worker_executed_after_its_journal_was_finished(bench: Workbench) -> None:
    """A5 moves the serial: otherwise the lease would be there for ever."""
    budget = await bench.budget(100)
    faulty = Faulty(bench.database)
    dying = await bench.worker(database=faulty)
    faulty.faults, faulty.only = ["late"], "ask"
    asking = asyncio.ensure_future(dying.acquire(bench.facts(dying), [Need(budget, "", 80)]))
    while not faulty.late:
        await tick()
        await dying.openings.quiet()
        await dying.courier.step()
    asking.cancel()
    await dying.abandon()
    other = await bench.worker()
    assert await bench.rows("SELECT state FROM journals WHERE id = ?", dying.journal_id) == [("finished",)]
    (late,) = await faulty.deliver_late()
    assert isinstance(late, SerialMoved)
    assert await bench.scalar("SELECT leased FROM windows") == 0
    await bench.hold(other, (budget, 100))
    await bench.audit()


async def test_10_a_release_that_the_owner_outlives(bench: Workbench) -> None:
    """The release moves the serial: the owner's next return would take more than it has."""
    budget = await bench.budget(1_600)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 100))
    window = next(iter(ledger.book))
    lease = window.lease
    assert await bench.database.write(release, ledger.journal_id, window.id) == lease
    bench.clock.advance(6)
    ledger.shown.refresh()
    await bench.settle(ledger)
    assert window.lease == 0, "its next transaction, whatever it is, tells it"
    assert ledger.admit(bench.facts(ledger), [Need(budget, "", 1)]) is None
    ledger.close(hold, closing(40))
    await bench.settle(ledger)
    assert await bench.rows("SELECT spent, leased, released FROM windows") == [(40, 0, lease)]
    assert window.lease == 0
    await bench.audit()
    await bench.hold(ledger, (budget, 1))


async def test_11_what_is_being_returned_is_not_admitted_on(bench: Workbench) -> None:
    """Debit first: the figure leaves `free` before the transaction is sent."""
    budget = await bench.budget(1_600)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    ledger.close(await bench.hold(ledger, (budget, 100)), closing(0))
    await bench.settle(ledger)
    bench.clock.advance(6)
    await ledger.watcher.poll()
    in_flight, go_on = asyncio.Event(), asyncio.Event()

    async def gate(name: str) -> None:
        if name == "give_back":
            in_flight.set()
            await go_on.wait()

    faulty.gate = gate
    step = asyncio.ensure_future(ledger.courier.step())
    await in_flight.wait()
    assert ledger.admit(bench.facts(ledger), [Need(budget, "", 1)]) is None
    go_on.set()
    await step
    (window,) = ledger.book
    assert (window.lease, window.returning, window.free) == (0, 0, 0)
    await bench.audit()


async def test_17_a_refusal_is_judged_on_what_is_free_at_that_moment(bench: Workbench) -> None:
    """While the ask is under way a call of our own closes: refusing then would be wrong, though it fits."""
    budget = await bench.budget(100)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    first = await bench.hold(ledger, (budget, 80))
    in_flight, go_on = asyncio.Event(), asyncio.Event()

    async def gate(name: str) -> None:
        if name == "ask":
            in_flight.set()
            await go_on.wait()

    faulty.gate = gate
    waiting = asyncio.ensure_future(ledger.acquire(bench.facts(ledger), [Need(budget, "", 60)]))
    await tick()
    step = asyncio.ensure_future(ledger.courier.step())
    await in_flight.wait()
    ledger.close(first, closing(10))
    go_on.set()
    await step
    assert (await waiting).parts[0][1] == 60


async def test_17_an_ask_for_more_than_is_missing_by_now_is_put_again(bench: Workbench) -> None:
    """60 are asked for and refused; meanwhile 40 came free here, and the 20 still missing fit the cap."""
    budget = await bench.budget(100)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    first, _ = [await bench.hold(ledger, (budget, amount)) for amount in (50, 30)]
    in_flight, go_on = asyncio.Event(), asyncio.Event()

    async def gate(name: str) -> None:
        if name == "ask" and not in_flight.is_set():
            in_flight.set()
            await go_on.wait()

    faulty.gate = gate
    waiting = asyncio.ensure_future(ledger.acquire(bench.facts(ledger), [Need(budget, "", 60)]))
    await tick()
    step = asyncio.ensure_future(ledger.courier.step())
    await in_flight.wait()
    ledger.close(first, closing(10))
    assert not waiting.done()
    go_on.set()
    await step
    hold = await bench.driven(ledger, waiting)
    assert hold.parts[0][1] == 60
    await bench.audit()


async def test_17_a_refusal_is_judged_in_the_window_of_that_moment(bench: Workbench) -> None:
    """While the ask is under way the window turns: the new one has room."""
    budget = await bench.budget(100, period="day")
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    await bench.hold(ledger, (budget, 80))
    in_flight, go_on = asyncio.Event(), asyncio.Event()

    async def gate(name: str) -> None:
        if name == "ask" and not in_flight.is_set():
            in_flight.set()
            await go_on.wait()

    faulty.gate = gate
    waiting = asyncio.ensure_future(ledger.acquire(bench.facts(ledger), [Need(budget, "", 60)]))
    await tick()
    step = asyncio.ensure_future(ledger.courier.step())
    await in_flight.wait()
    bench.clock.advance(86_400)
    go_on.set()
    await step
    hold = await bench.driven(ledger, waiting)
    assert hold.parts[0][0].starts_at_us > bench.clock.now_us() - 86_400_000_000
    await bench.audit()


async def test_17_held_is_refused_when_nothing_moved(bench: Workbench) -> None:
    """The counter-test: with nothing changed while it was asked, the refusal stands."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    await bench.hold(ledger, (budget, 80))
    with pytest.raises(BudgetHeld):
        await bench.hold(ledger, (budget, 60))
