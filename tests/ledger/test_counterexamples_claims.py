"""Idempotency-Keys over workers and deaths: story 32 of the protocol's list, in its four forms."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from gateway.domain.ids import call_id
from gateway.ledger.adoption import Adoption
from gateway.ledger.files import replay
from gateway.ledger.ledger import Ledger
from gateway.store.claims import Claim, Verdict, claim, expire_claims, free_claim
from tests.ledger.workbench import Workbench, closing, tick

DAY_US = 86_400_000_000


def wish(bench: Workbench, ledger: Ledger, body: bytes = b"{}") -> Claim:
    """A caller's wish to make the call of the key `order-7`."""
    own = call_id(ledger.journal_bytes, os.urandom(8))
    expires = bench.clock.now_us() + DAY_US
    return Claim("key_1", "order-7", hashlib.sha256(body).digest(), own, ledger.journal_id, expires)


async def made(bench: Workbench, wanted: Claim) -> Verdict:
    return await bench.database.write(claim, wanted, bench.clock.now_us())


async def called(bench: Workbench, ledger: Ledger, wanted: Claim, **fields: Any) -> Any:
    budget = await bench.budget(1_000)
    return await bench.hold(ledger, (budget, 50), call=wanted.call, claim=wanted.idempotency_key, **fields)


async def test_32_one_key_makes_one_call_whatever_worker_is_asked(bench: Workbench) -> None:
    """Claimed in memory, two workers would each make the call."""
    one, two = await bench.worker(), await bench.worker()
    first = wish(bench, one)
    assert (await made(bench, first)).kind == "mine"
    assert (await made(bench, first)).kind == "mine", "also after an insert that was not heard"
    assert await made(bench, wish(bench, two)) == Verdict("running", first.call, one.journal_id)
    assert (await made(bench, wish(bench, two, b"{other}"))).kind == "mismatch"


async def test_32_a_slow_call_is_not_taken_over(bench: Workbench) -> None:
    """Taken over when slow, the second upstream call is made beside the first."""
    slow, other = await bench.worker(), await bench.worker()
    first = wish(bench, slow)
    await made(bench, first)
    await called(bench, slow, first)
    bench.clock.advance(10 * 86_400)
    assert (await made(bench, wish(bench, other))).kind == "running", "past its time, and still running"
    assert await bench.database.write(expire_claims, bench.clock.now_us()) == 0


async def test_32_a_claim_of_a_death_before_the_open_is_free(bench: Workbench) -> None:
    """Left as it is, the client would wait for ever: it was certainly never sent."""
    dead = await bench.worker()
    await made(bench, wish(bench, dead))
    await dead.abandon()
    other = await bench.worker()
    second = wish(bench, other)
    assert await made(bench, second) == Verdict("mine", second.call, other.journal_id)


async def test_32_a_call_that_was_sent_is_found_ended(bench: Workbench) -> None:
    """Its open record was written, so an adopter booked it: no second call."""
    dead = await bench.worker()
    first = wish(bench, dead)
    await made(bench, first)
    await called(bench, dead, first)
    await tick()
    await dead.abandon()
    other = await bench.worker()
    assert (await made(bench, wish(bench, other))).kind == "ended"


async def test_32_after_a_power_cut_nobody_takes_over(bench: Workbench) -> None:
    """The open record may be lost with the power: making the call again might make it twice."""
    dead = await bench.worker()
    await made(bench, wish(bench, dead))
    await tick()
    await dead.abandon()
    found = replay(dead.journal.folder)
    assert found is not None
    await Adoption(bench.database, dead.journal.folder, found, "another boot", "host", bench.clock).run()
    assert await bench.rows("SELECT state FROM journals") == [("finished_unclean",)]
    other = await bench.worker()
    for _ in range(2):
        assert (await made(bench, wish(bench, other))).kind == "interrupted"


async def test_32_a_second_try_is_an_attempt_of_its_own(bench: Workbench) -> None:
    """Attempt ids made from the key would leave the second try without a row."""
    ledger = await bench.worker()
    first = wish(bench, ledger)
    await made(bench, first)
    refused = await called(bench, ledger, first)
    ledger.close(refused, closing(0, outcome="void", requests=0, usage={}, lines=[], tokens=0))
    await bench.settle(ledger)
    assert (await made(bench, wish(bench, ledger))).kind == "running", "a void attempt may be retried"
    ledger.close(await called(bench, ledger, first), closing(9))
    await bench.settle(ledger)
    assert len(await bench.rows("SELECT id FROM ledger WHERE call = ?", first.call)) == 2
    assert (await made(bench, wish(bench, ledger))).kind == "ended"
    await bench.audit()


async def test_a_refusal_frees_the_key(bench: Workbench) -> None:
    """Refusals are not remembered."""
    ledger = await bench.worker()
    first = wish(bench, ledger)
    await made(bench, first)
    await bench.database.write(free_claim, first.owner, first.idempotency_key, first.call)
    assert (await made(bench, wish(bench, ledger, b"{other}"))).kind == "mine"


async def test_a_key_past_its_time_stands_for_a_new_call(bench: Workbench) -> None:
    """Kept a day, then free again once the call is over."""
    ledger = await bench.worker()
    first = wish(bench, ledger)
    await made(bench, first)
    ledger.close(await called(bench, ledger, first), closing(9))
    await bench.settle(ledger)
    bench.clock.advance(2 * 86_400)
    assert (await made(bench, wish(bench, ledger, b"{other}"))).kind == "mine"
    await ledger.stop()
    bench.clock.advance(2 * 86_400)
    assert await bench.database.write(expire_claims, bench.clock.now_us()) == 1
