"""Posting: sums that equal the book, poison set aside, long outages, events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.budgets import Budget
from tests.ledger.workbench import Faulty, Workbench, closing, tick

TOO_LARGE = 1 << 63  # neither database has a column for it


async def calls(bench: Workbench, ledger: Any, budget: Budget, *charges: int, **fields: Any) -> None:
    for charge in charges:
        ledger.close(await bench.hold(ledger, (budget, charge)), closing(charge, **fields))


async def test_sums_ledger_and_windows_are_one_number(bench: Workbench) -> None:
    """Whatever the lines of a call leave unexplained is on the `requests` meter."""
    budget = await bench.budget(1_000_000)
    ledger = await bench.worker()
    lines = [("output", 7, "price_1", 1, 30, 40), ("web_search", 1, "price_2", 1, 50, 50)]
    for number in range(20):
        hold = await bench.hold(
            ledger,
            (budget, 100),
            end_user=f"user {number % 3}",
            tags={"env": "prod", "team": str(number % 2)},
            model=f"model-{number % 4}",
        )
        usage = {"input": 3, "output": 7}
        ledger.close(hold, closing(100, usage=usage, lines=lines, list_nano=120))
    await bench.settle(ledger)
    for table, factor in (("rollups", 1), ("end_user_rollups", 1), ("tag_rollups", 2)):
        sums = await bench.rows(
            "SELECT meter, SUM(quantity), SUM(cost), SUM(list_cost)"
            f" FROM {table} GROUP BY meter ORDER BY meter"
        )
        assert [(meter, *map(int, amounts)) for meter, *amounts in sums] == [
            ("input", 60 * factor, 0, 0),
            ("output", 140 * factor, 600 * factor, 800 * factor),
            ("requests", 20 * factor, 400 * factor, 600 * factor),
            ("web_search", 20 * factor, 1_000 * factor, 1_000 * factor),
        ]
    assert await bench.scalar("SELECT SUM(charge) FROM ledger") == 2_000
    assert await bench.scalar("SELECT spent FROM windows") == 2_000
    await bench.audit()


async def test_a_record_that_sql_refuses_is_set_aside_and_its_money_counts(bench: Workbench) -> None:
    """Poison is found by halving; it does not hold up what stands before and after it."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    await calls(bench, ledger, budget, 1, 2, 3)
    await calls(bench, ledger, budget, 50, status=TOO_LARGE)
    await calls(bench, ledger, budget, 4, 5, 6, 7)
    await bench.settle(ledger)
    assert await bench.rows("SELECT charge FROM ledger ORDER BY charge") == [(n,) for n in range(1, 8)]
    ((amounts, error),) = await bench.rows("SELECT amounts, error FROM quarantine")
    assert json.loads(amounts) == [[1, 50]]
    assert error.startswith("row: ")
    assert await bench.scalar("SELECT spent FROM windows") == 78
    assert (ledger.health.quarantined, ledger.health.unposted) == (1, 0)
    await bench.audit()


async def test_an_attempt_that_is_in_the_book_already_is_not_booked_again(bench: Workbench) -> None:
    """A duplicate id is poison like any other: loudly, and its amounts count."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    for charge in (30, 40):
        hold = await bench.hold(ledger, (budget, 50), attempt="att_twice")
        ledger.close(hold, closing(charge))
        await bench.settle(ledger)
    assert await bench.rows("SELECT id, charge FROM ledger") == [("att_twice", 30)]
    assert len(await bench.rows("SELECT seq FROM quarantine")) == 1
    await bench.audit()


async def test_a_wrong_belief_about_a_lease_is_no_poison(bench: Workbench) -> None:
    """The database refuses a lease below zero: how the journal stands is read before a record is blamed."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 100))
    await bench.execute("UPDATE leases SET amount = 10")
    await bench.execute("UPDATE windows SET leased = 10")
    ledger.close(hold, closing(100))
    await bench.settle(ledger)
    assert await bench.rows("SELECT charge FROM ledger") == [(100,)]
    assert await bench.rows("SELECT * FROM quarantine") == []
    assert await bench.rows("SELECT spent, leased FROM windows") == [(100, 0)]


async def test_a_poisoned_journal_is_adopted_all_the_same(bench: Workbench) -> None:
    budget = await bench.budget(1_000)
    dead = await bench.worker()
    await calls(bench, dead, budget, 1, 2)
    await calls(bench, dead, budget, 50, status=TOO_LARGE)
    await calls(bench, dead, budget, 3)
    await tick()
    await dead.abandon()
    await bench.worker()
    assert await bench.rows("SELECT charge FROM ledger ORDER BY charge") == [(1,), (2,), (3,)]
    assert await bench.scalar("SELECT spent FROM windows") == 56
    assert await bench.scalar("SELECT state FROM journals WHERE id = ?", dead.journal_id) == "finished"
    await bench.audit()


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_what_memory_does_not_keep_is_read_back(bench: Workbench, is_stopped: bool) -> None:
    """The database is away for long: the rest is only in the journal, over several segments."""
    budget = await bench.budget(1_000_000)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty, max_records=20)
    ledger.journal.segment_bytes = 64 * 1024
    await bench.hold(ledger, (budget, 10_000), charge_nano=5)
    faulty.is_away = True
    charges: list[int] = []
    while len(ledger.journal.segments) < 4:
        hold = ledger.admit(bench.facts(ledger), [])
        assert hold is not None
        charges.append(len(charges) + 1)
        ledger.close(hold, closing(charges[-1], raw_usage=b"x" * 3_000))
        if len(charges) % 10 == 0:
            await ledger.journal.sync()
    assert ledger.health.unposted == len(charges)
    assert len(list(ledger.poster.pending)) == 20
    faulty.is_away = False
    if is_stopped:
        assert await bench.pass_time(ledger.stop(limit_s=3600), step_s=0.0001)
        charges.append(5)
    else:
        await bench.until(ledger, lambda: not ledger.health.unposted)
    posted = await bench.rows("SELECT charge FROM ledger ORDER BY charge")
    assert posted == [(charge,) for charge in sorted(charges)]
    await bench.audit()


