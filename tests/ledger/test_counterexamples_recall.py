"""Headroom that lies with another worker: a call that fits is admitted, nobody waits for ever.

Numbers are those of the protocol's list; each test fails without the rule its docstring names.
"""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.budgets import Budget, Need
from gateway.domain.errors import BudgetExceeded, BudgetHeld
from gateway.ledger.ledger import Hold, Ledger
from tests.ledger.workbench import Faulty, Workbench, closing, tick


def ask(bench: Workbench, ledger: Ledger, *wanted: tuple[Budget, int]) -> asyncio.Task[Hold]:
    """A call that waits for its turn."""
    needs = [Need(budget, "", amount) for budget, amount in wanted]
    return asyncio.ensure_future(ledger.acquire(bench.facts(ledger), needs))


async def half_used(bench: Workbench, ledger: Ledger, budget: Budget) -> Hold:
    """A worker with a lease of 2, of which 1 is held and 1 is free."""
    hold = await bench.hold(ledger, (budget, 1))
    other = await bench.hold(ledger, (budget, 1))
    ledger.close(other, closing(0))
    await bench.settle(ledger)
    (window,) = ledger.book
    assert (window.lease, window.free) == (2, 1)
    return hold


async def test_12_headroom_idle_in_another_lease_is_recalled(bench: Workbench) -> None:
    """Recall before refusing: 2 + 2 of 4 are leased, 1 + 1 are free, and a call of 2 fits."""
    budget = await bench.budget(4)
    one, two = await bench.worker(), await bench.worker()
    await half_used(bench, one, budget)
    await half_used(bench, two, budget)
    hold = await bench.together(ask(bench, one, (budget, 2)), one, two)
    assert hold.parts[0][1] == 2
    assert await bench.scalar("SELECT leased FROM windows") == 4
    await bench.audit()


async def test_13_workers_with_waiting_calls_answer_like_any_other(bench: Workbench) -> None:
    """Each keeping its free part for its own waiting call, both would wait for ever."""
    budget = await bench.budget(4)
    one, two = await bench.worker(), await bench.worker()
    first = await half_used(bench, one, budget)
    await half_used(bench, two, budget)
    waiting = [ask(bench, one, (budget, 2)), ask(bench, two, (budget, 2))]
    await asyncio.wait({asyncio.ensure_future(_first(bench, waiting, one, two))})
    admitted = [task for task in waiting if task.done() and task.exception() is None]
    assert len(admitted) == 1, "one of them fits, and gets it"
    assert first.parts[0][0].lease >= 0
    await bench.audit()


async def _first(bench: Workbench, waiting: list[asyncio.Task[Hold]], *ledgers: Ledger) -> None:
    done = asyncio.ensure_future(asyncio.wait(waiting))
    await bench.together(done, *ledgers)
    for task in waiting:
        if task.exception() is not None:
            assert isinstance(task.exception(), BudgetHeld)


async def test_14_two_calls_that_need_the_same_two_budgets_do_not_swap_halves(bench: Workbench) -> None:
    """One ask for all windows: asked one by one, each worker gets one and gives it back, for ever."""
    left, right = await bench.budget(1), await bench.budget(1)
    wires = [Faulty(bench.database), Faulty(bench.database)]
    one, two = [await bench.worker(database=wire) for wire in wires]
    waiting = [ask(bench, one, (left, 1), (right, 1)), ask(bench, two, (right, 1), (left, 1))]
    done = asyncio.ensure_future(asyncio.wait(waiting))
    await bench.together(done, one, two)
    assert sorted(task.exception() is None for task in waiting) == [False, True]
    winner = next(number for number, task in enumerate(waiting) if task.exception() is None)
    assert [held for _, held in waiting[winner].result().parts] == [1, 1]
    assert wires[winner].sent.count("ask") == 1, "both in one transaction"
    await bench.audit()


async def test_15_an_answer_names_the_recall_it_had_read(bench: Workbench) -> None:
    """A return under way when somebody recalls is no answer to that: more may have come free meanwhile."""
    budget = await bench.budget(4)
    faulty = Faulty(bench.database)
    slow, other = await bench.worker(database=faulty), await bench.worker()
    hold = await bench.hold(slow, (budget, 2))
    second = await bench.hold(slow, (budget, 1))
    slow.close(second, closing(0))
    await bench.settle(slow)
    bench.clock.advance(6)
    await slow.watcher.poll()
    in_flight, go_on = asyncio.Event(), asyncio.Event()

    async def gate(name: str) -> None:
        if name == "give_back" and not in_flight.is_set():
            in_flight.set()
            await go_on.wait()

    faulty.gate = gate
    step = asyncio.ensure_future(slow.courier.step())
    await in_flight.wait()
    slow.close(hold, closing(0))  # 2 come free after the figure was taken
    waiting = ask(bench, other, (budget, 4))
    await tick()
    await bench.settle(other)
    assert await bench.scalar("SELECT recall FROM windows") == 1
    assert not waiting.done(), "it has recalled, and waits for an answer"
    go_on.set()
    await step
    bench.timer.advance(0.05)
    await tick()
    await bench.settle(other)
    assert not waiting.done(), "the old figure is not taken for an answer"
    assert (await bench.together(waiting, slow, other)).parts[0][1] == 4
    await bench.audit()


