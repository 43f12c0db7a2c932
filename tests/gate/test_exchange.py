"""The life of a call as transcripts: who hears what, in which order, whatever goes wrong where."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.domain.errors import BudgetExceeded, BudgetHeld
from gateway.formats.openai_chat import FORMAT
from gateway.gate.admission import Offer
from gateway.gate.inbound import InboundCall
from gateway.gate.settlement import Ending, Settlement
from tests.gate.making import budget, caller, chat, inbound
from tests.gate.playbook import JSON, SSE, Playbook

POST = "upstream gets POST /v1/chat/completions"
CHUNK = b'data: {"id":"c","model":"gpt-4.1","choices":[{"index":0,"delta":{"content":"Hello there"}}]}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"
REPLY = (
    b'{"choices":[{"message":{"content":"Hello there"}}],"usage":{"prompt_tokens":10,"completion_tokens":5}}'
)
COST = 60_000  # 10 * 2,000 + 5 * 8,000 nano-USD


@pytest.fixture
async def play() -> Playbook:
    return Playbook()


def error(play: Playbook) -> Any:
    """The error the client got, in a whole answer or as the last event."""
    return json.loads(play.down.body.rpartition(b"data: ")[2])["error"]


# The plain ways.


async def test_a_whole_answer(play: Playbook) -> None:
    play.client(max_tokens=100)
    hold = play.said[0]
    play.heard(hold)  # written first, then sent
    assert hold.startswith("ledger opens gpt-4.1 holding ")
    play.write()
    play.heard(POST)
    play.upstream(200, JSON, REPLY[:20], REPLY[20:])
    play.heard(f"ledger closes done {COST}")  # the answer waits for the record of it
    play.write()
    play.heard("client gets 200")
    assert play.down.body == REPLY
    assert play.down.headers[b"x-tollgate-cost-usd"] == b"0.00006"


async def test_a_stream(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK, ends=False)
    play.heard("client gets the head of 200", f"client gets {len(CHUNK)} bytes")
    play.up.listener.on_data(USAGE + DONE)
    play.heard()  # its last words wait for the record, and usage was not asked for
    play.up.listener.on_end()
    play.heard(f"ledger closes done {COST}")
    play.write()
    play.heard(f"client gets the end, {len(DONE)} bytes")
    assert play.down.body == CHUNK + DONE


async def test_usage_that_was_asked_for_comes_with_the_end(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True, stream_options={"include_usage": True})
    play.upstream(200, SSE, CHUNK + USAGE + DONE)
    play.write()
    assert play.down.body == CHUNK + USAGE + DONE


async def test_who_asks_for_the_cost_of_a_stream_gets_its_usage(play: Playbook) -> None:
    play.client(inbound(None, (b"x-tollgate-cost", b"body"), stream=True))
    play.write()
    play.upstream(200, SSE, CHUNK + USAGE + DONE)
    play.write()
    assert b'"usage":{"cost":0.00006,"cost_details":' in play.down.body


async def test_the_last_event_may_lack_its_blank_line(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK + USAGE[:-2])
    assert (play.closing.usage_source, play.closing.charge_nano) == ("provider", COST)


# Refusals.


async def test_no_key(play: Playbook) -> None:
    play.client(InboundCall(FORMAT, "/v1/chat/completions", [], chat()))
    play.heard("client gets 401")


async def test_garbage_is_refused_before_anybody_is_asked(play: Playbook) -> None:
    headers = [(b"authorization", b"Bearer garbage")]
    play.client(InboundCall(FORMAT, "/v1/chat/completions", headers, chat()))
    play.heard("client gets 401")
    assert play.gate.refusals == {"invalid_api_key": 1}


async def test_a_body_that_is_none(play: Playbook) -> None:
    play.client(inbound(b"{"))
    play.heard("client gets 400")


async def test_a_draining_gate(play: Playbook) -> None:
    play.gate.drain()
    play.client()
    play.heard("client gets 503")
    assert error(play)["code"] == "draining"


async def test_a_key_not_heard_of_is_looked_up(play: Playbook) -> None:
    play.directory.known = None
    play.directory.found = asyncio.get_running_loop().create_future()
    play.client(max_tokens=100)
    play.heard()
    play.directory.found.set_result(caller())
    await play.settled()
    assert play.said[0].startswith("ledger opens gpt-4.1")


async def test_a_key_that_nobody_knows(play: Playbook) -> None:
    play.directory.known = None
    play.directory.found = asyncio.get_running_loop().create_future()
    play.directory.found.set_result(None)
    play.client()
    await play.settled()
    play.heard("client gets 401")


async def test_a_call_waits_for_headroom_and_gets_it(play: Playbook) -> None:
    play.ledger.must_wait = True
    play.client(max_tokens=100)
    await asyncio.sleep(0)
    play.heard("ledger is asked for headroom")
    assert play.ledger.answer is not None
    play.ledger.answer.set_result(None)
    await play.settled()
    play.write()
    assert play.said[1:] == [POST]


async def test_a_call_waits_for_headroom_and_is_refused(play: Playbook) -> None:
    play.ledger.must_wait = True
    play.client(max_tokens=100)
    await asyncio.sleep(0)
    play.refuse_waiting(BudgetHeld("budget_held", "Held.", retry_after_s=1))
    await play.settled()
    play.heard("ledger is asked for headroom", "client gets 429")
    assert play.down.headers[b"retry-after"] == b"1"


async def test_a_refusal_names_figures_in_the_budgets_unit() -> None:
    play = Playbook(budgets=[budget(5_000_000_000)])
    play.ledger.must_wait = True
    play.client(max_tokens=100)
    await asyncio.sleep(0)
    fields: dict[str, Any] = {
        "budget": "ours",
        "budget_id": "bud_1",
        "account": "acct_team",
        "unit": "usd",
        "cap": 5_000_000_000,
        "spent": 5_000_000_000,
        "held": 0,
        "resets_at": None,
    }
    play.refuse_waiting(BudgetExceeded("budget_exceeded", "Spent.", fields=fields))
    await play.settled()
    assert error(play)["tollgate"]["cap"] == "5"


# The journal.


async def test_a_call_that_cannot_be_written_down_is_not_sent(play: Playbook) -> None:
    play.client(max_tokens=100)
    play.said.clear()
    play.write(OSError("disk full"))
    play.heard("ledger closes void 0 journal_failed")
    play.write()
    play.heard("client gets 503")
    assert error(play)["code"] == "ledger_unavailable"
    assert play.up.requests == []


async def test_an_end_that_cannot_be_written_down_is_not_given(play: Playbook) -> None:
    play.sent(max_tokens=100)
    play.upstream(200, JSON, REPLY)
    play.said.clear()
    play.write(OSError("disk full"))
    play.heard("client gets 503")


async def test_a_streams_end_that_cannot_be_written_down_is_not_given(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK + USAGE + DONE)
    play.said.clear()
    play.write(OSError("disk full"))
    assert play.said[-1] == "client is cut off"
    assert error(play)["code"] == "ledger_unavailable"


# The upstream.


@pytest.mark.parametrize(
    ("kind", "sent", "status", "closes"),
    [
        ("connect", "no", 502, "ledger closes void 0 upstream_unreached"),
        ("connect_timeout", "no", 504, "ledger closes void 0 upstream_unreached"),
        ("closed", "partly", 502, "ledger closes void 0 upstream_unreached"),
    ],
)
async def test_an_upstream_that_never_had_the_request(
    play: Playbook, kind: str, sent: str, status: int, closes: str
) -> None:
    play.sent(max_tokens=100)
    play.fails(kind, sent)
    play.write()
    play.heard(closes, f"client gets {status}")
    assert play.gate.failures == {kind: 1}


async def test_an_upstream_that_may_have_worked_is_charged_for(play: Playbook) -> None:
    play.sent(max_tokens=100)
    play.fails("first_byte_timeout")
    await play.settled()
    play.write()
    play.heard("ledger closes aborted 16000 upstream_died,estimated", "client gets 504")


async def test_a_stream_that_breaks(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK + b'data: {"half', ends=False)
    play.said.clear()
    play.fails()
    await play.settled()
    play.write()
    assert play.said[0] == "ledger closes aborted 32000 upstream_died,estimated"
    assert play.said[-1] == "client is cut off"
    assert play.down.body.startswith(CHUNK + b'data: {"error":')
    assert error(play)["code"] == "upstream_unavailable"


async def test_a_stream_that_breaks_after_its_last_word_is_whole(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK + USAGE + DONE, ends=False)
    play.said.clear()
    play.fails()
    play.write()
    play.heard(f"ledger closes done {COST}", f"client gets the end, {len(DONE)} bytes")


async def test_a_stream_that_stays_open_after_its_last_word_is_ended(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK + USAGE + DONE, ends=False)
    play.said.clear()
    play.exchange.stop()  # what the timer does
    play.write()
    play.heard(
        "upstream is cancelled", f"ledger closes done {COST}", f"client gets the end, {len(DONE)} bytes"
    )


async def test_a_stream_left_beyond_the_bound_after_its_last_word_is_whole() -> None:
    play = Playbook(drains=0)
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK + USAGE + DONE, ends=False)
    play.said.clear()
    play.exchange.client_gone()
    play.heard("upstream is resumed", "upstream is cancelled", f"ledger closes done {COST} client_gone")


async def test_an_upstream_that_refuses_is_not_charged_for(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(400, JSON, b'{"error":{"message":"no"}}')
    play.write()
    play.heard("ledger closes void 0 upstream_refused", "client gets 400")


async def test_a_refusal_of_our_credential_is_counted(play: Playbook) -> None:
    play.sent(max_tokens=100)
    play.upstream(401, JSON, b"{}")
    play.write()
    play.heard("ledger closes void 0 upstream_refused", "client gets 502")
    assert play.gate.failures == {"credential": 1}


async def test_an_answer_without_usage_is_counted(play: Playbook) -> None:
    play.sent(max_tokens=100)
    play.upstream(200, JSON, b'{"choices":[{"message":{"content":"Hello there"}}]}')
    play.heard()
    await play.settled()
    play.write()
    play.heard("ledger closes done 32000 estimated", "client gets 200")


async def test_an_answer_too_large_is_not_kept(play: Playbook) -> None:
    play.sent(max_tokens=100)
    play.upstream(200, JSON, b'{"choices":' + b" " * 10_000, ends=False)
    await play.settled()
    play.write()
    play.heard(
        "upstream is cancelled", "ledger closes aborted 16000 upstream_broke,estimated", "client gets 502"
    )


async def test_a_stream_past_its_cap_is_cut(play: Playbook) -> None:
    await play.gate.counters.load("gpt-4.1")
    play.sent(max_tokens=4, stream=True)
    play.upstream(200, SSE, *[CHUNK] * 30, ends=False)
    assert "upstream is cancelled" in play.said
    await play.settled()
    play.write()
    assert play.closing.flags == ["cut_at_cap", "overrun", "estimated"]
    assert play.closing.outcome == "done"
    assert b'"finish_reason":"length"' in play.down.body
    assert play.down.body.endswith(DONE)


async def test_one_read_past_the_cap_is_cut_inside(play: Playbook) -> None:
    await play.gate.counters.load("gpt-4.1")
    play.sent(max_tokens=4, stream=True)
    read = CHUNK * (64 * 1024 // len(CHUNK))
    play.upstream(200, SSE, read, ends=False)
    assert "upstream is cancelled" in play.said
    await play.settled()
    play.write()
    assert "cut_at_cap" in play.closing.flags
    assert len(play.down.body) < len(read) // 2


async def test_an_upstream_waits_until_what_it_sent_can_be_counted(play: Playbook) -> None:
    play.sent(max_tokens=4, stream=True)
    play.upstream(200, SSE, *[CHUNK] * 30, ends=False)
    assert play.said.count("upstream is paused") == 1
    play.exchange.resume()  # the client has caught up, which changes nothing
    assert "upstream is resumed" not in play.said
    await play.settled()
    play.write()
    assert "upstream is cancelled" in play.said
    assert "cut_at_cap" in play.closing.flags


async def test_an_upstream_that_may_go_on_goes_on(play: Playbook) -> None:
    """Many characters need not be many tokens; and a client that is slow keeps its upstream waiting."""
    for is_slow in (False, True):
        each = Playbook()
        each.sent(max_tokens=20, stream=True)
        each.upstream(200, SSE, *[CHUNK] * 12, ends=False)
        assert "upstream is paused" in each.said
        if is_slow:
            each.exchange.pause()
        await each.settled()
        assert ("upstream is resumed" in each.said) is not is_slow
        assert "upstream is cancelled" not in each.said


# The client.


async def test_a_client_that_leaves_before_the_call_is_sent(play: Playbook) -> None:
    play.client(max_tokens=100)
    play.said.clear()
    play.exchange.client_gone()
    play.write()
    play.heard("ledger closes void 0 client_gone")
    assert play.up.requests == []


async def test_a_client_that_leaves_while_its_call_waits_for_headroom(play: Playbook) -> None:
    play.ledger.must_wait = True
    play.client(max_tokens=100)
    await asyncio.sleep(0)
    play.exchange.client_gone()
    await play.settled()
    play.heard("ledger is asked for headroom", "ledger is asked no more")


async def test_a_client_that_leaves_while_its_key_was_looked_up_and_headroom_is_asked_for(
    play: Playbook,
) -> None:
    play.ledger.must_wait = True
    play.directory.known = None
    play.directory.found = asyncio.get_running_loop().create_future()
    play.client(max_tokens=100)
    play.directory.found.set_result(caller())
    for _ in range(5):
        await asyncio.sleep(0)
    play.exchange.client_gone()
    await play.settled()
    play.heard("ledger is asked for headroom", "ledger is asked no more")


async def test_a_stream_whose_client_left_is_read_to_its_end(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK, ends=False)
    play.said.clear()
    play.exchange.client_gone()
    play.up.listener.on_data(USAGE + DONE)
    play.up.listener.on_end()
    play.write()
    play.heard("upstream is resumed", f"ledger closes done {COST} client_gone")


async def test_a_stream_whose_client_left_is_stopped_beyond_the_bound() -> None:
    play = Playbook(drains=0)
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK, ends=False)
    play.said.clear()
    play.exchange.client_gone()
    await play.settled()
    play.write()
    play.heard(
        "upstream is resumed",
        "upstream is cancelled",
        "ledger closes aborted 32000 client_gone,estimated",
    )


async def test_an_abandoned_answer_is_stopped_when_its_time_is_over() -> None:
    play = Playbook(drain_s=0.0)
    play.sent(max_tokens=100)
    play.exchange.client_gone()
    async with asyncio.timeout(60):
        await play.ledger.closed.wait()
    assert play.closing.flags == ["client_gone", "estimated"]
    assert play.gate._abandoned == {}


async def test_a_client_that_left_hears_nothing_of_the_end(play: Playbook) -> None:
    play.sent(max_tokens=100)
    play.upstream(200, JSON, REPLY)
    play.exchange.client_gone()
    play.write()
    play.heard(f"ledger closes done {COST}")


async def test_a_slow_client_pauses_the_upstream(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.exchange.pause()
    play.exchange.resume()
    play.heard("upstream is paused", "upstream is resumed")
    play.upstream(200, SSE, CHUNK + USAGE + DONE)
    play.said.clear()
    play.exchange.pause()  # there is nothing left to pause
    play.heard()


async def test_stopping_the_gate_settles_what_runs(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK, ends=False)
    play.said.clear()
    await play.gate.quiet()
    play.write()
    assert play.said[:2] == [
        "upstream is cancelled",
        "ledger closes aborted 32000 gateway_stopping,estimated",
    ]
    assert error(play)["code"] == "draining"


# Checkpoints.


async def test_a_stream_is_noted_as_it_goes(play: Playbook) -> None:
    await play.gate.counters.load("gpt-4.1")
    play.sent(max_tokens=100, stream=True)
    play.attempt.checkpoint()
    play.heard()
    play.upstream(200, SSE, CHUNK, ends=False)
    play.said.clear()
    prompt = play.ledger.holds.open.popitem()[1].facts.usage["input"]
    play.attempt.checkpoint()
    play.heard(f"ledger notes {{'input': {prompt}, 'output': 2}}")
    play.attempt.checkpoint()  # nothing has moved
    play.heard()


# Defects.


async def test_a_defect_while_admitting_refuses_the_call(play: Playbook) -> None:
    play.directory.known = "no caller at all"  # type: ignore[assignment]
    play.client(max_tokens=100)
    play.heard("client gets 503")
    assert play.gate.failures == {"gateway": 1}


async def test_a_defect_while_relaying_ends_the_call_and_charges_what_is_known(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.down.fails_at = f"gets {len(CHUNK)} bytes"
    play.upstream(200, SSE, CHUNK, ends=False)
    await play.settled()
    play.write()
    assert play.said[1:3] == ["upstream is cancelled", "ledger closes aborted 32000 gateway_error,estimated"]
    assert play.said[-1] == "client is cut off"


async def test_a_request_that_cannot_be_built_is_void_and_told(play: Playbook) -> None:
    play.client(inbound(None, (b"openai-beta", b"line\nend"), max_tokens=100))
    play.said.clear()
    play.write()
    play.heard("ledger closes void 0 gateway_error")
    play.write()
    play.heard("client gets 400")


async def test_a_defect_at_the_very_end_cuts_the_client_off(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK + USAGE + DONE)
    play.said.clear()
    play.down.fails_at = "gets the end"
    play.write()
    play.heard("client is cut off")
    assert play.gate.failures == {"gateway": 1}


async def test_a_defect_while_settling_is_charged_as_it_was_admitted(play: Playbook) -> None:
    play.sent(max_tokens=100)
    settle = play.gate.settle

    def settles_no_report(offer: Offer, ending: Ending) -> Settlement:
        assert ending.report is None
        return settle(offer, ending)

    play.gate.settle = settles_no_report  # type: ignore[method-assign]
    play.upstream(200, JSON, b'{"model":"m","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}')
    assert play.closing.flags == ["gateway_error", "estimated"]
    assert play.closing.outcome == "aborted"
    play.write()
    assert play.said[-1] == "client gets 200"


# The first end wins.


async def test_every_end_after_the_first_is_nothing(play: Playbook) -> None:
    play.sent(max_tokens=100, stream=True)
    play.upstream(200, SSE, CHUNK + USAGE + DONE)
    play.exchange.stop()
    play.exchange.client_gone()
    play.exchange.client_gone()
    play.attempt.checkpoint()
    play.write()
    assert len(play.ledger.closings) == 1
    assert play.ledger.holds.open == {}


# What is stored at the provider.


def pointing_to(file_id: str) -> InboundCall:
    content = [{"type": "file", "file": {"file_id": file_id}}]
    return inbound(chat(messages=[{"role": "user", "content": content}], max_tokens=10))


async def test_what_the_account_owns_may_be_named(play: Playbook) -> None:
    play.cellar.owners["file_1"] = "acct_team"
    play.client(pointing_to("file_1"))
    await play.settled()
    assert play.said[0].startswith("ledger opens gpt-4.1")
    assert play.cellar.looks == 1


@pytest.mark.parametrize("owner", ["acct_other", None])
async def test_what_it_does_not_own_does_not_exist(play: Playbook, owner: str | None) -> None:
    if owner:
        play.cellar.owners["file_1"] = owner
    play.client(pointing_to("file_1"))
    await play.settled()
    play.heard("client gets 404")
    told = error(play)
    assert (told["code"], told["message"]) == ("not_found", "There is no 'file_1' of yours.")


async def test_a_client_that_leaves_before_it_is_known_whose_it_is(play: Playbook) -> None:
    play.client(pointing_to("file_1"))
    play.exchange.client_gone()
    await play.settled()
    play.heard()


async def test_what_a_call_made_is_in_its_close_record_and_known_at_once(play: Playbook) -> None:
    play.sent(max_tokens=100, modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"})
    spoken = b'{"choices":[{"message":{"audio":{"id":"audio_1","data":""}}}],"usage":{"prompt_tokens":1,'
    play.upstream(200, JSON, spoken + b'"completion_tokens":5}}')
    assert play.closing.made == ("audio_1",)
    assert play.gate.belongings.has("openai", ["audio_1"], "acct_team")
