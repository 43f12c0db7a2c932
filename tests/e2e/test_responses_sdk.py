"""The official OpenAI SDK works unchanged on Responses, and what it used is booked."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano
from tests.e2e.upstream import ScriptedUpstream, answer
from tests.running import Gateway

pytestmark = pytest.mark.slow

MODEL = "gpt-4.1"
# The simulated models answer their directives in so many words.
TWELVE_WORDS = "Tell me about the sea. [[sim: words=12]]"
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def test_an_answer_is_charged_what_its_usage_costs(team: Team, providers: SimulatedProviders) -> None:
    team.budget("5.00")
    with team.sdk() as client:
        raw = client.responses.with_raw_response.create(model=MODEL, input=TWELVE_WORDS)
    response = raw.parse()
    assert response.output_text
    assert response.usage is not None
    (billed,) = providers.bill("openai")
    assert response.usage.output_tokens == 12
    assert nano(raw.headers["x-tollgate-cost-usd"]) == billed.input_total * 2_000 + 12 * 8_000
    receipt = team.receipt(raw.headers["x-tollgate-call-id"])
    assert receipt["usage"] == {"requests": 1, "input": billed.input_total, "output": 12}
    assert (receipt["status"], receipt["usage_source"], receipt["flags"]) == ("finished", "provider", [])
    assert receipt["raw_usage"]["output_tokens"] == 12


def test_a_stream_arrives_whole_and_is_booked_once(team: Team, providers: SimulatedProviders) -> None:
    with team.sdk() as client, client.responses.stream(model=MODEL, input=TWELVE_WORDS) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert response.output_text
    (billed,) = providers.bill("openai")
    (row,) = team.booked(1)
    assert row["usage"] == {"input": billed.input_total, "output": 12}
    assert (row["streamed"], row["outcome"], row["flags"]) == (1, "done", [])


def test_tools_go_round(team: Team) -> None:
    asked: Any = [{"role": "user", "content": "What is the weather in Whitby? [[sim: tools=1]]"}]
    with team.sdk() as client:
        first = client.responses.create(model=MODEL, input=asked, tools=[WEATHER])
        (call,) = [item for item in first.output if item.type == "function_call"]
        asked += first.output
        asked.append({"type": "function_call_output", "call_id": call.call_id, "output": "rain"})
        second = client.responses.create(model=MODEL, input=asked, tools=[WEATHER])
    assert json.loads(call.arguments)
    assert second.output_text
    assert len(team.booked(2)) == 2


class Town(BaseModel):
    """What the model is to answer."""

    name: str
    inhabitants: int


def test_structured_output(team: Team) -> None:
    with team.sdk() as client:
        response = client.responses.parse(model=MODEL, input="Name a town.", text_format=Town)
    assert isinstance(response.output_parsed, Town)


def test_reasoning_is_a_meter_of_its_own(team: Team) -> None:
    with team.sdk() as client:
        client.responses.create(
            model="gpt-5", input="Why? [[sim: words=5 reasoning=40]]", reasoning={"effort": "high"}
        )
    (row,) = team.booked(1)
    assert (row["usage"]["output"], row["usage"]["reasoning"]) == (5, 40)


def test_a_cap_is_lowered_to_the_keys_and_the_answer_says_that_it_is_incomplete(team: Team) -> None:
    team.make_key(max_output_tokens=20)
    with team.sdk() as client:
        raw = client.responses.with_raw_response.create(
            model=MODEL, input="Go on. [[sim: words=50]]", max_output_tokens=100
        )
    response = raw.parse()
    assert raw.headers["x-tollgate-max-tokens"] == "20"
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    (row,) = team.booked(1)
    assert row["usage"]["output"] == 20


def test_searches_are_charged_by_the_call(team: Team) -> None:
    with team.sdk() as client:
        client.responses.create(
            model=MODEL,
            input="Search. [[sim: words=5 web_search=2]]",
            tools=[{"type": "web_search"}],
            max_tool_calls=2,
        )
    (row,) = team.booked(1)
    assert row["usage"]["web_search"] == 2
    (fee,) = [line for line in row["lines"] if line[0] == "web_search"]
    assert fee[4] == 2 * 10_000_000  # $10 for a thousand
    assert row["charge"] <= row["hold"]


def test_containers_are_charged_by_their_memory(team: Team, upstream: ScriptedUpstream) -> None:
    call = {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "code": "print(1)"}
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    tool = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}
    told = {"id": "resp_ci", "status": "completed", "output": [call], "tools": [tool], "usage": usage}
    upstream.play(answer(json.dumps({**told, "model": "gpt-4.1"}).encode()))
    asked = {"model": "scripted/gpt-4.1", "input": "Compute.", "tools": [tool]}
    assert team.client.call("POST", "/v1/responses", asked).status == 200
    (row,) = team.booked(1)
    assert row["usage"]["code_interpreter"] == 4
    assert row["charge"] == 100 * 2_000 + 10 * 8_000 + 4 * 30_000_000
    assert (row["charge"] <= row["hold"], row["flags"]) == (True, [])
    # The container is the account's from now on.
    again = {**asked, "tools": [{"type": "code_interpreter", "container": "cntr_1"}]}
    upstream.play(answer(json.dumps({**told, "id": "resp_ci2"}).encode()))
    assert team.client.call("POST", "/v1/responses", again).status == 200


@pytest.mark.parametrize("usage", ["none", "null", "zero", "wrong"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_tells_no_usage_is_counted(team: Team, usage: str, stream: bool) -> None:
    asked = f"Tell me. [[sim: words=12 usage={usage}]]"
    body = {"model": MODEL, "input": asked, "stream": stream}
    assert team.client.call("POST", "/v1/responses", body).status == 200
    (row,) = team.booked(1)
    assert row["usage_source"] in ("counted", "mixed")
    assert row["usage"]["input"] > 0
    assert row["usage"]["output"] > 0
    assert "estimated" in row["flags"]


def test_an_error_after_the_first_event_is_an_error_of_the_sdk(team: Team) -> None:
    asked = "Tell me. [[sim: words=12 fault=error_midstream after=0]]"
    with team.sdk() as client, pytest.raises(openai.APIError, match="Request too large"):
        list(client.responses.create(model=MODEL, input=asked, stream=True))
    (row,) = team.booked(1)
    assert row["outcome"] == "void"
    assert (row["charge"], row["flags"]) == (0, ["upstream_error"])


def test_a_spent_budget_refuses(team: Team) -> None:
    team.budget("0.000001")
    with team.sdk() as client, pytest.raises(openai.RateLimitError) as refused:
        client.responses.create(model=MODEL, input=TWELVE_WORDS)
    assert refused.value.code == "budget_exceeded"


def test_the_cost_in_the_body(team: Team) -> None:
    body = {"model": MODEL, "input": TWELVE_WORDS}
    reply = team.client.call("POST", "/v1/responses", body, x_tollgate_cost="body")
    assert reply.json["usage"]["cost"] > 0
    events = team.client.call("POST", "/v1/responses", {**body, "stream": True}, x_tollgate_cost="body")
    assert b'"usage":{"cost":' in events.body.rpartition(b"event: response.completed")[2]


def test_what_the_provider_runs_is_bounded_on_its_way(team: Team, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(b'{"id":"resp_1","status":"completed","output":[],"usage":null}'))
    body = b'{"model":"scripted/gpt-4.1", "input":"x","tools":[{"type":"web_search"}]}'
    assert team.client.call("POST", "/v1/responses", body).status == 200
    sent = upstream.body()
    assert b'"max_tool_calls":8' in sent
    assert sent.endswith(b'"input":"x","tools":[{"type":"web_search"}]}')


# Tenancy.


def test_a_conversation_goes_on_for_the_account_that_began_it(team: Team) -> None:
    with team.sdk() as client:
        first = client.responses.create(model=MODEL, input=TWELVE_WORDS)
        second = client.responses.create(model=MODEL, input="Go on.", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    one, two = team.booked(2)
    assert two["usage"]["input"] > one["usage"]["input"] + one["usage"]["output"]
    assert one["hold"] < two["hold"]  # what cannot be seen is quoted at the context window
    made = team.sql("SELECT id FROM belongings WHERE account = :account")
    assert {first.id, second.id} <= {row["id"] for row in made}


def test_another_accounts_answer_does_not_exist(team: Team, gateway: Gateway) -> None:
    with team.sdk() as client:
        first = client.responses.create(model=MODEL, input=TWELVE_WORDS)
    stranger = Team(gateway, "stranger-to-answers")
    told = []
    with stranger.sdk() as client:
        for name in (first.id, "resp_that_never_was"):
            with pytest.raises(openai.NotFoundError) as refused:
                client.responses.create(model=MODEL, input="Go on.", previous_response_id=name)
            told.append(str(refused.value.body).replace(name, "ID"))
    assert told[0] == told[1]
    assert stranger.rows() == []


def test_whose_it_is_stands_in_sql_with_the_calls_entry(team: Team) -> None:
    """Nothing hangs on the memory of the worker that made it."""
    with team.sdk() as client:
        first = client.responses.create(model=MODEL, input=TWELVE_WORDS)
    team.booked(1)
    (row,) = team.sql("SELECT account, upstream, awaited FROM belongings WHERE id = :id", id=first.id)
    assert (row["account"], row["upstream"], row["awaited"]) == (team.account, "openai", 0)