async def test_16_a_grant_withdraws_the_answer_to_a_recall(bench: Workbench) -> None:
    """Answered, then granted with slack: the slack is free, and nobody would ask for it again."""
    budget = await bench.budget(64)
    one, two = await bench.worker(), await bench.worker()
    await bench.hold(one, (budget, 1))
    await bench.hold(two, (budget, 31))
    waiting = ask(bench, two, (budget, 32))
    await tick()
    await bench.settle(two)
    assert not waiting.done(), "one unit lies idle with the other worker"
    await bench.poll(one)
    answered = "SELECT answered, amount FROM leases WHERE journal = ?"
    assert await bench.rows(answered, one.journal_id) == [(1, 1)]
    bench.clock.advance(2)
    small = await bench.hold(one, (budget, 1))
    one.close(small, closing(0))
    assert await bench.rows(answered, one.journal_id) == [(0, 3)], "granted with slack, now free"
    bench.timer.advance(0.05)
    await tick()
    await bench.settle(two)
    assert not waiting.done(), "the answer of before is not taken for an answer"
    assert (await bench.together(waiting, one, two)).parts[0][1] == 32
    await bench.audit()


async def test_a_stopped_worker_s_headroom_is_named_in_the_refusal(bench: Workbench) -> None:
    """A dead or unreachable worker holds the rest: waiting ends after its limit, and the refusal names it."""
    budget = await bench.budget(10)
    silent, asking = await bench.worker(), await bench.worker()
    silent.close(await bench.hold(silent, (budget, 8)), closing(0))
    await bench.settle(silent)
    waiting = ask(bench, asking, (budget, 8))
    with pytest.raises(BudgetHeld) as held:
        await bench.together(waiting, asking)
    assert silent.journal_id in held.value.message
    await bench.audit()


async def test_what_the_cap_cannot_pay_is_refused_without_asking(bench: Workbench) -> None:
    """Known `spent + need > cap` needs no SQL; the poll corrects it when the cap rises."""
    budget = await bench.budget(10)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    ledger.close(await bench.hold(ledger, (budget, 8)), closing(8))
    await bench.settle(ledger)
    faulty.sent.clear()
    with pytest.raises(BudgetExceeded):
        await bench.hold(ledger, (budget, 8))
    assert "ask" not in faulty.sent
    await bench.execute("UPDATE windows SET cap = 20, recall = recall + 1")
    for _ in range(4):
        await bench.poll(ledger)
    await bench.hold(ledger, (budget, 8))
    await bench.audit()


async def test_what_was_read_long_ago_refuses_nobody(bench: Workbench) -> None:
    """The window rested, and somebody raised the cap: SQL is asked before anybody is refused."""
    budget = await bench.budget(10)
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (budget, 8)), closing(8))
    await bench.settle(ledger)
    assert ledger.left(budget, "", bench.clock.now_us()) == 2
    bench.clock.advance(300)
    await bench.execute("UPDATE windows SET cap = 20, recall = recall + 1")
    assert ledger.left(budget, "", bench.clock.now_us()) is None, "figures of long ago are not told"
    await bench.hold(ledger, (budget, 8))


async def test_a_running_call_that_cannot_grow_yet_can_a_moment_later(bench: Workbench) -> None:
    """Growing takes what is at hand; what was missing is asked for meanwhile."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 10))
    assert not ledger.grow(hold, [Need(budget, "", 200)])
    await bench.settle(ledger)
    assert ledger.grow(hold, [Need(budget, "", 200)])
    assert hold.parts[0][1] == hold.hold_nano == 210
    assert not ledger.grow(hold, [Need(budget, "", 5_000)])
    await bench.settle(ledger)
    assert not ledger.grow(hold, [Need(budget, "", 5_000)]), "there is no such headroom"
    ledger.close(hold, closing(205))
    await bench.settle(ledger)
    assert await bench.rows("SELECT spent, overrun FROM windows") == [(205, 0)]
    await bench.audit()


async def test_a_running_call_grows_into_what_idles_with_others(bench: Workbench) -> None:
    """Without a recall a realtime session is cut off while the money lies in somebody else's lease."""
    budget = await bench.budget(100)
    ledger, other = await bench.worker(), await bench.worker()
    hold = await bench.hold(ledger, (budget, 30))
    other.close(await bench.hold(other, (budget, 40)), closing(10))
    await bench.settle(other)
    assert not ledger.grow(hold, [Need(budget, "", 60)])
    await bench.settle(ledger)
    await bench.poll(other)
    await bench.settle(other)
    assert not ledger.grow(hold, [Need(budget, "", 60)]), "it has to ask again for what came back"
    await bench.settle(ledger)
    assert ledger.grow(hold, [Need(budget, "", 60)])
    await bench.audit()


async def test_a_call_grown_by_a_worker_that_died_is_settled_by_what_it_held(bench: Workbench) -> None:
    budget = await bench.budget(1_000)
    dead = await bench.worker()
    hold = await bench.hold(dead, (budget, 10))
    dead.grow(hold, [Need(budget, "", 5)])
    dead.check(hold, {"input": 1, "output": 12}, 13, 13)
    await tick()
    await dead.abandon()
    await bench.worker()
    assert await bench.rows("SELECT charge, hold, overrun FROM ledger") == [(13, 15, 0)]
    await bench.audit()


@pytest.mark.parametrize("need", [10, 11])
async def test_35_exactly_the_cap_and_not_one_more(bench: Workbench, need: int) -> None:
    """The off-by-one that a planted `<= cap + 1` is: two workers may lease the cap together, no more."""
    budget = await bench.budget(20)
    one, two = await bench.worker(), await bench.worker()
    await bench.hold(one, (budget, 10))
    waiting = ask(bench, two, (budget, need))
    if need == 10:
        await bench.together(waiting, one, two)
    else:
        with pytest.raises(BudgetHeld):
            await bench.together(waiting, one, two)
    assert await bench.scalar("SELECT spent + leased FROM windows") <= 20
    await bench.audit()
