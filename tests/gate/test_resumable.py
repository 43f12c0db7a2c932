"""A resumable call as a transcript: followers come and go, the call goes on, and is settled once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import cast

import pytest

from gateway.domain.errors import Ended
from gateway.gate.resumable import LogLimits, ResumableCall
from gateway.gate.resumables import ResumableCalls
from gateway.store.engine import Database
from tests.gate.making import inbound
from tests.gate.playbook import JSON, SSE, Playbook

HELLO = (
    b'data: {"model":"gpt-4.1","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
)
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"


class Reader:
    """A follower that counts how often it was woken."""

    def __init__(self) -> None:
        self.is_slow = False
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class Stage:
    """One call under way, with one reader."""

    def __init__(
        self, *, grace_s: float = 3_600.0, call_bytes: int = 100_000, all_bytes: int = 100_000
    ) -> None:
        self.play = Playbook(drains=0)
        limits = LogLimits(grace_s, 3_600.0, call_bytes, all_bytes)
        self.calls = ResumableCalls(self.play.gate, cast(Database, self.play.cellar), limits)
        self.reader = Reader()
        self.call = self.begin(self.reader)

    def begin(self, reader: Reader) -> ResumableCall:
        call = self.calls.begin(inbound(stream=True, max_tokens=100), reader, is_socket=True)
        self.play.write()
        self.play.said.clear()
        return call

    def finish(self) -> None:
        """The rest of the answer, booked."""
        self.play.up.listener.on_data(STOP + USAGE + DONE)
        self.play.up.listener.on_end()
        self.play.write()


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_the_last_frame_comes_once_the_call_is_in_the_books(stage: Stage) -> None:
    play, call = stage.play, stage.call
    assert call.call.startswith("call_")
    play.upstream(200, SSE, HELLO, STOP + USAGE + DONE)
    assert (call.log.last, call.is_over) == (1, False)
    (said,) = play.said
    assert said.startswith("ledger closes done")
    play.write()
    assert (call.log.last, call.is_over, call.error) == (2, True, None)
    assert b'"cost":0.00006' in call.log.after(1, 9)[0]


async def test_it_goes_on_without_anybody_and_is_taken_up_again(stage: Stage) -> None:
    stage.play.upstream(200, SSE, HELLO, ends=False)
    stage.call.leave(stage.reader)
    stage.play.up.listener.on_data(HELLO)
    back = Reader()
    stage.call.follow(back, 1)
    stage.finish()
    assert (stage.call.log.last, back.woken > 0) == (3, True)
    assert stage.play.closing.outcome == "done"


async def test_nobody_comes_back_and_it_is_settled() -> None:
    stage = Stage(grace_s=0.01)
    stage.play.upstream(200, SSE, HELLO, ends=False)
    stage.call.leave(stage.reader)
    async with asyncio.timeout(60):
        await stage.play.ledger.closed.wait()
    stage.play.write()
    assert stage.play.closing.outcome == "aborted"
    assert stage.call.is_over
    assert b"cancelled" in (stage.call.error or b"")


async def test_who_leaves_before_it_has_a_name_cancels_it() -> None:
    stage = Stage()
    stage.play.ledger.must_wait = True
    waiting = Reader()
    call = stage.calls.begin(inbound(stream=True), waiting, is_socket=True)
    await stage.play.until("ledger is asked for headroom")
    call.leave(waiting)
    await stage.play.settled()
    assert (call.is_over, call.call) == (True, "")
    assert "ledger is asked no more" in stage.play.said


async def test_the_upstream_waits_once_every_reader_is_slow(stage: Stage) -> None:
    stage.play.upstream(200, SSE, HELLO, ends=False)
    other = Reader()
    stage.call.follow(other, 0)
    stage.reader.is_slow = True
    stage.call.pace()
    assert stage.play.said == []
    other.is_slow = True
    stage.call.pace()
    stage.play.heard("upstream is paused")
    stage.call.leave(stage.reader)
    other.is_slow = False
    stage.call.pace()
    stage.play.heard("upstream is resumed")


async def test_without_readers_it_waits_before_the_log_loses_anything() -> None:
    stage = Stage(call_bytes=1_500)
    stage.play.upstream(200, SSE, HELLO, ends=False)
    stage.call.leave(stage.reader)
    for _ in range(100):
        if "upstream is paused" in stage.play.said:
            break
        stage.play.up.listener.on_data(HELLO)
    assert "upstream is paused" in stage.play.said
    assert stage.call.log.has_after(0)


async def test_what_is_not_kept_any_more_is_said_to_be_gone() -> None:
    stage = Stage(call_bytes=1_500)
    stage.play.upstream(200, SSE, *[HELLO] * 50, ends=False)
    with pytest.raises(Ended) as gone:
        stage.call.follow(Reader(), 0)
    assert gone.value.code == "answer_gone"
    assert stage.call.call in gone.value.hint


async def test_a_refusal_is_no_call(stage: Stage) -> None:
    reader = Reader()
    call = stage.calls.begin(inbound(stream=True, model="no-such-model"), reader, is_socket=True)
    assert (call.is_over, call.call, call.is_refused) == (True, "", True)
    assert b"model_not_found" in (call.error or b"")
    assert reader.woken == 1


async def test_a_refusal_of_the_provider_is_told_as_it_is(stage: Stage) -> None:
    stage.play.upstream(400, JSON, b'{"error":{"message":"no","code":"bad"}}')
    stage.play.write()
    assert stage.call.error == b'{"message":"no","code":"bad"}'
    assert stage.call.is_refused


async def test_an_answer_that_is_cut_is_not_passed_off_as_whole(stage: Stage) -> None:
    stage.play.upstream(200, SSE, HELLO)
    await stage.play.settled()
    stage.play.write()
    assert stage.call.is_over
    assert b"upstream_unavailable" in (stage.call.error or b"")


async def test_what_is_over_and_forgotten_leaves_nothing_for_the_collector() -> None:
    stage = Stage(all_bytes=0)
    stage.play.upstream(200, SSE, HELLO, ends=False)
    stage.finish()
    refused = stage.calls.begin(inbound(stream=True, model="none"), Reader(), is_socket=True)
    left = [weakref.ref(stage.call), weakref.ref(refused)]
    stage.call.leave(stage.reader)
    gc.disable()
    try:
        del stage.calls, stage.call, stage.play, refused
        assert [each() for each in left] == [None, None]
    finally:
        gc.enable()


async def test_the_oldest_that_ended_goes_first_and_what_runs_stays() -> None:
    stage = Stage(all_bytes=1_000)
    ended = []
    for _ in range(6):
        stage.play.upstream(200, SSE, HELLO, ends=False)
        ended.append(stage.call)
        stage.finish()
        stage.call = stage.begin(Reader())
    kept = [stage.calls.find(call.call) is not None for call in ended]
    assert kept == sorted(kept)
    assert not kept[0]
    assert kept[-1]
    assert stage.calls.find(stage.call.call) is stage.call


async def test_what_runs_gives_back_where_there_is_no_room_for_so_much() -> None:
    stage = Stage(all_bytes=2_000)
    stage.play.upstream(200, SSE, *[HELLO] * 40, ends=False)
    stage.calls.sweep()
    assert not stage.call.log.has_after(0)
    assert stage.call.log.last == 40
