"""Windows, caps, credit and lock order: one test for each story of the protocol's list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from gateway.domain.budgets import Budget
from gateway.domain.tenancy import Account
from gateway.ledger.entries import Postable, digest
from gateway.ledger.openings import opening_at
from gateway.ledger.records import CLOSE, CallFacts, Close, encode
from gateway.store.engine import POST, Database
from gateway.store.grants import NewGrant, add_grant, expire_grants
from gateway.store.posting import Batch, Charge, post
from gateway.store.sql import run
from gateway.store.windows import open_window
from tests.ledger.workbench import NOON_US, Workbench, closing

DAY_US = 86_400_000_000


@pytest.fixture
async def second(migrated_database: str) -> AsyncIterator[Database]:
    """Another process's connection."""
    made = Database(migrated_database)
    yield made
    await made.stop()


async def test_24_a_window_opened_beside_a_change_of_cap_has_the_new_cap(
    bench: Workbench, second: Database
) -> None:
    """FOR SHARE on the budget: without it, most of such windows keep the old cap for ever."""
    for number in range(30):
        budget = await bench.budget(100)
        opening = opening_at(budget, "", NOON_US)
        first, other = (open_window, _change_cap) if number % 2 else (_change_cap, open_window)
        arguments = {open_window: (opening,), _change_cap: (budget.id, 50)}
        await asyncio.gather(
            bench.database.write(first, *arguments[first]),  # type: ignore[arg-type]
            second.write(other, *arguments[other]),  # type: ignore[arg-type]
        )
    stale = "SELECT w.id FROM windows w JOIN budgets b ON b.id = w.budget WHERE w.cap <> b.cap"
    assert await bench.rows(stale) == []
    assert len(await bench.rows("SELECT id FROM windows")) == 30


def _change_cap(conn: Connection, budget: str, cap: int) -> None:
    run(conn, "UPDATE budgets SET cap = ? WHERE id = ?", (cap, budget))
    run(conn, "UPDATE windows SET cap = ?, recall = recall + 1 WHERE budget = ?", (cap, budget))


async def test_two_workers_open_a_window_once(bench: Workbench, second: Database) -> None:
    """Both get the same row, with what was spent before counted once."""
    budget = await bench.budget(100)
    opening = opening_at(budget, "", NOON_US)
    one, two = await asyncio.gather(
        bench.database.write(open_window, opening), second.write(open_window, opening)
    )
    assert one == two


async def test_a_cap_lowered_below_what_is_leased_takes_back_what_is_free(bench: Workbench) -> None:
    """Allowed: nothing is granted until it fits, and calls in flight finish."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 100))
    await bench.database.write(_change_cap, budget.id, 50)
    await bench.poll(ledger)
    assert await bench.rows("SELECT cap, leased FROM windows") == [(50, 100)], "the hold stays covered"
    ledger.close(hold, closing(40))
    await bench.poll(ledger)
    assert await bench.rows("SELECT spent, leased FROM windows") == [(40, 60)]
    bench.clock.advance(6)
    await bench.poll(ledger)
    assert await bench.rows("SELECT spent, leased FROM windows") == [(40, 0)]
    await bench.hold(ledger, (budget, 10))
    await bench.audit()


async def test_34_two_workers_posting_the_same_windows_do_not_deadlock(
    bench: Workbench, second: Database
) -> None:
    """Ascending order everywhere: unsorted, most of such posts deadlock."""
    windows = []
    for _ in range(40):
        opened = await bench.database.write(open_window, opening_at(await bench.budget(1_000), "", NOON_US))
        assert opened is not None
        windows.append(opened.window)
    one, two = await bench.worker(), await bench.worker()
    for seq in range(1, 11):
        await asyncio.gather(
            bench.database.account(POST, post, one.journal_id, _charging(windows, seq), {}, NOON_US),
            second.account(POST, post, two.journal_id, _charging(windows[::-1], seq), {}, NOON_US),
        )
    assert await bench.rows("SELECT DISTINCT spent FROM windows") == [(20,)]


def _charging(windows: list[int], seq: int) -> Batch:
    sums: dict[str, list[Any]] = {"rollups": [], "end_user_rollups": [], "tag_rollups": []}
    return Batch(seq, [], sums, dict.fromkeys(windows, Charge(1, 0, 0, 0, 0)), [])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.none() | st.integers(0, 2)), max_size=20))
def test_34_sums_are_added_in_ascending_order(calls: list[tuple[int, int, int | None]]) -> None:
    """Locks on sums are taken in the order of the rows, which is that of their keys."""
    records = [
        Postable(seq, encode(seq, CLOSE, Close(_facts(seq, *call), closing(5), 5, ())))
        for seq, call in enumerate(calls, 1)
    ]
    if records:
        for rows in digest("journal", records, {}).sums.values():
            keys = [row[:-3] for row in rows]
            assert keys == sorted(set(keys))


def _facts(seq: int, model: int, slot: int, user: int | None) -> CallFacts:
    return CallFacts(
        attempt=f"att_{seq}",
        call=f"call_{seq}",
        key="key_1",
        account="acct_1",
        end_user=None if user is None else f"user {user}",
        tags={"model": str(model), "slot": str(slot)},
        provider="openai",
        upstream="openai",
        model=f"model {model}",
        format="openai_chat",
        streamed=False,
        admitted_at_us=NOON_US + slot * 900_000_000,
        hold_nano=0,
        usage={},
        charge_nano=0,
        tokens=0,
    )


async def pool(bench: Workbench, *grants: NewGrant) -> Budget:
    """An account's credit as the gate knows it."""
    account = Account(
        id="acct_1",
        name="acme",
        path="acme",
        parent=None,
        kind="organization",
        cost_center=None,
        timezone="UTC",
        metadata={},
        status="active",
        created_at_us=NOON_US,
        deleted_at_us=None,
        revision=1,
    )
    for number, grant in enumerate(grants):
        await bench.database.write(_grant, account, grant, f"grant_{number}", NOON_US + number)
    return Budget("bud_pool", "acme credit (usd)", "usd", 0, "lifetime", account="acct_1")


