"""Every trap of the Responses dialect as a case of our own, and every recording there is, in any chunking."""

from __future__ import annotations

import json
from itertools import chain, repeat
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.usage import input_total, output_total
from gateway.formats.base import Intent, Report
from gateway.formats.openai_responses import FORMAT
from tests.formats.playing import Case, Played, any_intent, cases, play, recordings_or_skip

OWN = cases("openai_responses")
STREAMS = [pytest.param(case, id=case.name) for case in OWN if case.streamed]
REPLIES = [pytest.param(case, id=case.name) for case in OWN if not case.streamed]
RECORDED = recordings_or_skip("responses")
# Larger recordings are not fed byte by byte: it would take seconds and show nothing more.
LARGE = 100_000
# Of the smallest model that the recorded calls with unseen input were made of.
CONTEXT_WINDOW = 200_000

SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=40)


def intent_of(case: Case) -> Intent:
    if case.request is None:
        return any_intent()
    return FORMAT.read("", case.request.replace(b'"background": true', b'"background": null'))


def sizes_of(cut: list[int]) -> Any:
    return chain.from_iterable(repeat(cut))


def check_report(report: Report | None, expected: dict[str, Any]) -> None:
    if expected["usage"] is None:
        assert report is None
        return
    assert report is not None
    assert report.usage == expected["usage"]
    assert [list(other) for other in report.others] == expected["others"]
    assert report.model == expected["model"]
    assert report.service_tier == expected["service_tier"]
    assert list(report.unknown) == expected["unknown"]
    assert list(report.missing) == expected["missing"]


def check_stream(case: Case, cut: list[int]) -> Played:
    played = play(FORMAT, intent_of(case), case.reply, sizes_of(cut))
    check_report(played.report, case.expected)
    assert (played.error and played.error.code) == case.expected["error"]
    assert played.ended == case.expected["ended"]
    assert played.model == case.expected["model"]
    assert played.counted == sum(len(text) for text in case.expected["texts"])
    assert played.relayed + played.held == case.reply
    if played.ended:
        assert played.held.startswith((b"event: ", b"data: "))
    return played


@pytest.mark.parametrize("case", STREAMS)
def test_stream_whole_and_at_one_byte(case: Case) -> None:
    assert check_stream(case, [len(case.reply)]) == check_stream(case, [1])


@pytest.mark.parametrize("case", STREAMS)
@settings(max_examples=25)
@given(cut=SIZES)
def test_stream_in_any_pieces(case: Case, cut: list[int]) -> None:
    check_stream(case, cut)


@pytest.mark.parametrize("case", REPLIES)
def test_reply(case: Case) -> None:
    report, error = FORMAT.read_reply(case.reply, intent_of(case))
    check_report(report, case.expected)
    assert (error and error.code) == case.expected["error"]
    assert FORMAT.reply_text(case.reply) == "\n".join(case.expected["texts"])
    if report is not None and report.raw != b"null":
        assert json.loads(report.raw) == json.loads(case.reply)["usage"]
        assert report.raw in case.reply


def check_recorded_usage(report: Report | None, expected: dict[str, Any] | None) -> None:
    if expected is None or not expected["input_total"]:
        assert report is None
        return
    assert report is not None
    usage = report.usage
    assert input_total(usage) == expected["input_total"]
    assert usage.get("cache_read", 0) == expected["cache_read"]
    assert usage.get("cache_write_5m", 0) == expected["cache_write"]
    assert output_total(usage) == expected["output_total"]
    assert usage.get("reasoning", 0) == expected["reasoning"]
    assert report.unknown == report.missing == ()


def searches_in(reply: bytes) -> int:
    """The searches of an answer, told by a plain reading of its last event or its whole."""
    text = reply.decode()
    last = next((line[6:] for line in reversed(text.splitlines()) if line.startswith("data: ")), text)
    answer = json.loads(last).get("response") or json.loads(last)
    return sum(
        item["type"] == "web_search_call" and item.get("action", {}).get("type", "search") == "search"
        for item in answer.get("output") or ()
    )


def check_recording(case: Case, cut: list[int]) -> None:
    played = play(FORMAT, intent_of(case), case.reply, sizes_of(cut))
    assert played.relayed + played.held == case.reply
    check_recorded_usage(played.report, case.expected["expected_usage"])
    assert played.ended
    assert played.model == case.expected["model_served"]
    assert (played.error is not None) == (case.expected["error"] is not None)
    if played.report is not None:
        assert played.report.service_tier == case.expected["service_tier"]
        assert played.report.usage.get("web_search", 0) == searches_in(case.reply)


