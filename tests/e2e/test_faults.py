"""Whatever breaks upstream: the client hears of it, the ledger has it right, and nothing stays held."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano
from tests.e2e.upstream import HANG_UP, RESET, ScriptedUpstream, answer, chunked, sse, stream
from tests.e2e.wire import request, say
from tests.simulators.raw import Heard

pytestmark = pytest.mark.slow

INPUT_NANO, OUTPUT_NANO = 2_000, 8_000  # gpt-4.1, for each token


class Case(NamedTuple):
    """What a fault leads to. `broken`: a stream ends in an error event and without its last chunk."""

    directive: str
    status: int
    outcome: str
    source: str
    flags: frozenset[str]
    code: str = ""
    broken: bool = False
    model: str = "gpt-4.1"


def case(directive: str, status: int, outcome: str, source: str, *flags: str, **more: Any) -> Case:
    return Case(directive, status, outcome, source, frozenset(flags), **more)


DIED = ("aborted", "counted", "upstream_died", "estimated")
UNAVAILABLE: dict[str, Any] = {"code": "upstream_unavailable"}
TIMEOUT: dict[str, Any] = {"code": "upstream_timeout", "model": "impatient/gpt-4.1"}
BROKEN: dict[str, Any] = {**UNAVAILABLE, "broken": True}

STREAMED = [
    case("fault=refuse", 502, *DIED, **UNAVAILABLE),
    case("fault=hang_up", 502, *DIED, **UNAVAILABLE),
    case("fault=stall_headers", 504, *DIED, **TIMEOUT),
    case("fault=stall after=4", 200, *DIED, **TIMEOUT, broken=True),
    case("fault=cut_midstream after=4", 200, *DIED, **BROKEN),
    case("fault=close_midstream after=4", 200, *DIED, **BROKEN),
    case("fault=cut_json after=4", 200, *DIED, **BROKEN),
    case("fault=big_line after=4", 200, "aborted", "counted", "upstream_broke", "estimated", **BROKEN),
    case("fault=end_midstream after=4", 200, "done", "counted", "cut", "estimated"),
    case("fault=half_json after=4", 200, "done", "counted", "cut", "estimated"),
    case("fault=error_midstream after=4", 200, "aborted", "counted", "upstream_error", "estimated"),
    case("fault=error_midstream after=0", 200, "void", "none", "upstream_error"),
    case("fault=html", 502, "void", "none", "unreadable_reply", **UNAVAILABLE),
    case("fault=slow_headers pace_ms=0", 200, "done", "provider"),
    case("fault=wrong_types", 200, "done", "provider"),
    case("fault=bad_utf8", 200, "done", "provider"),
    case("fault=no_done", 200, "done", "provider"),
    case("fault=double_done", 200, "done", "provider"),
    case("usage=none", 200, "done", "counted", "estimated"),
    case("usage=null", 200, "done", "counted", "estimated"),
    case("usage=zero", 200, "done", "counted", "estimated"),
    case("usage=wrong", 200, "done", "counted", "estimated"),
    case("fault=prompt_blocked", 400, "void", "none", "upstream_refused", model="azure_openai/gpt-4.1"),
]
WHOLE = [
    case("fault=refuse", 502, *DIED, **UNAVAILABLE),
    case("fault=hang_up", 502, *DIED, **UNAVAILABLE),
    case("fault=stall_headers", 504, *DIED, **TIMEOUT),
    case("fault=stall", 504, *DIED, **TIMEOUT),
    case("fault=cut_midstream", 502, *DIED, **UNAVAILABLE),
    case("fault=close_midstream", 502, *DIED, **UNAVAILABLE),
    case("fault=cut_json", 502, *DIED, **UNAVAILABLE),
    case("fault=html", 502, "void", "none", "unreadable_reply", **UNAVAILABLE),
    case("fault=slow_headers pace_ms=0", 200, "done", "provider"),
    case("fault=wrong_types", 200, "done", "counted", "estimated"),
    case("fault=bad_utf8", 200, "done", "provider"),
    case("fault=big_line", 200, "done", "provider"),
    case("usage=none", 200, "done", "counted", "estimated"),
    case("usage=null", 200, "done", "counted", "estimated"),
    case("usage=zero", 200, "done", "counted", "estimated"),
    case("usage=wrong", 200, "done", "counted", "estimated"),
    case("fault=prompt_blocked", 400, "void", "none", "upstream_refused", model="azure_openai/gpt-4.1"),
]


def call(team: Team, each: Case, **fields: Any) -> Heard:
    body = {
        "model": each.model,
        "messages": [{"role": "user", "content": f"Tell me. [[sim: words=12 {each.directive}]]"}],
        "max_tokens": 100,
        **fields,
    }
    return say(team.gateway, request(team.key, body))


def error_of(heard: Heard, *, broken: bool) -> Any:
    """The error a client is told: the whole body, or the last event of a stream without its last chunk."""
    if not broken:
        return json.loads(heard.body)["error"]
    assert not heard.finished
    last = heard.body.rpartition(b"data: ")[2]
    assert last.endswith(b"}\n\n")
    return json.loads(last)["error"]


@pytest.mark.parametrize("each", STREAMED, ids=lambda each: each.directive)
def test_a_stream_that_goes_wrong(team: Team, providers: SimulatedProviders, each: Case) -> None:
    judge(team, providers, each, call(team, each, stream=True))


@pytest.mark.parametrize("each", WHOLE, ids=lambda each: each.directive)
def test_a_whole_answer_that_goes_wrong(team: Team, providers: SimulatedProviders, each: Case) -> None:
    judge(team, providers, each, call(team, each))


def judge(team: Team, providers: SimulatedProviders, each: Case, heard: Heard) -> None:
    assert heard.status == each.status
    if each.code:
        error = error_of(heard, broken=each.broken)
        assert (error["code"], error["type"]) == ("upstream_unavailable", "server_error")
        assert error["tollgate"]["code"] == each.code
        assert "x-should-retry" not in heard.head.decode()
    else:
        assert heard.finished or b"content-length" in heard.head
    (row,) = team.booked(1)
    assert (row["outcome"], row["usage_source"]) == (each.outcome, each.source)
    assert set(row["flags"]) == each.flags
    assert row["charge"] == sum(
        quantity * (INPUT_NANO if meter == "input" else OUTPUT_NANO)
        for meter, quantity in row["usage"].items()
    )
    if each.outcome == "void":
        assert (row["charge"], row["usage"]) == (0, {})
    elif each.source == "counted":
        judge_count(providers, row, heard)
    call_id = re.search(rb"x-tollgate-call-id: (\w+)", heard.head)
    assert call_id is not None
    assert team.receipt(call_id[1].decode())["cost_usd"]


def judge_count(providers: SimulatedProviders, row: dict[str, Any], heard: Heard) -> None:
    """Our count is of the prompt as sent and of the text as relayed; the simulator's tokens are ours."""
    assert row["usage"]["input"] > 0
    (billed,) = providers.bill()
    relayed = b"".join(re.findall(rb'"content": ?"((?:[^"\\]|\\.)*)"', heard.body))
    if "upstream_broke" in row["flags"]:
        assert row["usage"]["output"] == 4, "what came before the event that nobody could read"
    elif row["status"] == 200 and relayed:
        assert abs(row["usage"]["output"] - billed.output) <= 1
    elif row["status"] is None:
        assert "output" not in row["usage"]


