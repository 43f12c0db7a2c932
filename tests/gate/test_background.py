"""Answers in the background, as transcripts: the hold lives on, the client is told what there is."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from gateway.formats.openai_responses import FORMAT
from gateway.gate.answers import Answer
from gateway.gate.background import GIVE_UP_US, has_ended, unfinished
from gateway.gate.inbound import InboundCall
from gateway.ledger.ledger import Closing
from gateway.store.belongings import Awaited, release
from gateway.store.outcomes import DatabaseUnknown
from tests.gate.making import KEY_TEXT, NOON_US
from tests.gate.playbook import JSON, SSE, Cellar, Playbook


def told(status: str, **members: Any) -> bytes:
    return json.dumps(
        {"id": "resp_1", "status": status, "background": True, "output": [], **members}
    ).encode()


DONE = told("completed", model="gpt-4.1", usage={"input_tokens": 10, "output_tokens": 5, "total_tokens": 15})
COST = 60_000  # 10 * 2,000 + 5 * 8,000 nano-USD
CREATED = b'event: response.created\ndata: {"type":"response.created","response":%b}\n\n' % told("queued")


def asking(**members: Any) -> InboundCall:
    body = {"model": "gpt-4.1", "input": "hi", "max_output_tokens": 50, "background": True, **members}
    sent = [(b"authorization", b"Bearer " + KEY_TEXT.encode())]
    return InboundCall(FORMAT, FORMAT.paths[0], sent, json.dumps(body).encode())


@pytest.fixture
async def play() -> Playbook:
    return Playbook()


async def begun(play: Playbook, **members: Any) -> None:
    play.client(asking(**members))
    play.write()
    play.said.clear()


async def test_the_client_is_told_what_there_is_and_the_hold_lives_on(play: Playbook) -> None:
    await begun(play)
    play.upstream(200, JSON, told("queued"))
    await play.until("client gets 200")
    assert play.said == ["ledger notes {'input': 43} and awaits resp_1", "client gets 200"]
    assert play.down.body == told("queued")
    assert b"x-tollgate-cost-usd" not in play.down.headers
    assert play.ledger.holds.open
    assert [thing[:3] for thing in play.cellar.kept] == [("resp_1", "openai", "acct_team")]
    assert play.gate.belongings.has("openai", ["resp_1"], "acct_team")
    play.said.clear()
    play.attempt.conclude(DONE)
    play.attempt.conclude(DONE)  # whoever hears of it twice changes nothing
    play.heard(f"ledger closes done {COST}")
    assert play.closing.made == ("resp_1",)
    await play.gate.background.stop()


async def test_one_that_ends_at_once_is_an_answer_like_any_other(play: Playbook) -> None:
    await begun(play)
    play.upstream(200, JSON, DONE)
    play.heard(f"ledger closes done {COST}")


async def test_a_refusal_is_one(play: Playbook) -> None:
    await begun(play)
    play.upstream(400, JSON, b'{"error":{"message":"no"}}')
    play.heard("ledger closes void 0 upstream_refused")


async def test_an_answer_that_failed_costs_nothing(play: Playbook) -> None:
    await begun(play)
    play.upstream(200, JSON, told("queued"))
    play.attempt.conclude(told("failed", error={"code": "server_error", "message": "It broke."}))
    assert play.closing.outcome == "void"
    await play.gate.background.stop()


async def test_one_that_nobody_will_ever_tell_of_is_counted(play: Playbook) -> None:
    await begun(play)
    play.upstream(200, JSON, told("in_progress"))
    play.attempt.lost()
    await play.settled()
    assert (play.closing.outcome, play.closing.usage_source) == ("aborted", "counted")
    assert list(play.closing.flags) == ["background_lost", "estimated"]
    await play.gate.background.stop()


async def test_a_stream_goes_on_without_its_client(play: Playbook) -> None:
    await begun(play, stream=True)
    play.upstream(200, SSE, CREATED, ends=False)
    play.said.clear()
    play.exchange.client_gone()
    assert play.said[:2] == ["upstream is resumed", "upstream is cancelled"]
    assert play.ledger.holds.open
    play.attempt.conclude(DONE)
    assert list(play.closing.flags) == []
    await play.gate.background.stop()


async def test_a_stream_whose_upstream_goes_away_breaks_off_and_goes_on(play: Playbook) -> None:
    await begun(play, stream=True)
    play.upstream(200, SSE, CREATED, ends=False)
    play.fails()
    await play.until("client is cut off")
    assert play.ledger.holds.open
    await play.gate.background.stop()


async def test_a_worker_that_stops_leaves_it_to_the_next(play: Playbook) -> None:
    await begun(play, stream=True)
    play.upstream(200, SSE, CREATED, ends=False)
    await play.gate.quiet()
    assert play.ledger.holds.open  # the ledger closes it as interrupted, from its checkpoint
    assert any("awaits resp_1" in line for line in play.said)


def answer(status: int, headers: Any, body: bytes, **members: Any) -> Answer:
    intent = FORMAT.read("", asking(**members).body)
    made = Answer(status, headers, FORMAT, intent, 10_000)
    made.feed(body)
    return made


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, told("queued"), "resp_1"),
        (200, told("in_progress"), "resp_1"),
        (200, told("completed"), None),
        (200, b'{"status":"queued"}', None),
        (200, b"<html>", None),
        (429, told("queued"), None),
    ],
)
def test_which_answers_go_on(status: int, body: bytes, expected: str | None) -> None:
    assert unfinished(answer(status, JSON, body)) == expected


def test_which_streams_go_on() -> None:
    end = b'data: {"type":"response.completed","response":%b}\n\n' % DONE
    assert unfinished(answer(200, SSE, CREATED, stream=True)) == "resp_1"
    assert unfinished(answer(200, SSE, CREATED + end, stream=True)) is None
    assert unfinished(answer(200, SSE, b"", stream=True)) is None


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
def test_what_is_a_last_word(status: str) -> None:
    assert has_ended(told(status))
    assert not has_ended(told("queued"))
    assert not has_ended(b"<html>")


# Of workers that are gone.


class Shelf(Cellar):
    """SQL with one answer that nobody waits for any more."""

    def __init__(self, admitted_at_us: int = NOON_US) -> None:
        super().__init__()
        self.lost = [Awaited("resp_1", "openai", "att_1", "acct_team", "gpt-4.1", admitted_at_us, 10**9)]
        self.released = 0

    async def read(self, fn: Any, *args: Any) -> Any:
        return self.lost

    async def write(self, fn: Any, *args: Any) -> Any:
        if fn is release:
            self.released += 1
            return self.released == 1
        return await super().write(fn, *args)


class Corrections:
    """The book, as far as corrections go."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.made: list[tuple[str, Closing]] = []
        self.failure = failure

    async def correct(self, attempt: str, exact: Closing, reason: str) -> bool:
        if self.failure is not None:
            raise self.failure
        self.made.append((attempt, exact))
        return True


