"""The facade: one worker's calls from admission to the book."""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.budgets import Need
from gateway.domain.errors import BudgetExceeded, BudgetHeld, RateLimited, Unavailable
from tests.ledger.workbench import Workbench, closing, tick


async def test_a_call_is_held_written_settled_and_posted_once(bench: Workbench) -> None:
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 100))
    written: list[OSError | None] = []
    ledger.after_write(written.append)
    await tick()
    assert written == [None]
    assert ledger.close(hold, closing(60))
    assert not ledger.close(hold, closing(999)), "the first close wins"
    await bench.settle(ledger)
    assert await bench.rows("SELECT id, charge, hold, overrun FROM ledger") == [(hold.attempt, 60, 100, 0)]
    assert await bench.scalar("SELECT spent FROM windows") == 60
    await bench.audit()
    assert await ledger.stop()
    assert await bench.rows("SELECT leased, spent FROM windows") == [(0, 60)]
    assert await bench.rows("SELECT state FROM journals") == [("finished",)]
    assert await bench.rows("SELECT * FROM leases") == []


async def test_the_lease_covers_the_next_call_without_sql(bench: Workbench) -> None:
    budget = await bench.budget(1_000_000)
    ledger = await bench.worker()
    await bench.hold(ledger, (budget, 100))
    facts = bench.facts(ledger)
    assert ledger.admit(facts, [Need(budget, "", 100)]) is not None


async def test_all_budgets_hold_or_none(bench: Workbench) -> None:
    wide, narrow = await bench.budget(1_000), await bench.budget(50)
    ledger = await bench.worker()
    with pytest.raises(BudgetExceeded) as refused:
        await bench.hold(ledger, (wide, 100), (narrow, 100))
    assert refused.value.fields["budget"] == narrow.name
    assert [window.held for window in ledger.book] == [0, 0]


async def test_spent_and_held_are_told_apart(bench: Workbench) -> None:
    budget = await bench.budget(100)
    ledger = await bench.worker()
    first = await bench.hold(ledger, (budget, 80))
    with pytest.raises(BudgetHeld) as held:
        await bench.hold(ledger, (budget, 80))
    assert held.value.fields == {
        "budget": budget.name,
        "budget_id": budget.id,
        "account": None,
        "unit": "usd",
        "cap": 100,
        "spent": 0,
        "held": 80,
        "resets_at": "2026-12-01T00:00:00Z",
    }
    ledger.close(first, closing(80))
    await bench.settle(ledger)
    with pytest.raises(BudgetExceeded) as spent:
        await bench.hold(ledger, (budget, 80))
    assert spent.value.fields["spent"] == 80


async def test_a_void_costs_nothing_and_is_in_the_book(bench: Workbench) -> None:
    budget = await bench.budget(100, unit="requests", period="minute")
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 1))
    ledger.close(hold, closing(0, outcome="void", requests=0, usage={}, lines=[], tokens=0))
    await bench.settle(ledger)
    assert await bench.rows("SELECT outcome, charge FROM ledger") == [("void", 0)]
    assert await bench.scalar("SELECT spent FROM windows") == 0
    assert await bench.rows("SELECT * FROM rollups") == []


async def test_a_rate_is_a_budget_by_the_minute(bench: Workbench) -> None:
    budget = await bench.budget(2, unit="requests", period="minute")
    ledger = await bench.worker()
    for _ in range(2):
        ledger.close(await bench.hold(ledger, (budget, 1)), closing(5))
    await bench.settle(ledger)
    with pytest.raises(RateLimited) as limited:
        await bench.hold(ledger, (budget, 1))
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.retry_after_s == 60
    bench.clock.advance(60)
    await bench.hold(ledger, (budget, 1))


async def test_minutes_long_gone_are_forgotten(bench: Workbench) -> None:
    """Not while somebody holds something there; what was spent in them stays in the book."""
    minute = await bench.budget(100, unit="requests", period="minute")
    month = await bench.budget(1_000)
    ledger = await bench.worker()
    running = await bench.hold(ledger, (minute, 1))
    bench.clock.advance(60)
    ledger.close(await bench.hold(ledger, (minute, 1), (month, 10)), closing(5))
    for _ in range(3):
        await bench.poll(ledger)
        bench.clock.advance(60)
    bench.clock.advance(8 * 86_400)
    await ledger.tidy()
    assert await bench.scalar("SELECT COUNT(*) FROM windows") == 2
    ledger.close(running, closing(5))
    await bench.poll(ledger)
    await bench.poll(ledger)
    await ledger.tidy()
    assert await bench.rows("SELECT budget FROM windows") == [(month.id,)]
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == 2


async def test_calls_in_flight_are_a_budget_without_a_period(bench: Workbench) -> None:
    budget = await bench.budget(1, unit="concurrent", period="lifetime")
    ledger = await bench.worker()
    first = await bench.hold(ledger, (budget, 1))
    with pytest.raises(RateLimited) as limited:
        await bench.hold(ledger, (budget, 1))
    assert limited.value.code == "too_many_in_flight"
    ledger.close(first, closing(7))
    await bench.hold(ledger, (budget, 1))


async def test_a_soft_budget_counts_and_never_holds(bench: Workbench) -> None:
    budget = await bench.budget(10, enforcement="soft")
    ledger = await bench.worker()
    for _ in range(2):
        ledger.close(await bench.hold(ledger, (budget, 100)), closing(100))
    await bench.settle(ledger)
    assert await bench.rows("SELECT spent, leased, overrun FROM windows") == [(200, 0, 0)]


async def test_a_client_that_leaves_while_waiting_holds_nothing(bench: Workbench) -> None:
    budget = await bench.budget(100)
    ledger = await bench.worker()
    first = await bench.hold(ledger, (budget, 80))
    waiting = asyncio.ensure_future(ledger.acquire(bench.facts(ledger), [Need(budget, "", 80)]))
    await tick()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ledger.close(first, closing(10))
    await bench.settle(ledger)
    assert [window.held for window in ledger.book] == [0]
    assert ledger.asks.waiting == 0


async def test_a_client_that_leaves_as_it_is_admitted_is_voided(bench: Workbench) -> None:
    budget = await bench.budget(100)
    ledger = await bench.worker()
    first = await bench.hold(ledger, (budget, 80))
    waiting = asyncio.ensure_future(ledger.acquire(bench.facts(ledger), [Need(budget, "", 80)]))
    await tick()
    ledger.close(first, closing(10))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await bench.settle(ledger)
    assert [window.held for window in ledger.book] == [0]
    await bench.audit()


async def test_refusing_while_the_worker_stops(bench: Workbench) -> None:
    budget = await bench.budget(100)
    ledger = await bench.worker()
    await bench.hold(ledger, (budget, 80))
    waiting = asyncio.ensure_future(ledger.acquire(bench.facts(ledger), [Need(budget, "", 80)]))
    await tick()
    await ledger.stop()
    with pytest.raises(Unavailable) as stopping:
        await waiting
    assert stopping.value.code == "draining"
    with pytest.raises(Unavailable):
        await ledger.acquire(bench.facts(ledger), [Need(budget, "", 1)])


async def test_a_call_not_posted_yet_can_be_read(bench: Workbench) -> None:
    budget = await bench.budget(100)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 80))
    assert ledger.unposted(hold.call) == []
    ledger.close(hold, closing(10))
    (ended,) = ledger.unposted(hold.call)
    assert ended.facts.attempt == hold.attempt
    assert ended.closing.charge_nano == 10
    assert [amount for _, amount, _ in ended.windows] == [10]
    await bench.settle(ledger)
    assert ledger.unposted(hold.call) == []
