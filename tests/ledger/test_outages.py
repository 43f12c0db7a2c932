"""The database is away: calls go on inside what is leased, limits with the last share, and all posts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.domain.budgets import Budget, Need
from gateway.domain.errors import RateLimited, Unavailable
from gateway.ledger.ledger import Ledger
from tests.ledger.workbench import Faulty, Workbench, closing, tick

MINUTE = 60


async def limited(bench: Workbench, ledger: Ledger, budget: Budget, count: int) -> int:
    """Make this many calls of one request each; returns how many were admitted."""
    admitted = 0
    for _ in range(count):
        try:
            hold = await bench.hold(ledger, (budget, 1))
        except RateLimited:
            continue
        ledger.close(hold, closing(3))
        admitted += 1
    return admitted


async def cut_off(ledger: Ledger, faulty: Faulty) -> None:
    """The database goes away, and the next poll notices."""
    faulty.is_away = True
    await ledger.watcher.poll()
    assert ledger.health.database_away_since_us is not None


async def test_calls_go_on_inside_the_lease_and_post_when_it_is_back(bench: Workbench) -> None:
    budget = await bench.budget(160_000)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    await bench.hold(ledger, (budget, 5_000))
    await cut_off(ledger, faulty)
    served = 0
    while (hold := ledger.admit(bench.facts(ledger), [Need(budget, "", 100)])) is not None:
        ledger.close(hold, closing(100))
        served += 1
    assert served == 50, "the lease had as much again as the first call needed"
    waiting = asyncio.ensure_future(bench.acquire(ledger, (budget, 100)))
    with pytest.raises(Unavailable) as away:
        await bench.pass_time(_driven(ledger, waiting))
    assert away.value.code == "ledger_unavailable"
    assert ledger.health.unposted == served
    faulty.is_away = False
    await bench.poll(ledger)
    assert ledger.health.database_away_since_us is None
    assert await bench.scalar("SELECT spent FROM windows") == served * 100
    await bench.audit()


async def _driven(ledger: Ledger, work: asyncio.Task[Any]) -> Any:
    while not work.done():
        await ledger.courier.step()
        await tick()
    return await work


async def test_a_minute_limit_goes_on_with_the_last_share(bench: Workbench) -> None:
    """Each minute of the outage this worker serves what it had of the last one, and no more."""
    budget = await bench.budget(20, unit="requests", period="minute")
    faulty = Faulty(bench.database)
    one, two = await bench.worker(database=faulty), await bench.worker()
    assert await limited(bench, one, budget, 5) == 5
    assert await limited(bench, two, budget, 9) == 9
    await bench.settle(one)
    await bench.settle(two)
    share = next(iter(one.book)).lease + 5
    await cut_off(one, faulty)
    for _ in range(3):
        bench.clock.advance(MINUTE)
        assert await limited(bench, one, budget, 20) == share
    faulty.is_away = False
    await bench.poll(one)
    assert one.health.unposted == 0
    spent = [row[0] for row in await bench.rows("SELECT spent FROM windows ORDER BY starts_at")]
    assert spent == [14, share, share, share]
    assert await bench.scalar("SELECT SUM(overrun) FROM windows") == 0
    await bench.audit()
    bench.clock.advance(MINUTE)
    await bench.hold(one, (budget, 1))


async def test_shares_that_were_too_much_are_shown_as_overrun(bench: Workbench) -> None:
    """One worker is cut off while another leases the whole minute: spent passes the cap, and is booked."""
    budget = await bench.budget(10, unit="requests", period="minute")
    faulty = Faulty(bench.database)
    one, two = await bench.worker(database=faulty), await bench.worker()
    assert await limited(bench, one, budget, 10) == 10
    await bench.settle(one)
    await cut_off(one, faulty)
    bench.clock.advance(MINUTE)
    assert await limited(bench, one, budget, 12) == 10
    assert await limited(bench, two, budget, 10) == 10
    await bench.settle(two)
    faulty.is_away = False
    await bench.poll(one)
    assert await bench.rows("SELECT spent, leased, overrun FROM windows ORDER BY id") == [
        (10, 0, 0),
        (20, 0, 10),
    ]
    await bench.audit()


async def test_a_window_without_a_row_is_adopted_too(bench: Workbench) -> None:
    """The worker dies before the database is back: its records name the window, and the adopter opens it."""
    budget = await bench.budget(20, unit="requests", period="minute")
    faulty = Faulty(bench.database)
    dead = await bench.worker(database=faulty)
    await limited(bench, dead, budget, 4)
    await bench.settle(dead)
    await cut_off(dead, faulty)
    bench.clock.advance(MINUTE)
    assert await limited(bench, dead, budget, 3) == 3
    await bench.hold(dead, (budget, 1))
    await tick()
    await dead.abandon()
    await bench.worker()
    assert await bench.rows("SELECT spent, leased FROM windows ORDER BY starts_at") == [(4, 0), (4, 0)]
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == 8
    await bench.audit()


async def test_soft_budgets_never_stop_a_call(bench: Workbench) -> None:
    """Their windows need no lease: they are opened when the charges are posted."""
    soft = await bench.budget(10, enforcement="soft")
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    await cut_off(ledger, faulty)
    ledger.close(await bench.hold(ledger, (soft, 100)), closing(100))
    faulty.is_away = False
    await bench.poll(ledger)
    assert await bench.rows("SELECT spent, leased, overrun FROM windows") == [(100, 0, 0)]
    await bench.audit()


async def test_a_limit_never_used_here_has_no_share(bench: Workbench) -> None:
    """What this worker never leased may be somebody else's entirely."""
    budget = await bench.budget(20, unit="requests", period="minute")
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    await cut_off(ledger, faulty)
    waiting = asyncio.ensure_future(bench.acquire(ledger, (budget, 1)))
    with pytest.raises(Unavailable):
        await bench.pass_time(_driven(ledger, waiting))


