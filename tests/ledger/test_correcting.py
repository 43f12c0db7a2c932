"""Corrections: a later figure is an entry of its own, in the windows of the original."""

from __future__ import annotations

from typing import Any

from gateway.domain.budgets import Budget
from gateway.ledger.ledger import Closing, Hold, Ledger
from tests.ledger.workbench import Workbench, closing


async def booked(bench: Workbench, ledger: Ledger, budget: Budget, charge: int, **fields: Any) -> Hold:
    hold = await bench.hold(ledger, (budget, 100), end_user="ann", tags={"env": "prod"})
    ledger.close(hold, closing(charge, **fields))
    await bench.settle(ledger)
    return hold


def exact(charge: int, **fields: Any) -> Closing:
    return closing(charge, usage_source="provider", **fields)


async def sums(bench: Workbench, table: str) -> list[tuple[Any, ...]]:
    rows = await bench.rows(
        f"SELECT meter, SUM(quantity), SUM(cost) FROM {table} GROUP BY meter ORDER BY meter"
    )
    return [(meter, int(quantity), int(cost)) for meter, quantity, cost in rows]


async def test_more_than_was_booked_is_overrun_in_the_original_s_windows(bench: Workbench) -> None:
    """Nothing was held for it; the window of the call gets it, whatever the clock says by then."""
    budget = await bench.budget(1_000, period="day")
    ledger = await bench.worker()
    hold = await booked(bench, ledger, budget, 60)
    lease = await bench.scalar("SELECT leased FROM windows")
    bench.clock.advance(3 * 86_400)
    assert await ledger.correct(hold.attempt, exact(75), "the provider's export")
    await bench.settle(ledger)
    assert await bench.rows("SELECT spent, leased, overrun FROM windows") == [(75, lease, 15)]
    rows = await bench.rows("SELECT kind, attempt, charge, hold, reason FROM ledger ORDER BY seq")
    assert rows == [
        ("call", hold.attempt, 60, 100, None),
        ("correction", hold.attempt, 15, 0, "the provider's export"),
    ]
    expected = [("input", 1, 0), ("output", 75, 75), ("requests", 1, 0)]
    for table in ("rollups", "end_user_rollups", "tag_rollups"):
        assert await sums(bench, table) == expected
    await bench.audit()


async def test_less_than_was_booked_gives_headroom_back(bench: Workbench) -> None:
    budget = await bench.budget(100)
    ledger = await bench.worker()
    hold = await booked(bench, ledger, budget, 100)
    assert await ledger.correct(hold.attempt, exact(40), "read to the end")
    await bench.settle(ledger)
    await bench.poll(ledger)
    assert await bench.rows("SELECT spent, overrun FROM windows") == [(40, 0)]
    await bench.hold(ledger, (budget, 60))
    await bench.audit()


async def test_the_same_figure_twice_is_one_correction(bench: Workbench) -> None:
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await booked(bench, ledger, budget, 60)
    assert not await ledger.correct(hold.attempt, exact(60), "no news")
    assert await ledger.correct(hold.attempt, exact(70), "news")
    assert not await ledger.correct(hold.attempt, exact(70), "while the first waits to be posted")
    await bench.settle(ledger)
    assert not await ledger.correct(hold.attempt, exact(70), "after it")
    assert await ledger.correct(hold.attempt, exact(65), "better news")
    await bench.settle(ledger)
    assert await bench.scalar("SELECT SUM(charge) FROM ledger") == 65
    await bench.audit()


async def test_another_price_moves_money_and_no_tokens(bench: Workbench) -> None:
    """A re-rated call: the old line is taken back, the new one added."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await booked(bench, ledger, budget, 60)
    dearer = [("output", 60, "price_2", 1500, 90, 90)]
    usage = {"input": 1, "output": 60}
    rerated = closing(90, usage=usage, lines=dearer, tokens=60)
    assert await ledger.correct(hold.attempt, rerated, "price_2", kind="adjustment")
    await bench.settle(ledger)
    assert await sums(bench, "rollups") == [("input", 1, 0), ("output", 60, 90), ("requests", 1, 0)]
    assert await bench.rows("SELECT kind, lines FROM ledger ORDER BY seq") == [
        ("call", '[["output",60,"price_1",1000,60,60]]'),
        ("adjustment", '[["output",60,"price_2",1500,90,90],["output",-60,"price_1",1000,-60,-60]]'),
    ]
    await bench.audit()


async def test_each_window_is_corrected_in_its_unit(bench: Workbench) -> None:
    money, tokens = await bench.budget(1_000), await bench.budget(1_000, unit="tokens")
    requests = await bench.budget(10, unit="requests")
    soft = await bench.budget(1_000, enforcement="soft")
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (money, 100), (tokens, 100), (requests, 1), (soft, 0))
    ledger.close(hold, closing(60, tokens=30))
    await bench.settle(ledger)
    assert await ledger.correct(hold.attempt, exact(50, tokens=44), "exact")
    await bench.settle(ledger)
    assert await bench.rows("SELECT spent, overrun FROM windows ORDER BY id") == [
        (50, 0),
        (44, 14),
        (1, 0),
        (50, 0),
    ]
    assert ledger.book.windows[1].unposted == 0
    await bench.audit()


async def test_what_is_not_in_the_book_cannot_be_corrected(bench: Workbench) -> None:
    ledger = await bench.worker()
    assert not await ledger.correct("att_unknown", exact(1), "nobody made it")


async def test_a_correction_of_a_dead_worker_is_posted(bench: Workbench) -> None:
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await booked(bench, ledger, budget, 60)
    assert await ledger.correct(hold.attempt, exact(75), "and then it died")
    ledger.journal.flush()
    await ledger.abandon()
    await bench.worker()
    assert await bench.rows("SELECT spent, leased FROM windows") == [(75, 0)]
    await bench.audit()
