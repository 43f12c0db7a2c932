"""Every event arrives at every target that wants it, in order, and in normal operation once."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack

import openai
import pytest
import standardwebhooks

from gateway.alerts.lookout import Lookout
from gateway.store.deliveries import delivery_by_id, make_test, replay
from gateway.store.outbox import due_targets
from gateway.store.webhooks import delete_webhook, living_webhook, rotate_webhook
from tests.alerts.office import SEAL, Office
from tests.alerts.receiving import Receiver, receiver
from tests.ledger.workbench import NOON_US, closing

HOUR_S = 3_600


def models(target: Receiver) -> list[str]:
    return [each.json["data"]["model"] for each in target.got]


async def test_a_message_is_verified_by_those_who_did_not_write_it(office: Office, target: Receiver) -> None:
    """By the specification's own library, and by the verifier of OpenAI's SDK."""
    office.bench.clock.set(time.time_ns() // 1_000)
    secret = await office.webhook(target.url)
    await office.events(1, event="price.missing")
    await office.deliver()
    [got] = target.got
    verified = standardwebhooks.Webhook(secret).verify(got.body, got.headers)
    assert verified["type"] == "price.missing"
    client = openai.OpenAI(api_key="none", webhook_secret=secret)
    client.webhooks.verify_signature(got.body, got.headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(got.body + b" ", got.headers)
    client.close()


async def test_while_a_secret_is_rotated_both_verify(office: Office, target: Receiver) -> None:
    office.bench.clock.set(time.time_ns() // 1_000)
    now_us = office.bench.clock.now_us()
    old = await office.webhook(target.url)
    new = "whsec_" + "bmV3" * 8

    def rotate(conn: object) -> None:
        rotate_webhook(conn, living_webhook(conn, "whk_1"), SEAL.seal(new), now_us + 60_000_000)  # type: ignore[arg-type]

    await office.bench.database.write(rotate)
    await office.events(1)
    await office.deliver()
    for secret in (old, new):
        standardwebhooks.Webhook(secret).verify(target.got[0].body, target.got[0].headers)
    office.bench.clock.advance(61)
    await office.events(1)
    await office.deliver()
    standardwebhooks.Webhook(new).verify(target.got[1].body, target.got[1].headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(old).verify(target.got[1].body, target.got[1].headers)


async def test_a_budgets_message_has_amounts_and_times_as_text(office: Office, target: Receiver) -> None:
    await office.webhook(target.url, "budget.*")
    budget = await office.bench.budget(2_000_000_000, alert_at=(50, 80, 100), account="acct_1")
    ledger = await office.bench.worker()
    ledger.close(await office.bench.hold(ledger, (budget, 2_000_000_000)), closing(2_000_000_000))
    await office.bench.settle(ledger)
    await office.deliver()
    assert [got.json["data"]["threshold"] for got in target.got] == [50, 80, 100]
    assert target.got[0].json == {
        "type": "budget.threshold_reached",
        "timestamp": "2026-11-25T12:00:00Z",
        "data": {
            "account": "acct_1",
            "budget": budget.id,
            "cap": "2",
            "held": "0",
            "name": budget.name,
            "spent": "2",
            "subject": "",
            "threshold": 50,
            "unit": "usd",
            "window": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
        },
    }
    assert len(set(target.ids)) == 3


async def test_targets_hear_what_they_asked_for(office: Office) -> None:
    with ExitStack() as stack:
        prices, keys, ours = (stack.enter_context(receiver()) for _ in range(3))
        await office.webhook(prices.url, "price.*")
        await office.webhook(keys.url, "key.revoked", "ledger.*")
        await office.webhook(ours.url, account="acct_1")
        await office.bench.execute(
            "INSERT INTO accounts (id, parent, name, path, kind, timezone, metadata, status, created_at,"
            " revision) VALUES ('acct_2', 'acct_1', 'two', 'one/two', 'team', 'UTC', '{}', 'active', 0, 0),"
            " ('acct_3', NULL, 'three', 'three', 'team', 'UTC', '{}', 'active', 0, 0)"
        )
        await office.events(1)
        for account in ("acct_1", "acct_2", "acct_3"):
            await office.events(1, event="key.revoked", account=account)
        await office.deliver()
        assert models(prices) == ["m1"]
        assert models(keys) == ["m2", "m3", "m4"]
        assert models(ours) == ["m2", "m3"]


async def test_a_target_that_was_down_for_hours_gets_everything_in_order_on_schedule(
    office: Office, target: Receiver
) -> None:
    """Tried after 3 s, 5 min, 30 min, 2 h: with the chance at 0, to the second."""
    target.answer = lambda got: (503, {}, b"later")
    await office.webhook(target.url)
    await office.events(3)
    for wait_s, attempts in ((0, 1), (2, 1), (1, 2), (299, 2), (1, 3), (30 * 60, 4), (2 * HOUR_S - 1, 4)):
        office.bench.clock.advance(wait_s)
        await office.deliver()
        assert (await office.statuses())[0] == ("pending", attempts)
    assert set(models(target)) == {"m1"}
    target.answer = lambda got: (200, {}, b"ok")
    office.bench.clock.advance(1)
    await office.deliver()
    assert await office.statuses() == [("delivered", 5), ("delivered", 1), ("delivered", 1)]
    assert models(target)[-3:] == ["m1", "m2", "m3"]
    assert len(set(target.ids)) == 3


async def test_what_never_arrives_is_kept_dead_after_three_days(office: Office, target: Receiver) -> None:
    target.answer = lambda got: (500, {}, b"")
    await office.webhook(target.url)
    await office.events(1)
    for _ in range(80):
        await office.deliver()
        office.bench.clock.advance(HOUR_S)
    assert await office.statuses() == [("dead", 10)]
    assert len(target.got) == 10
    log = await office.bench.rows("SELECT status, error FROM delivery_attempts")
    assert log == [(500, "HTTP 500")] * 10


async def test_a_target_may_ask_to_be_left_alone(office: Office, target: Receiver) -> None:
    target.answer = lambda got: (429, {"retry-after": "120"}, b"slow down")
    await office.webhook(target.url)
    await office.events(1)
    await office.deliver()
    office.bench.clock.advance(119)
    await office.deliver()
    assert len(target.got) == 1
    office.bench.clock.advance(1)
    await office.deliver()
    assert len(target.got) == 2


async def test_a_message_that_is_refused_holds_up_its_own_budget_only(
    office: Office, target: Receiver
) -> None:
    target.answer = lambda got: (400 if got.json["data"]["model"] == "m1" else 200, {}, b"")
    await office.webhook(target.url)
    await office.events(4, subjects=2)
    await office.deliver()
    assert await office.statuses() == [("pending", 1), ("delivered", 1), ("pending", 0), ("delivered", 1)]
    await office.events(1, subjects=2)
    await office.deliver()
    assert models(target)[-1] != "m5"
    target.answer = lambda got: (200, {}, b"")
    office.bench.clock.advance(3)
    await office.deliver()
    assert [model for model in models(target) if model in ("m1", "m3", "m5")] == ["m1", "m1", "m3", "m5"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(office: Office, target: Receiver, status: int) -> None:
    with receiver() as other:
        target.answer = lambda got: (status, {"location": other.url}, b"")
        await office.webhook(target.url)
        await office.events(1)
        await office.deliver()
        assert other.got == []
        assert await office.statuses() == [("pending", 1)]


async def test_a_target_that_is_gone_is_disabled(office: Office, target: Receiver) -> None:
    target.answer = lambda got: (410, {}, b"")
    await office.webhook(target.url)
    await office.events(2)
    await office.deliver()
    await office.events(1)
    await office.deliver()
    assert await office.statuses() == [("dead", 1), ("dead", 0)]
    assert await office.bench.rows("SELECT status, reason FROM webhooks") == [("disabled", "it answered 410")]
    assert len(target.got) == 1


async def test_an_answer_without_end_is_not_listened_to(office: Office, target: Receiver) -> None:
    target.answer = lambda got: (200, {}, b"x" * 10_000_000)
    await office.webhook(target.url)
    await office.events(1)
    await office.deliver()
    assert await office.statuses() == [("delivered", 1)]


async def test_nobody_listening_is_a_reason_in_the_log(office: Office) -> None:
    with receiver() as closed:
        pass
    await office.webhook(closed.url)
    await office.events(1)
    await office.deliver()
    [(status, error)] = await office.bench.rows("SELECT status, error FROM delivery_attempts")
    assert status is None
    assert "Connection refused" in error


async def test_workers_share_targets_and_send_nothing_twice(office: Office) -> None:
    with ExitStack() as stack:
        targets = [stack.enter_context(receiver()) for _ in range(3)]
        for each in targets:
            await office.webhook(each.url)
        workers = [office.worker() for _ in range(4)]
        await office.events(300, subjects=20)
        for _ in range(3):
            await asyncio.gather(*(office.deliver(worker) for worker in workers))
        for each in targets:
            assert len(each.ids) == len(set(each.ids)) == 300
            for subject in range(20):
                numbers = [int(model[1:]) for model in models(each) if int(model[1:]) % 20 == subject]
                assert numbers == sorted(numbers)


async def test_what_a_dead_worker_did_not_write_down_is_sent_again_with_the_same_id(
    office: Office, target: Receiver
) -> None:
    """It had sent, and died before it could say so: the lease has to run out first."""
    await office.webhook(target.url)
    await office.events(1)
    dead = office.worker()
    target.hangs = threading.Event()
    await dead.look()
    await asyncio.to_thread(target.arrived.wait)
    await dead.abandon()
    target.hangs.set()
    target.hangs = None
    heir = office.worker()
    await office.deliver(heir)
    assert len(target.got) == 1
    office.bench.clock.advance(31)
    await office.deliver(heir)
    assert len(target.ids) == 2
    assert len(set(target.ids)) == 1
    assert await office.statuses() == [("delivered", 1)]


@pytest.mark.slow
async def test_ten_thousand_events_and_a_target_that_hangs(office: Office) -> None:
    """The four others have everything while the fifth is still silent about its first messages."""
    with ExitStack() as stack:
        fine = [stack.enter_context(receiver()) for _ in range(4)]
        silent = stack.enter_context(receiver())
        silent.hangs = threading.Event()
        for each in (*fine, silent):
            await office.webhook(each.url)
        await office.events(10_000, subjects=200)
        worker = office.worker()
        await worker.look()
        while any(len(each.got) < 10_000 for each in fine):
            await worker.look()
            await asyncio.sleep(0.05)
        assert 0 < len(silent.got) <= 8
        assert all(len(set(each.ids)) == 10_000 for each in fine)


async def test_a_test_goes_to_one_target_alone_and_a_replay_has_the_same_id(
    office: Office, target: Receiver
) -> None:
    with receiver() as other:
        await office.webhook(target.url)
        await office.webhook(other.url)

        def begin(conn: object) -> None:
            make_test(
                conn,  # type: ignore[arg-type]
                living_webhook(conn, "whk_1"),  # type: ignore[arg-type]
                event_id="test_1",
                delivery_id="dlv_test",
                now_us=office.bench.clock.now_us(),
            )

        await office.bench.database.write(begin)
        await office.deliver()
        assert [got.json["type"] for got in target.got] == ["webhook.test"]
        assert other.got == []
        await office.bench.database.write(replay, "dlv_test", office.bench.clock.now_us())
        await office.deliver()
        assert len(target.ids) == 2
        assert len(set(target.ids)) == 1
        found = await office.bench.database.read(delivery_by_id, "dlv_test")
        assert (found.status, found.attempts) == ("delivered", 1)


async def test_a_deleted_target_hears_nothing_more(office: Office, target: Receiver) -> None:
    await office.webhook(target.url)
    await office.events(1)
    target.answer = lambda got: (500, {}, b"")
    await office.deliver()

    def delete(conn: object) -> None:
        delete_webhook(conn, living_webhook(conn, "whk_1"), NOON_US)  # type: ignore[arg-type]

    await office.bench.database.write(delete)
    await office.events(1)
    office.bench.clock.advance(HOUR_S)
    await office.deliver()
    assert len(target.got) == 1
    assert await office.statuses() == [("dead", 1)]


async def test_a_target_sealed_with_another_key_is_left_alone(office: Office, target: Receiver) -> None:
    await office.webhook(target.url)
    await office.bench.execute("UPDATE webhooks SET target = 'unreadable'")
    await office.events(1)
    await office.deliver()
    assert target.got == []
    assert await office.statuses() == [("pending", 0)]


async def test_what_was_delivered_is_kept_for_ninety_days(office: Office, target: Receiver) -> None:
    await office.webhook(target.url)
    target.answer = lambda got: (410 if got.json["data"]["model"] == "m2" else 200, {}, b"")
    await office.events(2)
    await office.deliver()
    looker = Lookout(office.bench.database, office.bench.clock, list, list)
    for days, left in ((89, ["delivered", "dead"]), (2, ["dead"])):
        office.bench.clock.advance(days * 24 * HOUR_S)
        await looker.look()
        assert [status for status, _ in await office.statuses()] == left
    assert len(await office.bench.rows("SELECT * FROM delivery_attempts")) == 1


async def test_what_waits_for_an_earlier_message_is_not_even_looked_at(
    office: Office, target: Receiver
) -> None:
    """And if it is (it was written beside the failure of the earlier one), it is not sent."""
    target.answer = lambda got: (400, {}, b"")
    await office.webhook(target.url)
    await office.events(2)
    await office.deliver()
    await office.events(1)
    await office.deliver()
    database, now_us = office.bench.database, office.bench.clock.now_us()
    assert await database.read(due_targets, now_us) == (False, [])
    await office.bench.execute("UPDATE deliveries SET due_at = created_at WHERE attempts = 0")
    assert await database.read(due_targets, now_us) == (False, ["whk_1"])
    await office.deliver()
    assert models(target) == ["m1"]
