"""Windows that turn, open, or grow while calls run: where other gateways lose or invent money."""

from __future__ import annotations

import asyncio

from gateway.domain.budgets import Budget
from gateway.domain.names import NameGate
from gateway.gate.directory import Directory
from gateway.store.budget_changes import create_budget, increase_window
from tests.ledger.workbench import Workbench, closing, tick

MINUTE = 60


async def spent(bench: Workbench) -> list[int]:
    """What each window has spent, the earliest first."""
    return [row[0] for row in await bench.rows("SELECT spent FROM windows ORDER BY starts_at")]


async def test_a_window_that_turns_while_a_call_runs(bench: Workbench) -> None:
    """agentgateway: booked where the call ended, and what was pending at the turn was zeroed."""
    budget = await bench.budget(100, period="minute", unit="tokens")
    ledger = await bench.worker()
    first = await bench.hold(ledger, (budget, 60))
    bench.clock.advance(MINUTE)
    second = await bench.hold(ledger, (budget, 90))
    ledger.close(first, closing(50))
    ledger.close(second, closing(80))
    await bench.settle(ledger)
    assert await spent(bench) == [50, 80]
    await bench.audit()


async def test_two_workers_open_a_window_at_once(bench: Workbench) -> None:
    """LiteLLM 34733, 36940: the second one to reset a window erased what the first had counted in it."""
    budget = await bench.budget(100)
    one, two = await bench.worker(), await bench.worker()
    asking = [asyncio.ensure_future(bench.acquire(each, (budget, 50))) for each in (one, two)]
    await bench.together(asyncio.ensure_future(asyncio.wait(asking)), one, two)
    assert await bench.rows("SELECT cap, leased FROM windows") == [(100, 100)]
    for ledger, call in zip((one, two), asking, strict=True):
        ledger.close(call.result(), closing(50))
        await bench.settle(ledger)
    assert await spent(bench) == [100]
    await bench.audit()


async def test_a_clock_that_steps_back(bench: Workbench) -> None:
    """Windows kept as one counter and its last reset: a step back resets it again, or never."""
    budget = await bench.budget(100, period="minute")
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (budget, 70)), closing(70))
    for seconds in (MINUTE, -MINUTE):
        bench.clock.advance(seconds)
        ledger.close(await bench.hold(ledger, (budget, 30)), closing(30))
    await bench.settle(ledger)
    assert await spent(bench) == [100, 30]
    await bench.audit()


async def test_a_call_that_waits_past_the_edge_is_dated_in_the_window_it_is_booked_in(
    bench: Workbench,
) -> None:
    """Counters and rows that disagree at midnight: the row said yesterday, the counter today."""
    budget = await bench.budget(100, period="day")
    ledger = await bench.worker()
    (turn,) = {(await bench.hold(ledger, (budget, 1))).parts[0][0].ends_at_us}
    bench.clock.set(turn - 1)
    waiting = asyncio.ensure_future(bench.acquire(ledger, (budget, 60)))
    await tick()
    bench.clock.set(turn)
    hold = await bench.driven(ledger, waiting)
    ledger.close(hold, closing(60))
    await bench.settle(ledger)
    window = hold.parts[0][0]
    ((admitted_us,),) = await bench.rows("SELECT admitted_at FROM ledger")
    assert window.starts_at_us <= admitted_us < window.ends_at_us
    await bench.audit()


async def test_an_increase_reaches_a_worker_whose_window_has_rested(bench: Workbench) -> None:
    """LiteLLM 29576, 39726: the database said there was money again, the counter in memory did not."""
    budget = Budget("bud_1", "spent", "usd", 100, "month", created_at_us=bench.clock.now_us())
    await bench.database.write(create_budget, budget)
    ledger = await bench.worker()
    directory = Directory(bench.database, ledger.budgets_changed, NameGate(100))
    await directory.refresh()
    ledger.close(await bench.hold(ledger, (budget, 100)), closing(100))
    await bench.settle(ledger)
    bench.clock.advance(30)
    await bench.poll(ledger)
    window = await bench.scalar("SELECT id FROM windows")
    await bench.database.write(
        increase_window,
        window,
        1_000,
        increase_id="inc_1",
        reason="a test",
        made_by="admin_1",
        now_us=bench.clock.now_us(),
    )
    await directory.refresh()
    await bench.poll(ledger)
    assert (await bench.hold(ledger, (budget, 50))).parts[0][1] == 50
