"""Settling is never conditional, and a charge stays where its hold was: one test for each story.

Numbers are those of the protocol's list; each test fails without the rule its docstring names.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.domain.errors import BudgetExceeded, BudgetHeld
from gateway.ledger.files import replay
from gateway.ledger.records import CLOSE, OPEN, frames
from tests.ledger.workbench import Faulty, Workbench, closing, tick


async def test_18_the_debt_of_an_overrun_does_not_block_the_last_cents(bench: Workbench) -> None:
    """L is what SQL says after posting: a remembered debt would refuse what still fits, for ever."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (budget, 32)), closing(80))
    (window,) = ledger.book
    assert window.free < 0, "until it is posted, the debt counts"
    await bench.settle(ledger)
    assert window.free == 0
    hold = await bench.hold(ledger, (budget, 20))
    ledger.close(hold, closing(20))
    await bench.settle(ledger)
    assert await bench.rows("SELECT spent, leased, overrun FROM windows") == [(100, 0, 48)]
    await bench.audit()


async def test_18_a_debt_not_posted_yet_is_covered_by_the_next_ask(bench: Workbench) -> None:
    """Negative free: the next ask is for the debt and the call together."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (budget, 32)), closing(80))
    with pytest.raises(BudgetExceeded):
        await bench.hold(ledger, (budget, 21))
    hold = await bench.hold(ledger, (budget, 20))
    (window,) = ledger.book
    assert window.lease == 100
    ledger.close(hold, closing(20))
    await bench.settle(ledger)
    await bench.audit()


async def test_19_an_overrun_posts_and_blocks_nothing_but_the_next_call(bench: Workbench) -> None:
    """A settle that tested the cap would never post, and hold up the batch behind it."""
    small, large = await bench.budget(100), await bench.budget(1_000)
    ledger = await bench.worker()
    first = await bench.hold(ledger, (small, 90))
    second = await bench.hold(ledger, (large, 10))
    ledger.close(first, closing(400))
    ledger.close(second, closing(10))
    await bench.settle(ledger)
    assert await bench.rows("SELECT charge, overrun FROM ledger ORDER BY charge") == [(10, 0), (400, 310)]
    assert await bench.rows("SELECT spent, leased, overrun FROM windows WHERE id = 1") == [(400, 0, 310)]
    with pytest.raises(BudgetExceeded):
        await bench.hold(ledger, (small, 1))
    assert "overrun" in await bench.scalar("SELECT flags FROM ledger WHERE charge = 400")
    await bench.audit()


async def test_20_an_overrun_does_not_eat_the_lease_of_others(bench: Workbench) -> None:
    """`k = min(L, c)`: an unclipped lease goes negative, and `leased` understates what others hold."""
    budget = await bench.budget(200)
    one, two = await bench.worker(), await bench.worker()
    held = await bench.hold(one, (budget, 50))
    await bench.hold(two, (budget, 100))
    one.close(held, closing(90))
    await bench.settle(one)
    leased = await bench.scalar("SELECT leased FROM windows")
    assert await bench.rows("SELECT journal, amount FROM leases") == [(two.journal_id, leased)]
    await bench.audit()


async def test_21_no_timer_ever_releases_a_lease(bench: Workbench) -> None:
    """Swept away, its headroom is sold again, and the dead worker's journal is adopted later all the same."""
    budget = await bench.budget(100)
    dead = await bench.worker(folder=bench.folder / "elsewhere")
    hold = await bench.hold(dead, (budget, 90))
    dead.check(hold, {"input": 1, "output": 80}, 81, 81)
    await tick()
    await dead.abandon()
    other = await bench.worker()
    bench.clock.advance(3 * 86_400)
    await bench.poll(other)
    with pytest.raises(BudgetHeld) as refused:
        await bench.together(_acquire(bench, other, budget, 20), other)
    assert dead.journal_id in refused.value.message
    late = await bench.worker(folder=bench.folder / "elsewhere")
    assert await bench.rows("SELECT charge, outcome FROM ledger") == [(81, "interrupted")]
    await bench.audit()
    await late.stop()


