"""What nobody's call brings about is noticed in time, and once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from gateway.alerts.lookout import Lookout
from gateway.domain.budgets import Budget
from gateway.domain.instants import parse_rfc3339
from gateway.ledger.ledger import Ledger
from gateway.store.accounts import delete_account
from gateway.store.budget_changes import change_budget, increase_window, living_budget
from gateway.store.notices import note_period_closed, note_upstream_unhealthy
from gateway.store.price_files import PostedPrice, posted_row
from gateway.store.prices import add_price, fill
from gateway.store.tenancy import account_by_id
from gateway.store.virtual_keys import KeyText, NewKey, create_key, living_key, revoke_key, rotate_key
from tests.ledger.workbench import NOON_US, Workbench, closing

DAY_S = 86_400
KEY = NewKey("acct_1", "ci", None, None, "clamp", False, False, None, {}, {})


async def events(bench: Workbench) -> list[tuple[str, dict[str, Any]]]:
    rows = await bench.rows("SELECT event, data FROM events ORDER BY id")
    return [(event, json.loads(data)) for event, data in rows]


async def names(bench: Workbench) -> list[str]:
    return [event for event, _ in await events(bench)]


def lookout(bench: Workbench, missing: list[tuple[str, str]] | None = None) -> Lookout:
    found = missing or []

    def take() -> list[tuple[str, str]]:
        taken = list(found)
        found.clear()
        return taken

    return Lookout(bench.database, bench.clock, take, list)


async def spend(bench: Workbench, ledger: Ledger, budget: Budget, charge: int) -> None:
    ledger.close(await bench.hold(ledger, (budget, charge)), closing(charge))
    await bench.settle(ledger)


async def test_one_charge_over_three_thresholds_is_three_events_in_order(bench: Workbench) -> None:
    budget = await bench.budget(100, alert_at=(100, 50, 80))
    ledger = await bench.worker()
    await spend(bench, ledger, budget, 100)
    assert [data["threshold"] for _, data in await events(bench)] == [50, 80, 100]


async def test_a_thousand_calls_around_a_threshold_are_one_event(bench: Workbench) -> None:
    budget = await bench.budget(2_000, alert_at=(50,))
    workers = [await bench.worker(), await bench.worker()]
    for _ in range(10):
        for ledger in workers:
            for hold in [await bench.hold(ledger, (budget, 1)) for _ in range(50)]:
                ledger.close(hold, closing(1))
        await asyncio.gather(*(bench.settle(ledger) for ledger in workers))
    assert await bench.scalar("SELECT SUM(spent) FROM windows") == 1_000
    assert [data["spent"] >= 1_000 for _, data in await events(bench)] == [True]


async def test_a_window_that_alarmed_is_told_of_when_it_ends(bench: Workbench) -> None:
    loud = await bench.budget(100, alert_at=(80,), period="day")
    await bench.budget(100, alert_at=(80,), period="day")
    ledger = await bench.worker()
    await spend(bench, ledger, loud, 80)
    looker = lookout(bench)
    await looker.look()
    assert "budget.reset" not in await names(bench)
    bench.clock.advance(DAY_S)
    await asyncio.gather(looker.look(), lookout(bench).look())
    await lookout(bench).look()
    reset = [data for event, data in await events(bench) if event == "budget.reset"]
    assert [(data["budget"], data["window"]) for data in reset] == [
        (
            loud.id,
            {
                "start": parse_rfc3339("2026-11-25T00:00:00Z"),
                "end": parse_rfc3339("2026-11-26T00:00:00Z"),
            },
        )
    ]
    assert await bench.rows("SELECT * FROM alarms") == []


async def test_a_late_charge_alarms_again_and_is_told_of_again(bench: Workbench) -> None:
    """A call that ran over midnight reaches the threshold of the day it began in."""
    budget = await bench.budget(100, alert_at=(50, 80), period="day")
    ledger = await bench.worker()
    await spend(bench, ledger, budget, 50)
    late = await bench.hold(ledger, (budget, 40))
    bench.clock.advance(DAY_S)
    await lookout(bench).look()
    ledger.close(late, closing(40))
    await bench.settle(ledger)
    bench.clock.advance(10)
    await lookout(bench).look()
    aside = ("budget.forecast_exceeded", "ledger.stranded")
    told = [event for event in await names(bench) if event not in aside]
    assert told == ["budget.threshold_reached", "budget.reset"] * 2


async def test_limits_by_the_minute_do_not_shout(bench: Workbench) -> None:
    budget = await bench.budget(10, period="minute")
    ledger = await bench.worker()
    with pytest.raises(Exception, match="is spent"):
        await bench.hold(ledger, (budget, 11))
    await bench.settle(ledger)
    assert await names(bench) == []


@pytest.mark.parametrize("is_whole_budget", [True, False])
async def test_a_raised_cap_arms_the_first_refusal_again(bench: Workbench, is_whole_budget: bool) -> None:
    budget = await bench.budget(10)
    ledger = await bench.worker()

    async def be_refused(amount: int) -> None:
        with pytest.raises(Exception, match="is spent"):
            await bench.hold(ledger, (budget, amount))
        await bench.settle(ledger)

    def raise_cap(conn: Connection) -> None:
        if is_whole_budget:
            change_budget(conn, living_budget(conn, budget.id), {"cap": 20}, NOON_US)
        else:
            increase_window(conn, 1, 10, increase_id="inc", reason="more", made_by="akey", now_us=NOON_US)

    await be_refused(11)
    await be_refused(11)
    await bench.database.write(raise_cap)
    ledger.budgets_changed([budget.id])
    await bench.poll(ledger)
    await be_refused(21)
    caps = [data["cap"] for event, data in await events(bench) if event == "budget.exceeded"]
    assert caps == [10, 20]


async def test_a_pace_that_ends_the_money_early_is_told_once_for_each_cap(bench: Workbench) -> None:
    """Noon of the 25th of a month of 30 days: 24.5 days are over."""
    budget = await bench.budget(100)
    fine = await bench.budget(1_000)
    ledger = await bench.worker()
    await spend(bench, ledger, budget, 90)
    await spend(bench, ledger, fine, 90)
    for _ in range(3):
        await lookout(bench).look()
        bench.clock.advance(61)
    [(event, data)] = await events(bench)
    assert (event, data["budget"]) == ("budget.forecast_exceeded", budget.id)
    assert data["runs_out_at"] == parse_rfc3339("2026-11-28T05:20:00Z")
    await bench.execute("UPDATE windows SET cap = 101 WHERE cap = 100")
    await lookout(bench).look()
    assert await names(bench) == ["budget.forecast_exceeded"] * 2


async def test_keys_come_and_go_and_expire(bench: Workbench) -> None:
    text = KeyText(b"1", "sk-tg-...1")

    def keys(conn: Connection) -> None:
        for name, days in (("key_a", None), ("key_b", 30), ("key_c", 1)):
            ends = None if days is None else NOON_US + days * DAY_S * 1_000_000
            new = replace(KEY, expires_at_us=ends)
            create_key(conn, new, replace(text, fingerprint=name.encode()), key_id=name, now_us=NOON_US)
        rotated = living_key(conn, "key_b")
        grace_us = NOON_US + 60_000_000
        rotate_key(conn, rotated, text, old_id="key_old", grace_until_us=grace_us, now_us=NOON_US)
        revoke_key(conn, living_key(conn, "key_a"), NOON_US)

    await bench.database.write(keys)
    await lookout(bench).look()
    bench.clock.advance(24 * DAY_S)
    await lookout(bench).look()
    bench.clock.advance(DAY_S)
    await lookout(bench).look()
    told = [(event, data["key"]) for event, data in await events(bench)]
    assert told == [
        *(("key.created", name) for name in ("key_a", "key_b", "key_c")),
        ("key.revoked", "key_a"),
        ("key.expiring", "key_b"),
    ]

    def close(conn: Connection) -> None:
        account = account_by_id(conn, "acct_1")
        assert account is not None
        delete_account(conn, account, NOON_US)

    await bench.database.write(close)
    assert [data["key"] for event, data in (await events(bench))[5:]] == ["key_b", "key_c"]


async def test_a_missing_price_is_told_once_a_day(bench: Workbench) -> None:
    for _ in range(2):
        await lookout(bench, [("openai", "gpt-new"), ("azure_openai", "x" * 255)]).look()
    bench.clock.advance(DAY_S)
    await lookout(bench, [("openai", "gpt-new")]).look()
    found = [data["model"] for event, data in await events(bench)]
    assert found == ["gpt-new", "x" * 255, "gpt-new"]


async def test_a_price_that_changes_is_told_and_a_new_one_is_not(bench: Workbench) -> None:
    await bench.database.write(fill, NOON_US)
    assert await names(bench) == []

    def post(usd: str, since: str, model: str = "gpt-4.1") -> None:
        price = PostedPrice(
            provider="openai", model=model, meter="output", usd_per_million=usd, effective_from=since
        )
        posted.append(posted_row(price, NOON_US))

    posted: list[Any] = []
    post("8.00", "2026-12-01T00:00:00Z")
    post("7.50", "2026-12-02T00:00:00Z")
    post("9.00", "2026-12-01T00:00:00Z", "gpt-brand-new")
    for number, row in enumerate(posted):
        await bench.database.write(add_price, row, NOON_US + number + 1)
    [(event, data)] = await events(bench)
    assert (event, data["was_usd_per_million"], data["usd_per_million"]) == ("price.changed", "8", "7.5")


async def test_headroom_of_a_lost_worker_is_told_once(bench: Workbench) -> None:
    budget = await bench.budget(100)
    lost = await bench.worker()
    await bench.hold(lost, (budget, 10))
    await bench.settle(lost)
    await lookout(bench).look()
    assert await names(bench) == []
    bench.clock.advance(600)
    await lookout(bench).look()
    bench.clock.advance(600)
    await lookout(bench).look()
    [(event, data)] = await events(bench)
    assert (event, data["budget"]) == ("ledger.stranded", budget.id)
    assert data["stranded"] >= 10


async def test_upstreams_and_periods_are_told_of(bench: Workbench) -> None:
    for seconds in (0, 20, 60):
        at_us = NOON_US + seconds * 1_000_000
        await bench.database.write(note_upstream_unhealthy, "openai", "5 failures in a row", at_us)
    await bench.database.write(note_period_closed, "2026-10", "ab12", NOON_US)
    assert await names(bench) == ["upstream.unhealthy", "upstream.unhealthy", "period.closed"]