async def test_a_dead_journal_of_many_segments_is_adopted(bench: Workbench) -> None:
    """Read a segment at a time, posted in batches, finished with the last."""
    budget = await bench.budget(1_000_000)
    faulty = Faulty(bench.database)
    dead = await bench.worker(database=faulty, max_journal_bytes=4 << 20)
    dead.journal.segment_bytes = 64 * 1024
    running = await bench.hold(dead, (budget, 10_000), charge_nano=5, tokens=5)
    faulty.is_away = True
    count = 0
    while len(dead.journal.segments) < 4:
        hold = dead.admit(bench.facts(dead), [])
        assert hold is not None
        count += 1
        dead.close(hold, closing(1, raw_usage=b"x" * 3_000))
        if count % 10 == 0:
            await dead.journal.sync()
    await dead.abandon()
    await bench.worker()
    assert await bench.scalar("SELECT COUNT(*) FROM ledger WHERE outcome = 'done'") == count
    interrupted = "SELECT id, charge FROM ledger WHERE outcome = 'interrupted'"
    assert await bench.rows(interrupted) == [(running.attempt, 5)]
    assert await bench.rows("SELECT spent, leased FROM windows") == [(5, 0)]
    await bench.audit()


async def events(bench: Workbench) -> list[tuple[str, dict[str, Any]]]:
    rows = await bench.rows("SELECT event, data FROM events ORDER BY id")
    return [(event, json.loads(data)) for event, data in rows]


async def test_a_threshold_is_an_event_once_for_each_cap(bench: Workbench) -> None:
    """50 and 80 are crossed by one batch; raising the cap arms them again."""
    budget = await bench.budget(100, alert_at=(50, 80, 100), account="acct_1")
    ledger = await bench.worker()
    for charge in (40, 45):
        await calls(bench, ledger, budget, charge)
    await bench.settle(ledger)
    found = await events(bench)
    assert [(event, data["threshold"], data["spent"]) for event, data in found] == [
        ("budget.threshold_reached", 50, 85),
        ("budget.threshold_reached", 80, 85),
    ]
    assert found[0][1] == {
        "budget": budget.id,
        "name": budget.name,
        "account": "acct_1",
        "subject": "",
        "unit": "usd",
        "window": {"start": 1793491200000000, "end": 1796083200000000},
        "cap": 100,
        "spent": 85,
        "held": 0,
        "threshold": 50,
    }
    await bench.execute("UPDATE windows SET cap = 200, recall = recall + 1")
    await bench.poll(ledger)
    await calls(bench, ledger, budget, 80)
    await bench.settle(ledger)
    assert [(data["threshold"], data["cap"]) for _, data in (await events(bench))[2:]] == [
        (50, 200),
        (80, 200),
    ]


async def test_the_first_refusal_of_a_window_is_an_event(bench: Workbench) -> None:
    budget = await bench.budget(10)
    one, two = await bench.worker(), await bench.worker()
    for ledger in (one, two, one):
        with pytest.raises(Exception, match="is spent"):
            await bench.hold(ledger, (budget, 11))
        await bench.settle(ledger)
    assert [event for event, _ in await events(bench)] == ["budget.exceeded"]


async def test_an_overrun_is_an_event_of_its_window(bench: Workbench) -> None:
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    for _ in range(2):
        ledger.close(await bench.hold(ledger, (budget, 32)), closing(33))
    await bench.settle(ledger)
    assert [(event, data["overrun"]) for event, data in await events(bench)] == [("ledger.overrun", 2)]


async def test_what_an_attempt_made_is_written_with_its_row(bench: Workbench) -> None:
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 50), account="acct_1", upstream="openai")
    ledger.close(hold, closing(30, made=["resp_1", "msg_1"]))
    await bench.settle(ledger)
    assert await bench.rows("SELECT id, upstream, account, attempt, awaited FROM belongings ORDER BY id") == [
        ("msg_1", "openai", "acct_1", hold.attempt, 0),
        ("resp_1", "openai", "acct_1", hold.attempt, 0),
    ]
    await bench.audit()


async def test_what_a_dead_worker_made_is_found_in_its_last_checkpoint(bench: Workbench) -> None:
    """An answer that was being made in the background is still awaited, and its attempt interrupted."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 50))
    ledger.check(hold, {"input": 3}, 20, 3, made=["resp_1"], awaited="resp_1")
    assert ledger.grow(hold, [])
    ledger.journal.flush()
    await ledger.abandon()
    await bench.worker()
    assert await bench.rows("SELECT id, attempt, awaited FROM belongings") == [("resp_1", hold.attempt, 1)]
    assert await bench.rows("SELECT outcome, charge FROM ledger") == [("interrupted", 20)]
    await bench.audit()