async def test_22_an_adopter_that_dies_has_not_returned_the_lease(bench: Workbench) -> None:
    """A5 returns with the last charge, in one transaction: returned first, headroom is sold twice."""
    budget = await bench.budget(100)
    dead = await bench.worker()
    dead.close(await bench.hold(dead, (budget, 90)), closing(90))
    await tick()
    await dead.abandon()
    faulty = Faulty(bench.database)
    faulty.faults, faulty.only = ["away"], "_post_and_finish"
    failing = await bench.worker(database=faulty)
    assert failing.health.to_adopt == [dead.journal_id]
    assert await bench.scalar("SELECT leased FROM windows") >= 90, "nothing was returned"
    await bench.audit()
    await failing.adopter.adopt_all()
    assert await bench.rows("SELECT spent, leased FROM windows") == [(90, 0)]
    await bench.audit()


async def test_23_a_charge_stays_in_the_window_of_its_hold(bench: Workbench) -> None:
    """Booked where it ends, it passes the cap of the new window, and the old lease never shrinks."""
    budget = await bench.budget(100, period="day")
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 90))
    bench.clock.advance(86_400)
    await bench.hold(ledger, (budget, 100))
    ledger.close(hold, closing(90))
    await bench.poll(ledger)
    assert await bench.rows("SELECT spent, leased FROM windows ORDER BY starts_at") == [(90, 0), (0, 100)]
    await bench.audit()


async def test_23_a_clock_that_steps_back_finds_the_old_window(bench: Workbench) -> None:
    """Each window's own cap holds, whichever way a clock moves."""
    budget = await bench.budget(100, period="day")
    ledger = await bench.worker()
    await bench.hold(ledger, (budget, 90))
    bench.clock.advance(86_400)
    await bench.hold(ledger, (budget, 90))
    bench.clock.advance(-86_400)
    with pytest.raises(BudgetHeld):
        await bench.hold(ledger, (budget, 20))
    assert len(await bench.rows("SELECT id FROM windows")) == 2
    await bench.audit()


async def test_25_the_end_is_relayed_after_the_close_is_written(bench: Workbench) -> None:
    """Relayed first and killed, the client saw the end of a call that the ledger calls interrupted."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 50))
    await tick()
    ledger.close(hold, closing(50))
    seen: list[list[int]] = []
    ledger.after_write(lambda error: seen.append(_kinds(ledger.journal.folder)))
    assert CLOSE not in _kinds(ledger.journal.folder)
    await tick()
    assert seen == [[1, OPEN, CLOSE]]


async def test_26_nothing_is_sent_before_its_open_is_written(bench: Workbench) -> None:
    """Sent first and killed, the provider bills and nobody knows."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    seen: list[Any] = []
    hold = await bench.hold(ledger, (budget, 50))
    ledger.after_write(lambda error: seen.append((error, _kinds(ledger.journal.folder))))
    await tick()
    assert seen == [(None, [1, OPEN])]
    await ledger.abandon()
    found = replay(ledger.journal.folder)
    assert found is not None
    assert [opened.facts.attempt for opened, _ in found.open] == [hold.attempt]


async def test_27_only_what_is_on_disk_is_posted(bench: Workbench) -> None:
    """Posted before, a power cut leaves a file shorter than `posted`, and new closes never post."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (budget, 50)), closing(50))
    await tick()
    assert ledger.journal.written_seq > ledger.journal.synced_seq
    assert ledger.poster.next_errand() is None
    await ledger.journal.sync()
    assert ledger.poster.next_errand() is not None


async def test_28_a_return_waits_for_the_disk(bench: Workbench) -> None:
    """A close unsynced, its headroom returned, a power cut: the call is open again and has no lease."""
    budget = await bench.budget(1_600)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    synced_at_return: list[bool] = []

    async def gate(name: str) -> None:
        if name == "give_back":
            synced_at_return.append(ledger.journal.synced_seq == ledger.journal.seq)

    faulty.gate = gate
    hold = await bench.hold(ledger, (budget, 100))
    bench.clock.advance(6)
    ledger.close(hold, closing(0))
    await ledger.watcher.poll()
    await ledger.courier.step()
    assert synced_at_return == [True]


def _acquire(bench: Workbench, ledger: Any, budget: Any, amount: int) -> asyncio.Task[Any]:
    return asyncio.ensure_future(bench.acquire(ledger, (budget, amount)))


def _kinds(folder: Any) -> list[int]:
    data = b"".join(file.read_bytes() for file in sorted(folder.glob("*.seg")))
    return [frame.kind for frame in frames(data)]