async def recovered(shelf: Shelf, book: Corrections, status: int, body: bytes) -> tuple[int, Playbook]:
    """Look after what is on the shelf; the provider says this of it."""
    play = Playbook(database=shelf)
    cast(Any, play.gate).ledger = book

    def send(target: Any, request: bytes, listener: Any, timeouts: Any) -> Any:
        play.said.append(request.partition(b" HTTP")[0].decode())
        listener.on_response(status, JSON)
        listener.on_data(body)
        listener.on_end()
        return play.up

    cast(Any, play.up).send = send
    return await play.gate.background.recover(), play


async def test_an_interrupted_attempt_is_corrected_once() -> None:
    shelf, book = Shelf(), Corrections()
    assert (await recovered(shelf, book, 200, DONE))[0] == 1
    ((attempt, exact),) = book.made
    assert (attempt, exact.charge_nano, exact.usage) == ("att_1", COST, {"input": 10, "output": 5})
    assert exact.outcome == "done"
    # Another worker that saw it too was late.
    assert (await recovered(shelf, book, 200, DONE))[0] == 0
    assert len(book.made) == 1


async def test_one_that_goes_on_is_asked_again() -> None:
    shelf, book = Shelf(), Corrections()
    corrected, play = await recovered(shelf, book, 200, told("in_progress"))
    assert (corrected, shelf.released, book.made) == (0, 0, [])
    assert "GET /v1/responses/resp_1" in play.said


@pytest.mark.parametrize(
    ("status", "body", "age_us"),
    [(404, b"{}", 0), (200, told("in_progress"), GIVE_UP_US + 1), (500, b"", GIVE_UP_US + 1)],
)
async def test_one_that_will_never_be_told_is_let_go(status: int, body: bytes, age_us: int) -> None:
    shelf, book = Shelf(NOON_US - age_us), Corrections()
    assert (await recovered(shelf, book, status, body))[0] == 0
    assert (shelf.released, book.made) == (1, [])


async def test_one_that_tells_no_usage_stays_as_it_was_booked() -> None:
    shelf, book = Shelf(), Corrections()
    assert (await recovered(shelf, book, 200, told("cancelled")))[0] == 0
    assert (shelf.released, book.made) == (1, [])


async def test_a_database_that_goes_away_in_between_loses_nothing() -> None:
    shelf = Shelf()
    await recovered(shelf, Corrections(DatabaseUnknown()), 200, DONE)
    assert [(thing[0], thing[5]) for thing in shelf.kept] == [("resp_1", True)]
