"""Every trap of Anthropic's dialect as a case of our own, and every recording there is, in any chunking."""

from __future__ import annotations

import json
from itertools import chain, repeat
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.usage import input_total, output_total
from gateway.formats.anthropic_messages import FORMAT
from gateway.formats.base import Intent, Report
from tests.formats.playing import Case, CharCounter, Played, any_intent, cases, play, recordings_or_skip

OWN = cases("anthropic_messages")
STREAMS = [pytest.param(case, id=case.name) for case in OWN if case.streamed]
REPLIES = [pytest.param(case, id=case.name) for case in OWN if not case.streamed]
RECORDED = recordings_or_skip("messages", "streamRawPredict")
# Larger recordings are not fed byte by byte: it would take seconds and show nothing more.
LARGE = 100_000
# Of every model that the recorded calls with unseen input were made of.
CONTEXT_WINDOW = 200_000

SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=40)


def intent_of(case: Case) -> Intent:
    if case.request is None:
        return any_intent()
    request = json.loads(case.request)
    # Vertex and Bedrock name the model in the address.
    request.setdefault("model", "claude-sonnet-4-5")
    return FORMAT.read("", json.dumps(request).encode())


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
        assert b'"message_stop"' in played.held.replace(b'": "', b'":"')
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
    if report is not None:
        assert json.loads(report.raw) == json.loads(case.reply)["usage"]
        assert report.raw in case.reply


def check_recorded_usage(report: Report | None, expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert report is None
        return
    assert report is not None
    by_model: dict[str | None, Any] = {report.model: report.usage, **dict(report.others)}
    for model, billed in expected.get("billable_by_model", {report.model: expected}).items():
        usage = by_model.pop(model)
        assert usage.get("input", 0) == billed["input_uncached"]
        assert usage.get("cache_read", 0) == billed["cache_read"]
        written = billed.get("cache_write_5m", billed["cache_write"]) + expected["cache_write_unattributed"]
        assert usage.get("cache_write_5m", 0) == written
        assert usage.get("cache_write_1h", 0) == billed.get("cache_write_1h", 0)
        assert output_total(usage) == billed["output_total"]
    assert not by_model
    assert report.usage.get("reasoning", 0) == (expected["reasoning"] or 0)
    assert report.usage.get("web_search", 0) == expected["web_search_requests"]
    assert report.service_tier == expected["service_tier"]
    assert ("cache writes of untold lifetime" in report.unknown) == bool(expected["cache_write_unattributed"])


def check_recording(case: Case, cut: list[int]) -> None:
    played = play(FORMAT, intent_of(case), case.reply, sizes_of(cut))
    assert played.relayed + played.held == case.reply
    check_recorded_usage(played.report, case.expected["expected_usage"])
    told = case.expected["error"]
    assert (played.error is not None) == (told is not None)
    assert played.ended == (told is None)
    assert played.model == case.expected["model_served"]
    assert played.report is not None
    assert json.loads(played.report.raw) == case.expected["raw_usage"]


@pytest.mark.parametrize("case", RECORDED)
def test_recording(case: Case) -> None:
    if case.streamed:
        check_recording(case, [len(case.reply)])
        check_recording(case, [1 if len(case.reply) < LARGE else 61])
        return
    report, error = FORMAT.read_reply(case.reply, intent_of(case))
    check_recorded_usage(report, case.expected["expected_usage"])
    told = case.expected["error"]
    assert (error and (error.code, error.message)) == (told and (told["type"], told["message"]))


@pytest.mark.slow
@pytest.mark.parametrize("case", RECORDED)
@settings(max_examples=10)
@given(cut=SIZES)
def test_recording_in_any_pieces(case: Case, cut: list[int]) -> None:
    if case.streamed and len(case.reply) < LARGE:
        check_recording(case, cut)


def bounded(intent: Intent) -> int:
    """The most input tokens that the intent is quoted at."""
    return intent.loops * max(intent.input_bound, CONTEXT_WINDOW if intent.unseen_input else 0)


@pytest.mark.parametrize("case", RECORDED)
def test_no_recorded_call_is_above_its_bound(case: Case) -> None:
    """No exception is needed: files, searches and servers' tools are quoted at the context window."""
    expected = case.expected["expected_usage"]
    if case.request is None or expected is None:
        return
    intent = intent_of(case)
    bounds = {intent.model: intent, **{other.model: other for other in intent.others}}
    whole = {**expected, "cache_write": expected["input_total"] - expected["input_uncached"]}
    whole["cache_read"] = 0
    for model, billed in expected.get("billable_by_model", {intent.model: whole}).items():
        bound = bounds[model]
        assert bounded(bound) >= billed["input_uncached"] + billed["cache_read"] + billed["cache_write"]
        assert bound.output_cap is not None
        assert bound.output_cap * bound.choices >= billed["output_total"]
    assert intent.fees.get("web_search", 0) >= expected["web_search_requests"]
    assert intent.input_bound >= intent.allowance
    assert ("cache_write_1h" in intent.prices_apart) >= bool(expected["cache_write_1h"])


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_request_is_spliced_and_nothing_else(case: Case) -> None:
    if case.request is None or b'"model"' not in case.request:
        return
    intent = FORMAT.read("", case.request)
    assert (
        FORMAT.upstream_body(case.request, intent, intent.model, "", intent.output_cap or 0) == case.request
    )
    body = FORMAT.upstream_body(case.request, intent, "another-model", "max_completion_tokens", 2)
    before, after = json.loads(case.request), json.loads(body)
    assert (after.pop("model"), after.pop("max_tokens")) == ("another-model", 2)
    assert {**after, "model": before.pop("model"), "max_tokens": before.pop("max_tokens")} == {
        **before,
        "model": intent.model,
        "max_tokens": intent.output_cap,
    }


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request and a reply of our own, with bytes cut out, put in and turned around in both."""
    case = draw(st.sampled_from(OWN))
    return draw(damage(case.request or b"")), draw(damage(case.reply))


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


@settings(max_examples=400)
@given(damaged())
def test_damage_is_answered_and_never_crashes(made: tuple[bytes, bytes]) -> None:
    """A request is read or refused; a reply is relayed to its last byte, whatever it holds."""
    request, reply = made
    intent = any_intent()
    try:
        intent = FORMAT.read("", request)
        json.loads(FORMAT.upstream_body(request, intent, "other", "max_tokens", 3))
        FORMAT.prompt_tokens(request, CharCounter())
    except BadRequest:
        pass
    played = play(FORMAT, msgspec.structs.replace(intent, stream=True), reply, sizes_of([7]))
    assert played.relayed + played.held == reply
    meter = FORMAT.meter(intent)
    meter.feed(reply)
    assert meter.cut({"output": 1}).endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    report, _ = FORMAT.read_reply(reply, intent)
    for each in (played.report, report):
        for used in () if each is None else (each.usage, *(part for _, part in each.others)):
            assert all(quantity > 0 for quantity in used.values())
            assert input_total(used) + output_total(used) >= 0
    assert isinstance(FORMAT.reply_text(reply), str)
