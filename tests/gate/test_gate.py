"""The gate of a worker: what calls ask of it together, what it tells of itself, how it stops."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.gate.admission import Offer
from gateway.ledger.ledger import Balance
from tests.gate.making import NOON_US, account, budget, caller, inbound
from tests.gate.playbook import JSON, Playbook

REPLY = b'{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}'


def judged(play: Playbook, **fields: Any) -> Offer:
    """An offer as the gate's desk makes it."""
    assert play.directory.known is not None
    return play.gate.desk.offer(play.directory.known, inbound(**fields), NOON_US)


# What is sent.


async def test_the_head_of_a_request_is_kept_for_the_next_call_with_the_same_headers() -> None:
    play = Playbook()
    for beta in (b"one", b"one", b"two"):
        play.client(inbound(None, (b"openai-beta", beta), (b"cookie", b"c"), max_tokens=5))
        play.write()
    heads = [request.partition(b"content-length")[0] for request in play.up.requests]
    assert heads[0] == heads[1] != heads[2]
    assert b"authorization: Bearer sk-upstream\r\n" in heads[0]
    assert b"openai-beta: one\r\n" in heads[0]
    assert b"cookie" not in heads[0]
    assert len(play.gate.requests.heads) == 2


async def test_kept_heads_are_bounded() -> None:
    play = Playbook()
    for number in range(1_100):
        play.client(inbound(None, (b"traceparent", b"%d" % number), max_tokens=5))
        play.write()
    assert len(play.gate.requests.heads) <= 1_024


# What is told.


async def test_only_budgets_that_are_the_keys_business_are_told_of() -> None:
    chain = [account(), account("acct_top")]
    budgets = [
        budget(1, id="ours"),
        budget(1, id="above", account="acct_top"),
        budget(1, id="soft", enforcement="soft"),
        budget(1, id="limit", key="key_1", account=None, unit="requests", period="minute"),
        budget(1, id="quota", key="key_1", account=None, unit="tokens", period="month"),
        budget(1, id="team", unit="requests", period="minute"),
    ]
    play = Playbook()
    play.directory.known = caller(*budgets, accounts=chain)
    resets_us = NOON_US + 42_500_000
    play.ledger.budgets = {
        "ours": Balance(9_000_000_000, 1_000_000_000, 500_000_000, None),
        "above": Balance(10, 9, 0, None),
        "soft": Balance(10, 9, 0, None),
        "limit": Balance(100, 30, 5, resets_us),
        "quota": Balance(100, 30, 5, resets_us),
        "team": Balance(100, 99, 0, resets_us),
    }
    assert play.gate.remaining(judged(play)) == (7_500_000_000, [(b"requests", 100, 65, 42)])


async def test_a_running_call_is_known_and_an_ended_one_is_not() -> None:
    play = Playbook()
    play.sent(max_tokens=5)
    facts = play.gate.running(play.exchange.call_id)
    assert facts is not None
    assert facts.model == "gpt-4.1"
    play.upstream(200, JSON, REPLY)
    assert play.gate.running(play.exchange.call_id) is None


async def test_reports_are_complete_up_to_the_oldest_call_that_is_not_in_sql() -> None:
    play = Playbook()
    play.clock.advance(10)
    assert play.gate._own_calls_complete_until() == NOON_US + 10_000_000
    # One that waits for headroom, one that runs: whichever came first.
    play.ledger.must_wait = True
    play.client(max_tokens=5)
    await asyncio.sleep(0)
    play.clock.advance(10)
    play.ledger.must_wait = False
    play.client(max_tokens=5)
    play.clock.advance(10)
    assert play.gate._own_calls_complete_until() == NOON_US + 10_000_000
    play.exchange.client_gone()
    play.write()
    assert play.ledger.answer is not None
    play.ledger.answer.cancel()
    await play.settled()
    # Neither is open any more, but what has ended is not posted: reports stay where they were.
    play.ledger.poster.unposted = 1
    play.gate._complete_until_us = NOON_US + 5
    assert play.gate._own_calls_complete_until() == NOON_US + 5
    play.ledger.poster.unposted = 0
    assert play.gate._own_calls_complete_until() == NOON_US + 30_000_000


# Abandoned answers.


async def test_abandoned_answers_are_bounded_in_number() -> None:
    play = Playbook(drains=1)
    exchanges = []
    for _ in range(2):
        play.sent(max_tokens=5, stream=True)
        exchanges.append(play.exchange)
    for exchange in exchanges:
        exchange.client_gone()
    assert play.said == ["upstream is resumed", "upstream is resumed", "upstream is cancelled"]
    await play.settled()
    exchanges[0].stop()
    await play.settled()
    assert play.gate._abandoned == {}
    assert play.gate.streams == set()
