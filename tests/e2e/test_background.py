"""Answers in the background: the hold lives until their end is known, whoever asks and whoever dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.simulators import SimulatedProviders
from gateway.simulators.bill import BilledCall
from tests.e2e.conftest import more_providers
from tests.e2e.teams import Team
from tests.e2e.upstream import WAIT, ScriptedUpstream, answer, sse, stream
from tests.running import Client, Gateway, eventually, running

pytestmark = pytest.mark.slow

MODEL = "gpt-4.1"


# A gateway asks for answers in the background for a while after a test is over. Here it asks providers of
# this file's own: in another test's bill that would be a call too many.


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedProviders]:
    """Providers that no other file's tests look at."""
    with SimulatedProviders() as providers:
        yield providers


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders, scripted: ScriptedUpstream
) -> Iterator[Gateway]:
    """Their gateway."""
    folder = tmp_path_factory.mktemp("background")
    with running(folder, simulated, settings=more_providers(simulated, scripted)) as process:
        yield process


def asking(name: str, words: int = 12) -> dict[str, Any]:
    """A request whose answer is held until the test lets it go."""
    return {"model": MODEL, "input": f"Tell me. [[sim: words={words} hold={name}]]", "background": True}


def status_of(client: Client, call: str) -> str:
    return str(client.get(f"/v1/calls/{call}")["status"])


def made(providers: SimulatedProviders) -> BilledCall:
    """The one answer that the provider made; looking at it is a call too."""
    (billed,) = [each for each in providers.bill("openai") if each.path.endswith("/responses")]
    return billed


def begin(team: Team, name: str) -> tuple[str, str]:
    """Begin an answer; its id and the call's."""
    reply = team.client.call("POST", "/v1/responses", asking(name))
    assert (reply.status, reply.json["status"]) == (200, "queued")
    assert "x-tollgate-cost-usd" not in reply.headers
    return str(reply.json["id"]), reply.headers["x-tollgate-call-id"]


def test_the_hold_lives_until_the_gateway_hears_of_the_end(team: Team, providers: SimulatedProviders) -> None:
    """Nobody asks for the answer but the gateway itself."""
    budget = team.budget("1.00")
    _, call = begin(team, "b1")
    assert status_of(team.client, call) == "running"
    assert eventually(lambda: float(team.gateway.window(budget)["held"]) or None, "money is held") > 0
    assert team.rows() == []
    providers.release("b1")
    (row,) = team.booked(1)
    billed = made(providers)
    assert row["usage"] == {"input": billed.input_total, "output": 12}
    assert (row["outcome"], row["usage_source"], row["flags"]) == ("done", "provider", [])
    assert status_of(team.client, call) == "finished"
    team.settled()


def test_who_sees_the_end_has_the_receipt(team: Team, providers: SimulatedProviders) -> None:
    with team.sdk() as client:
        raw = client.responses.with_raw_response.create(**asking("b2"))
        queued, call = raw.parse(), raw.headers["x-tollgate-call-id"]
        assert queued.status == "queued"
        assert client.responses.retrieve(queued.id).status == "queued"
        providers.release("b2")
        done = client.responses.retrieve(queued.id)
        assert done.status == "completed"
        receipt = team.receipt(call)
        assert done.usage is not None
        assert receipt["usage"]["output"] == done.usage.output_tokens == 12
        items = client.responses.input_items.list(queued.id)
        assert len(items.data) == 1
        again = client.responses.retrieve(queued.id)
    assert again.usage == done.usage
    assert len(team.booked(1)) == 1


def test_events_can_be_read_again_from_where_they_broke_off(
    team: Team, providers: SimulatedProviders
) -> None:
    with team.sdk() as client:
        queued = client.responses.create(**asking("b3"))
        providers.release("b3")
        with client.responses.retrieve(queued.id, stream=True, starting_after=3) as events:
            numbers = [event.sequence_number for event in events]
    assert numbers == list(range(4, numbers[-1] + 1))
    (row,) = team.booked(1)
    assert row["usage"]["output"] == 12


def test_an_answer_that_is_cancelled_is_settled(team: Team) -> None:
    with team.sdk() as client:
        queued = client.responses.create(**asking("b4"))
        assert client.responses.cancel(queued.id).status == "cancelled"
    (row,) = team.booked(1)
    assert row["usage_source"] == "counted"
    assert "estimated" in row["flags"]
    assert "output" not in row["usage"]


def test_an_answer_that_is_deleted_is_settled(team: Team) -> None:
    with team.sdk() as client:
        queued = client.responses.create(**asking("b5"))
        client.responses.delete(queued.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(queued.id)
    (row,) = team.booked(1)
    assert (row["outcome"], row["usage_source"]) == ("aborted", "counted")
    assert "background_lost" in row["flags"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "cancel", "input_items"])