@pytest.mark.parametrize(("period", "lead_s"), [("day", 200), ("minute", 10)])
async def test_the_next_window_is_leased_before_its_turn(bench: Workbench, period: str, lead_s: int) -> None:
    """At the turn no call waits for SQL, and an outage over midnight stops nothing at once."""
    budget = await bench.budget(1_600, period=period)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    (turn,) = [await _turn(bench, ledger, budget)]
    bench.clock.set(turn - lead_s * 1_000_000)
    ledger.close(await bench.hold(ledger, (budget, 10)), closing(10))
    for _ in range(4):
        await bench.poll(ledger)
        bench.clock.advance(1)
    faulty.is_away = True
    bench.clock.set(turn + 1_000_000)
    assert ledger.admit(bench.facts(ledger), [Need(budget, "", 10)]) is not None
    await bench.audit()


async def _turn(bench: Workbench, ledger: Ledger, budget: Budget) -> int:
    ledger.close(await bench.hold(ledger, (budget, 10)), closing(10))
    return next(iter(ledger.book)).ends_at_us


async def test_what_is_leased_ahead_goes_back_when_the_line_rests(bench: Workbench) -> None:
    budget = await bench.budget(1_600, period="day")
    ledger = await bench.worker()
    turn = await _turn(bench, ledger, budget)
    bench.clock.set(turn - 200_000_000)
    ledger.close(await bench.hold(ledger, (budget, 10)), closing(10))
    for _ in range(3):
        await bench.poll(ledger)
    leased = "SELECT leased FROM windows ORDER BY starts_at"
    assert [row[0] > 0 for row in await bench.rows(leased)] == [True, True]
    bench.clock.advance(60)
    for _ in range(3):
        await bench.poll(ledger)
    assert await bench.rows(leased) == [(0,), (0,)]
    await bench.audit()
