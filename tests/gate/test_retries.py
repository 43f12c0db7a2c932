"""Trying again, as transcripts: where a call goes after an attempt that came to nothing, and when not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.gate.plans import Upstream
from tests.gate.making import upstream
from tests.gate.playbook import JSON, Playbook

REPLY = (
    b'{"model":"gpt-4.1","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}'
)
BROKEN = b'{"error":{"message":"broken"}}'


def two() -> list[Upstream]:
    own = upstream()
    return [own, replace(own, name="openai-eu", of="openai", priority=1)]


async def tried(play: Playbook) -> None:
    """The timer of the next attempt fires, and its open record is written."""
    play.write()
    await asyncio.sleep(0.001)
    play.write()


async def test_a_refusal_goes_to_the_other_upstream_and_the_client_hears_of_one_answer() -> None:
    play = Playbook(upstreams=two(), attempts=3)
    play.sent()
    play.upstream(503, JSON, BROKEN)
    await tried(play)
    play.upstream(200, JSON, REPLY)
    play.write()
    assert [each.outcome for each in play.ledger.closings] == ["void", "done"]
    assert next(line for line in play.said if line.startswith("client")).startswith("client gets 200")
    assert len([line for line in play.said if line.startswith("client")]) == 1


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_the_clients_own_fault_is_final(status: int) -> None:
    play = Playbook(upstreams=two(), attempts=3)
    play.sent()
    play.upstream(status, JSON, BROKEN)
    await tried(play)
    assert len(play.ledger.closings) == len(play.up.requests) == 1


async def test_what_this_upstream_will_not_serve_again_another_may() -> None:
    play = Playbook(upstreams=two(), attempts=3)
    play.sent()
    play.upstream(429, [*JSON, (b"x-should-retry", b"false")], BROKEN)
    await tried(play)
    play.upstream(429, [*JSON, (b"x-should-retry", b"false")], BROKEN)
    play.write()
    assert len(play.ledger.closings) == len(play.up.requests) == 2


async def test_a_request_that_was_sent_is_not_sent_again() -> None:
    play = Playbook(upstreams=two(), attempts=3)
    play.sent()
    play.fails(request_sent="yes")
    await play.settled()
    await tried(play)
    assert len(play.up.requests) == 1
    assert play.closing.outcome == "aborted"


async def test_a_client_that_left_is_not_tried_for() -> None:
    play = Playbook(upstreams=two(), attempts=3)
    play.sent()
    play.exchange.client_gone()
    play.upstream(503, JSON, BROKEN)
    await tried(play)
    assert len(play.up.requests) == 1


async def test_a_wait_longer_than_allowed_is_passed_on() -> None:
    play = Playbook(attempts=3)
    play.sent()
    play.upstream(429, [*JSON, (b"retry-after", b"60")], BROKEN)
    await tried(play)
    assert len(play.up.requests) == 1


async def test_the_last_attempt_is_the_fallbacks() -> None:
    play = Playbook(attempts=2, fallbacks={"gpt-4.1": ["gpt-4o-mini"]})
    play.sent()
    play.upstream(500, JSON, BROKEN)
    await tried(play)
    assert b'"gpt-4o-mini"' in play.up.requests[-1]
    play.upstream(200, JSON, REPLY)
    play.write()
    assert [each.outcome for each in play.ledger.closings] == ["void", "done"]


OUTCOMES = st.sampled_from(["ok", "500", "429", "401", "400", "unsent", "sent", "html"])


@settings(max_examples=60)
@given(st.lists(OUTCOMES, min_size=1, max_size=6), st.integers(1, 4), st.booleans())
def test_whatever_the_upstreams_do_every_hold_is_closed_and_the_client_hears_once(
    outcomes: list[str], attempts: int, has_two: bool
) -> None:
    async def play_it() -> None:
        play = Playbook(upstreams=two() if has_two else None, attempts=attempts)
        play.sent()
        for number, outcome in enumerate(outcomes):
            if len(play.up.requests) != number + 1:
                break
            match outcome:
                case "ok":
                    play.upstream(200, JSON, REPLY)
                case "unsent" | "sent":
                    play.fails(request_sent="no" if outcome == "unsent" else "yes")
                case "html":
                    play.upstream(200, [(b"content-type", b"text/html")], b"<html>")
                case status:
                    play.upstream(int(status), JSON, BROKEN)
            await play.settled()
            await tried(play)
        if len(play.up.requests) > len(outcomes):
            play.upstream(200, JSON, REPLY)
            await tried(play)
        await play.settled()
        play.write()
        assert len(play.ledger.closings) == len(play.up.requests) <= attempts
        assert all(each.outcome == "void" for each in play.ledger.closings[:-1])
        assert len([line for line in play.said if line.startswith("client gets")]) == 1

    asyncio.run(play_it())