def test_nothing_stays_held_after_any_fault(team: Team, providers: SimulatedProviders) -> None:
    team.budget("50.00")
    fast = [each for each in (*STREAMED, *WHOLE) if "stall" not in each.directive]
    for each in fast:
        call(team, each, stream=each in STREAMED)
    spent = nano(team.settled()["spent"])
    rows = team.booked(len(fast))
    assert spent == sum(row["charge"] for row in rows)


# What no simulated provider does; a scripted one does.

ASK: dict[str, Any] = {
    "model": "scripted/gpt-4.1",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 50,
}
CHUNK = (
    '{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4.1","choices":'
    '[{"index":0,"delta":{"content":"Hello there"},"finish_reason":null}]}'
)
USAGE = (
    '{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4.1","choices":[],'
    '"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}'
)


def scripted(
    team: Team, upstream: ScriptedUpstream, *script: Any, **fields: Any
) -> tuple[Heard, dict[str, Any]]:
    upstream.play(script)
    heard = say(team.gateway, request(team.key, {**ASK, **fields}))
    return heard, team.booked(1)[0]


def test_a_stream_that_breaks_after_its_last_word_is_complete(team: Team, upstream: ScriptedUpstream) -> None:
    said = sse(CHUNK, USAGE, "[DONE]")
    heard, row = scripted(team, upstream, *stream([said], ends=False), RESET, stream=True)
    assert heard.finished
    assert heard.body == sse(CHUNK, "[DONE]")
    assert (row["outcome"], row["usage"], row["flags"]) == ("done", {"input": 9, "output": 3}, [])