def _grant(conn: Connection, account: Account, grant: NewGrant, name: str, at_us: int) -> None:
    add_grant(conn, account, grant, grant_id=name, pool_id="bud_pool", now_us=at_us)


async def test_33_expired_credit_of_a_call_in_flight_does_not_vanish(bench: Workbench) -> None:
    """Taken at once, the pool falls below its leases."""
    budget = await pool(bench, NewGrant("usd", 100, NOON_US + DAY_US, 1, "trial"))
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 60))
    bench.clock.advance(2 * 86_400)
    await bench.database.write(expire_grants, bench.clock.now_us())
    cap, leased = (await bench.rows("SELECT cap, leased FROM windows"))[0]
    assert cap == leased >= 60
    await bench.audit()
    ledger.close(hold, closing(50))
    bench.clock.advance(6)
    await bench.poll(ledger)
    await bench.poll(ledger)
    await bench.database.write(expire_grants, bench.clock.now_us())
    assert await bench.rows("SELECT amount, burnt, expired FROM grants") == [(100, 50, 50)]
    assert await bench.rows("SELECT cap, spent, leased FROM windows") == [(50, 50, 0)]
    await bench.audit()


async def test_33_the_earlier_grant_burns_first_whichever_worker_spends(bench: Workbench) -> None:
    """Leased one by one, the later burns here while the earlier lies idle there."""
    later = NewGrant("usd", 100, NOON_US + 9 * DAY_US, 1, "later")
    earlier = NewGrant("usd", 100, NOON_US + DAY_US, 1, "earlier")
    budget = await pool(bench, later, earlier)
    one, two = await bench.worker(), await bench.worker()
    for ledger in (one, two):
        ledger.close(await bench.hold(ledger, (budget, 40)), closing(40))
        await bench.settle(ledger)
    burnt = "SELECT burnt FROM grants ORDER BY id"
    assert await bench.rows(burnt) == [(0,), (80,)]
    one.close(await bench.hold(one, (budget, 60)), closing(60))
    await bench.settle(one)
    assert await bench.rows(burnt) == [(40,), (100,)]
    await bench.audit()


async def test_a_new_budget_counts_what_its_scope_has_spent_in_the_running_window(bench: Workbench) -> None:
    """From the sums for a key or account, from the book where a name or a tag counts, 0 when told so."""
    ledger = await bench.worker()
    for user in ("ann", "ann", "bob"):
        hold = await bench.hold(ledger, end_user=user, tags={"env": "prod"}, key="key_1")
        ledger.close(hold, closing(30))
    await bench.settle(ledger)
    expected = {
        (await bench.budget(1_000, account="acct_1")).id: 90,
        (await bench.budget(1_000, provider="anthropic")).id: 0,
        (await bench.budget(1_000, unit="requests", models=("gpt-4*",))).id: 3,
        (await bench.budget(1_000, unit="tokens", provider="openai")).id: 93,
        (await bench.budget(1_000, tags={"env": "prod"}, end_user="bob")).id: 30,
        (await bench.budget(1_000, tags={"env": "test"})).id: 0,
        (await bench.budget(1_000, count_from="now")).id: 0,
    }
    per_user = await bench.budget(1_000, each="end_user")
    for budget in expected:
        opening = opening_at(Budget(budget, "", "usd", 0, "month"), "", NOON_US)
        opened = await bench.database.write(open_window, opening)
        assert opened is not None
        assert opened.spent == expected[budget], budget
    for user, spent in (("ann", 60), ("bob", 30), ("", 0)):
        opened = await bench.database.write(open_window, opening_at(per_user, user, NOON_US))
        assert opened is not None
        assert opened.spent == spent


async def test_a_window_is_remembered_while_a_call_runs_in_it(bench: Workbench) -> None:
    """A soft budget holds nothing; its day ends, the call goes on, and its charge is shown in flight."""
    budget = await bench.budget(1_000, enforcement="soft", period="day")
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 100))
    (before,) = hold.parts
    bench.clock.advance(DAY_US)
    await bench.poll(ledger)
    assert before[0].line.windows[before[0].starts_at_us] is before[0], "its day is over, its call is not"
    ledger.close(hold, closing(40))
    await bench.poll(ledger)
    await bench.audit()
    assert before[0].unposted == 0
