"""How other gateways let more be spent than a limit says, or less: each of them as a test that passes here.

A docstring names who was seen to leak, and the report that tells of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gateway.domain.budgets import Need
from gateway.domain.errors import BudgetExceeded, BudgetHeld, Unavailable
from gateway.ledger.ledger import Hold, Ledger
from tests.ledger.workbench import Faulty, Workbench, closing, tick


async def burst(bench: Workbench, ledgers: list[Ledger], needs: list[list[Need]]) -> list[Hold]:
    """So many calls in one moment, spread over the workers; those that were let in."""
    calls = [
        asyncio.ensure_future(ledger.acquire(bench.facts(ledger), need))
        for number, need in enumerate(needs)
        for ledger in [ledgers[number % len(ledgers)]]
    ]
    await bench.together(asyncio.ensure_future(asyncio.wait(calls)), *ledgers)
    for call in calls:
        assert call.exception() is None or isinstance(call.exception(), BudgetHeld)
    return [call.result() for call in calls if call.exception() is None]


async def until_let_in(bench: Workbench, ledgers: list[Ledger], need: Need) -> Hold:
    """One call that tries again when it is told to."""
    for _ in range(5):
        found = await burst(bench, ledgers[:1], [[need]])
        if found:
            return found[0]
    raise AssertionError("it fits, and nothing else runs")


@pytest.mark.parametrize("workers", [1, 2])
async def test_fifty_calls_of_a_hundred_against_a_thousand(bench: Workbench, workers: int) -> None:
    """new-api 5690, one-api 2440: looked, then took; 5,000 of 1,000 were spent."""
    budget = await bench.budget(1_000)
    ledgers = [await bench.worker() for _ in range(workers)]
    held = await burst(bench, ledgers, [[Need(budget, "", 100)]] * 50)
    assert len(held) <= 10
    while len(held) < 10:
        held.append(await until_let_in(bench, ledgers, Need(budget, "", 100)))
    assert await burst(bench, ledgers, [[Need(budget, "", 1)]] * 4) == []
    await bench.audit()


async def test_a_burst_of_an_end_user_nobody_knew(bench: Workbench) -> None:
    """LiteLLM 40095: the first calls of an unknown end user all passed, 264,000 times the budget."""
    budget = await bench.budget(200, each="end_user")
    ledger = await bench.worker()
    needs = [[Need(budget, f"user-{number % 5}", 100)] for number in range(50)]
    held = await burst(bench, [ledger], needs)
    users = Counter(hold.parts[0][0].line.subject for hold in held)
    assert users == {f"user-{number}": 2 for number in range(5)}


async def test_a_day_and_a_month_on_one_key(bench: Workbench) -> None:
    """TensorZero: two periods of one resource and scope refused every call as duplicates."""
    day, month = await bench.budget(150, period="day"), await bench.budget(200)
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (day, 100), (month, 100)), closing(100))
    await bench.settle(ledger)
    with pytest.raises(BudgetExceeded) as refused:
        await bench.hold(ledger, (day, 100), (month, 100))
    assert refused.value.fields["budget"] == day.name
    bench.clock.advance(86_400)
    ledger.close(await bench.hold(ledger, (day, 100), (month, 100)), closing(100))
    bench.clock.advance(86_400)
    await bench.settle(ledger)
    with pytest.raises(BudgetExceeded) as refused:
        await bench.hold(ledger, (day, 100), (month, 100))
    assert refused.value.fields["budget"] == month.name


async def test_a_call_that_fails_gives_everything_back(bench: Workbench) -> None:
    """one-api (an error before the answer), TensorZero (a refused connection): the hold stayed for good."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    for _ in range(20):
        ledger.close(await bench.hold(ledger, (budget, 100)), closing(0, outcome="void", requests=0))
    await bench.settle(ledger)
    assert await bench.rows("SELECT spent, overrun FROM windows") == [(0, 0)]
    assert await bench.hold(ledger, (budget, 100))