def test_a_stream_that_stays_open_after_its_last_word_is_ended(
    team: Team, upstream: ScriptedUpstream
) -> None:
    said = sse(CHUNK, USAGE, "[DONE]")
    heard, row = scripted(team, upstream, *stream([said], ends=False), "wait", stream=True)
    assert heard.finished
    assert (row["outcome"], row["usage"], row["flags"]) == ("done", {"input": 9, "output": 3}, [])
    upstream.go()


def test_usage_that_came_before_the_break_is_the_providers(team: Team, upstream: ScriptedUpstream) -> None:
    heard, row = scripted(team, upstream, *stream([sse(CHUNK, USAGE)], ends=False), RESET, stream=True)
    assert not heard.finished
    assert (row["outcome"], row["usage_source"]) == ("aborted", "provider")
    assert (row["usage"], row["flags"]) == ({"input": 9, "output": 3}, ["upstream_died"])


def test_half_an_event_is_not_passed_on_before_the_error(team: Team, upstream: ScriptedUpstream) -> None:
    parts = [sse(CHUNK) + b'data: {"id":"c","cho']
    heard, _ = scripted(team, upstream, *stream(parts, ends=False), HANG_UP, stream=True)
    assert heard.body.startswith(sse(CHUNK) + b'data: {"error":')


def test_an_error_answer_that_breaks_is_not_charged(team: Team, upstream: ScriptedUpstream) -> None:
    head = b"HTTP/1.1 429 Too Many\r\ncontent-length: 100\r\n\r\n" + b'{"error":'
    heard, row = scripted(team, upstream, head, RESET)
    assert heard.status == 502
    assert (row["outcome"], row["charge"], row["status"]) == ("void", 0, 429)


@pytest.mark.parametrize("status", [301, 302, 307, 304, 300])
def test_a_redirect_is_not_followed(team: Team, upstream: ScriptedUpstream, status: int) -> None:
    heard, row = scripted(
        team, upstream, *answer(b"", status, "text/plain", "location: https://elsewhere.example/v1")
    )
    assert (heard.status, row["outcome"], row["charge"]) == (502, "void", 0)
    assert b"elsewhere" not in heard.raw
    assert upstream.called == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02 not http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_upstream_that_does_not_speak_http(
    team: Team, upstream: ScriptedUpstream, garbage: bytes, streamed: bool
) -> None:
    heard, row = scripted(team, upstream, garbage, HANG_UP, stream=streamed)
    assert heard.status == 502
    assert (row["outcome"], row["usage_source"]) == ("aborted", "counted")


def test_a_coding_that_cannot_be_read_is_not_passed_on(team: Team, upstream: ScriptedUpstream) -> None:
    heard, row = scripted(
        team, upstream, *answer(b"\x1b\x00\x00", 200, "application/json", "content-encoding: br")
    )
    assert heard.status == 502
    assert (row["outcome"], row["usage_source"], "upstream_broke" in row["flags"]) == (
        "aborted",
        "counted",
        True,
    )


def test_gzip_that_is_none(team: Team, upstream: ScriptedUpstream) -> None:
    heard, _ = scripted(
        team, upstream, *answer(b"not gzip at all", 200, "application/json", "content-encoding: gzip")
    )
    assert heard.status == 502


def test_a_stream_cut_in_its_midst_keeps_other_calls_unharmed(team: Team, upstream: ScriptedUpstream) -> None:
    whole = stream([sse(CHUNK, USAGE, "[DONE]")])
    torn = [*stream([sse(CHUNK)], ends=False), RESET]
    upstream.play(torn, whole, torn, whole)
    body = {**ASK, "stream": True}
    heard = [say(team.gateway, request(team.key, body)) for _ in range(4)]
    assert [each.finished for each in heard] == [False, True, False, True]


def test_an_unfinished_chunk_is_not_the_end(team: Team, upstream: ScriptedUpstream) -> None:
    torn = chunked(sse(CHUNK))[:-10]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    heard, row = scripted(team, upstream, head + torn, HANG_UP, stream=True)
    assert not heard.finished
    assert error_of(heard, broken=True)["code"] == "upstream_unavailable"
    assert row["outcome"] == "aborted"