def test_another_accounts_answer_does_not_exist(team: Team, gateway: Gateway, method: str) -> None:
    id_, _ = begin(team, f"b6-{method}")
    stranger = Team(gateway, f"stranger-{method}")
    told = []
    for name in (id_, "resp_that_never_was"):
        path, verb = f"/v1/responses/{name}", method
        if method == "cancel":
            path, verb = f"{path}/cancel", "POST"
        elif method == "input_items":
            path, verb = f"{path}/input_items", "GET"
        reply = stranger.client.call(verb, path)
        told.append((reply.status, reply.body.replace(name.encode(), b"ID")))
    assert told[0] == told[1]
    assert told[0][0] == 404
    assert team.client.get(f"/v1/responses/{id_}")["status"] == "queued"


def test_a_stream_in_the_background_goes_on_without_its_client(
    team: Team, upstream: ScriptedUpstream
) -> None:
    """The client hangs up, the upstream's stream is let go, and the answer is asked for until its end."""
    created = '{"type":"response.created","sequence_number":0,"response":{"id":"resp_9","status":"queued",'
    created += '"background":true,"model":"gpt-4.1"}}'
    done = b'{"id":"resp_9","status":"completed","background":true,"model":"gpt-4.1","output":[],'
    done += b'"usage":{"input_tokens":7,"output_tokens":5,"total_tokens":12}}'
    upstream.play(
        stream([sse(created), WAIT]), answer(b'{"id":"resp_9","status":"in_progress"}'), answer(done)
    )
    body = {"model": "scripted/gpt-4.1", "input": "x", "background": True, "stream": True}
    events = team.client.open("POST", "/v1/responses", body)
    assert b"response.created" in events.next()
    events.close()
    (row,) = team.booked(1)
    assert row["usage"] == {"input": 7, "output": 5}
    assert (row["outcome"], row["flags"]) == ("done", [])
    gets = [request.partition(b" HTTP")[0] for request in upstream.requests(3)[1:]]
    assert gets == [b"GET /v1/responses/resp_9"] * 2
    upstream.go()


def test_a_stream_in_the_background_that_is_read_to_its_end(
    team: Team, providers: SimulatedProviders
) -> None:
    with team.sdk() as client:
        body: Any = {"model": MODEL, "input": "Tell me. [[sim: words=12]]", "background": True}
        kinds = [event.type for event in client.responses.create(**body, stream=True)]
    assert kinds[-1] == "response.completed"
    (row,) = team.booked(1)
    assert row["usage"]["output"] == 12


# Several workers.


@pytest.fixture
def several(folder: Path, providers: SimulatedProviders) -> Iterator[Gateway]:
    """A gateway of two workers, each of which may be asked."""
    with running(folder, providers, workers=2) as process:
        yield process


def test_any_worker_answers_for_what_another_began(several: Gateway, providers: SimulatedProviders) -> None:
    """Connections go to either; nothing hangs on the memory of the one that made it."""
    team, stranger = Team(several, "ours"), Team(several, "theirs")
    id_, call = begin(team, "b8")
    for _ in range(8):
        assert team.client.get(f"/v1/responses/{id_}")["status"] == "queued"
    assert stranger.client.call("GET", f"/v1/responses/{id_}").status == 404
    providers.release("b8")
    for _ in range(8):
        assert team.client.get(f"/v1/responses/{id_}")["status"] == "completed"
    (row,) = team.booked(1)
    assert (row["call"], row["usage"]["output"]) == (call, 12)
    going_on = {"model": MODEL, "input": "Go on. [[sim: words=3]]", "previous_response_id": id_}
    for _ in range(8):
        assert team.client.call("POST", "/v1/responses", going_on).status == 200
    assert stranger.client.call("POST", "/v1/responses", going_on).status == 404
    assert len(team.booked(9)) == 9
    assert stranger.rows() == []


# Whoever dies.


@pytest.fixture
def own(folder: Path, providers: SimulatedProviders) -> Iterator[Gateway]:
    """A gateway of the test's own, to be killed."""
    with running(folder, providers) as process:
        yield process


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_an_answer_survives_the_worker_that_began_it(
    own: Gateway, providers: SimulatedProviders, how: str
) -> None:
    """Interrupted at its last checkpoint, and corrected to the provider's figures once its end is known."""
    team = Team(own, "survivors")
    budget = team.budget("1.00")
    id_, call = begin(team, f"b7-{how}")
    own.kill() if how == "kill" else own.stop()
    providers.release(f"b7-{how}")
    own.start()
    first, second = sorted(team.booked(2), key=lambda row: str(row["kind"]))
    assert (first["kind"], first["outcome"]) == ("call", "interrupted")
    assert "interrupted" in first["flags"]
    assert (second["kind"], second["attempt"]) == ("correction", first["id"])
    billed = made(providers)
    receipt = team.receipt(call)
    assert receipt["usage"]["output"] == 12
    assert receipt["usage"]["input"] == billed.input_total
    exact = billed.input_total * 2_000 + 12 * 8_000
    assert first["charge"] + second["charge"] == exact
    assert own.window(budget)["held"] == "0"
    (thing,) = team.sql("SELECT awaited FROM belongings WHERE id = :id", id=id_)
    assert not thing["awaited"]
    assert team.client.get(f"/v1/responses/{id_}")["status"] == "completed"
    assert len(team.rows()) == 2