@pytest.mark.parametrize("case", RECORDED)
def test_recording(case: Case) -> None:
    if case.streamed:
        check_recording(case, [len(case.reply)])
        check_recording(case, [1 if len(case.reply) < LARGE else 61])
        return
    report, error = FORMAT.read_reply(case.reply)
    check_recorded_usage(report, case.expected["expected_usage"])
    told = case.expected["error"]
    assert (error and error.message) == (told and told["message"])
    if report is not None:
        assert report.usage.get("web_search", 0) == searches_in(case.reply)


@pytest.mark.slow
@pytest.mark.parametrize("case", RECORDED)
@settings(max_examples=10)
@given(cut=SIZES)
def test_recording_in_any_pieces(case: Case, cut: list[int]) -> None:
    if case.streamed and len(case.reply) < LARGE:
        check_recording(case, cut)


@pytest.mark.parametrize("case", RECORDED)
def test_no_recorded_call_is_above_its_bound(case: Case) -> None:
    """No exception is needed: searches, servers' tools and thinking in turns are quoted at the window."""
    expected = case.expected["expected_usage"]
    if case.request is None or expected is None:
        return
    intent = intent_of(case)
    bound = intent.loops * max(intent.input_bound, CONTEXT_WINDOW if intent.unseen_input else 0)
    assert bound >= expected["input_total"]
    assert intent.input_bound >= intent.allowance
    assert intent.fees.get("web_search", 0) >= searches_in(case.reply)
    if intent.output_cap is not None:
        assert intent.output_cap * intent.choices >= expected["output_total"]


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_request_is_spliced_and_nothing_else(case: Case) -> None:
    if case.request is None:
        return
    intent = intent_of(case)
    body = FORMAT.upstream_body(case.request, intent, "another-model", "max_completion_tokens", 7)
    before, after = json.loads(case.request), json.loads(body)
    assert after.pop("model") == "another-model"
    assert after.pop("max_output_tokens") <= 7
    before.pop("max_output_tokens", None)
    before.pop("model")
    if intent.loops > 1:
        assert after.pop("max_tool_calls") == before.pop("max_tool_calls", None) or intent.loops - 1
    assert after == before


def test_a_cut_ends_the_stream_as_the_provider_would() -> None:
    case = next(case for case in OWN if case.name == "stream")
    meter = FORMAT.meter(intent_of(case))
    meter.feed(case.reply[: case.reply.index(b"event: response.output_text.done")])
    event = meter.cut({"input": 20, "output": 7})
    name, data = event.strip().split(b"\n")
    told = json.loads(data.removeprefix(b"data: "))
    assert name == b"event: response.incomplete"
    assert told["type"] == "response.incomplete"
    assert told["sequence_number"] == 2  # of those that were read, the first two; later ones need no reading
    answer = told["response"]
    assert (answer["id"], answer["status"]) == ("resp_1", "incomplete")
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (20, 7)
    assert meter.feed(case.reply) == meter.finish() == b""


def test_a_cut_before_anything_came() -> None:
    told = json.loads(FORMAT.meter(any_intent()).cut().split(b"data: ")[1])
    assert told["response"]["status"] == "incomplete"


@st.composite
def damage(draw: st.DrawFn, text: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 40, len(text))))
        junk = draw(
            st.binary(max_size=6)
            | st.sampled_from(
                [b"\n\n", b"null", b"[]", b"{", b'"', b"-1", b"1e999", b"\\ud800", b'"usage":', b'"type":']
            )
        )
        text = text[:start] + junk + text[end:]
    return text


@settings(max_examples=300)
@given(st.sampled_from(OWN).flatmap(lambda case: damage(case.reply)))
def test_damage_is_relayed_and_never_crashes(reply: bytes) -> None:
    played = play(FORMAT, any_intent(), reply, sizes_of([7]))
    assert played.relayed + played.held == reply
    report, _ = FORMAT.read_reply(reply)
    for each in (played.report, report):
        for used in () if each is None else (each.usage, *(part for _, part in each.others)):
            assert all(quantity > 0 for quantity in used.values())
    meter = FORMAT.meter(any_intent())
    meter.feed(reply)
    assert meter.cut({"output": 1}).startswith(b'event: response.incomplete\ndata: {"type":')
    assert isinstance(FORMAT.reply_text(reply), str)


def test_the_model_is_known_from_the_first_event_on() -> None:
    case = next(case for case in OWN if case.name == "stream")
    meter = FORMAT.meter(msgspec.structs.replace(intent_of(case)))
    meter.feed(case.reply[: case.reply.index(b"event: response.in_progress")])
    assert meter.model == "gpt-5.2-2025-12-11"