async def test_what_is_billed_beyond_a_hold_is_owed(bench: Workbench) -> None:
    """TensorZero, agentgateway: the excess was forgiven, and the next call let in."""
    budget = await bench.budget(12)
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (budget, 10)), closing(15))
    await bench.settle(ledger)
    assert await bench.rows("SELECT spent, overrun FROM windows") == [(15, 5)]
    with pytest.raises(BudgetExceeded):
        await bench.hold(ledger, (budget, 1))


async def test_settling_twice_counts_once(bench: Workbench) -> None:
    """new-api 7273 (each turn and the session's total), its refunds: added again by every try."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 50))
    assert [ledger.close(hold, closing(charge)) for charge in (20, 20, 50)] == [True, False, False]
    await bench.settle(ledger)
    assert await bench.rows("SELECT charge FROM ledger") == [(20,)]
    assert await bench.scalar("SELECT spent FROM windows") == 20
    await bench.audit()


async def test_a_call_is_settled_after_its_budget_is_gone(bench: Workbench) -> None:
    """TigerBeetle's transfers expire unposted: a call that ends late would cost nothing."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 50))
    await bench.execute("UPDATE budgets SET deleted_at = ? WHERE id = ?", bench.clock.now_us(), budget.id)
    bench.clock.advance(90 * 86_400)
    await bench.poll(ledger)
    ledger.close(hold, closing(40))
    await bench.settle(ledger)
    assert await bench.rows("SELECT charge FROM ledger") == [(40,)]
    assert await bench.scalar("SELECT spent FROM windows") == 40


async def test_a_slow_worker_is_not_taken_for_a_dead_one(bench: Workbench) -> None:
    """Bifrost's ghost nodes, leases that time out: a pause of a minute looked like a death."""
    budget = await bench.budget(100)
    slow, other = await bench.worker(), await bench.worker()
    hold = await bench.hold(slow, (budget, 60))
    bench.clock.advance(3_600)
    await other.adopter.adopt_all()
    with pytest.raises(BudgetHeld):
        await bench.together(bench.acquire(other, (budget, 60)), other)
    slow.close(hold, closing(55))
    await bench.settle(slow)
    assert await bench.rows("SELECT charge, outcome FROM ledger") == [(55, "done")]
    await bench.audit()


async def test_one_bad_record_does_not_keep_the_others_from_the_book(bench: Workbench) -> None:
    """LiteLLM 35531, otari's batch writer: the batch was dropped, and its money with it."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    for number in range(7):
        bad = {"usage": {"output": 1 << 63}} if number == 3 else {}
        ledger.close(await bench.hold(ledger, (budget, 10)), closing(10, **bad))
    await bench.settle(ledger)
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == 6
    assert await bench.scalar("SELECT COUNT(*) FROM quarantine") == 1
    assert await bench.scalar("SELECT spent FROM windows") == 70
    await bench.audit()


async def test_the_database_away(bench: Workbench) -> None:
    """LiteLLM 38121 (401 for ever), its switch (no budget at all): here calls go on inside the lease, are
    refused when they can no longer be written down, and all are in the book when it is back."""
    budget = await bench.budget(10**9)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty, max_journal_bytes=64 * 1024)
    ledger.close(await bench.hold(ledger, (budget, 10**6)), closing(1))
    await bench.settle(ledger)
    faulty.is_away = True
    served = 1
    need = [Need(budget, "", 100)]
    while (hold := ledger.admit(bench.facts(ledger), need)) is not None:
        await tick()
        ledger.close(hold, closing(1))
        served += 1
    with pytest.raises(Unavailable) as unavailable:
        await bench.driven(ledger, ledger.acquire(bench.facts(ledger), need))
    assert unavailable.value.code == "ledger_unavailable"
    assert "journal is full" in unavailable.value.message
    faulty.is_away = False
    await bench.settle(ledger)
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == served > 1
    assert await bench.scalar("SELECT spent FROM windows") == served
    await bench.audit()
