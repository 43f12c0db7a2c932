"""Every trap of the chat dialect as a case of our own, and every recording there is, in any chunking."""

from __future__ import annotations

import dataclasses
import json
from itertools import chain, repeat
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.usage import input_total, output_total
from gateway.formats import openai_chat, openai_completions
from gateway.formats.base import Format, Intent, Report
from tests.formats.playing import (
    Case,
    CharCounter,
    Played,
    any_intent,
    cases,
    play,
    recordings_or_skip,
)

FORMATS: dict[str, Format] = {"chat": openai_chat.FORMAT, "completions": openai_completions.FORMAT}
OWN = [(api, case) for api, format_ in FORMATS.items() for case in cases(format_.name)]
STREAMS = [pytest.param(api, case, id=f"{api}-{case.name}") for api, case in OWN if case.streamed]
REPLIES = [pytest.param(api, case, id=f"{api}-{case.name}") for api, case in OWN if not case.streamed]
RECORDED = recordings_or_skip(*FORMATS)
# Larger recordings are not fed byte by byte: it would take seconds and show nothing more.
LARGE = 100_000

SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=40)


def intent_of(api: str, case: Case) -> Intent:
    return any_intent() if case.request is None else FORMATS[api].read("", case.request)


def sizes_of(cut: list[int]) -> Any:
    return chain.from_iterable(repeat(cut))


def check_report(report: Report | None, expected: dict[str, Any]) -> None:
    if expected["usage"] is None:
        assert report is None
        return
    assert report is not None
    assert report.usage == expected["usage"]
    assert report.model == expected["model"]
    assert report.service_tier == expected["service_tier"]
    assert list(report.unknown) == expected["unknown"]
    assert list(report.missing) == expected["missing"]


def check_stream(api: str, case: Case, cut: list[int]) -> Played:
    intent = intent_of(api, case)
    played = play(FORMATS[api], intent, case.reply, sizes_of(cut))
    check_report(played.report, case.expected)
    assert (played.error and played.error.code) == case.expected["error"]
    assert played.ended == case.expected["ended"]
    assert played.counted == sum(len(text) for text in case.expected["texts"])
    if case.expected["usage"] is None:
        assert played.model == case.expected["model"]
    withheld = b"" if intent.wants_usage else case.expected["withheld"].encode()
    assert played.relayed + played.held == case.reply.replace(withheld, b"", 1)
    if played.ended:
        assert b"[DONE]" in played.held
    return played


@pytest.mark.parametrize(("api", "case"), STREAMS)
@pytest.mark.parametrize("asked", [True, False])
def test_stream_whole_and_at_one_byte(api: str, case: Case, asked: bool) -> None:
    case = with_usage_asked(case, asked)
    assert check_stream(api, case, [len(case.reply)]) == check_stream(api, case, [1])


@pytest.mark.parametrize(("api", "case"), STREAMS)
@settings(max_examples=25, deadline=None)
@given(cut=SIZES, asked=st.booleans())
def test_stream_in_any_pieces(api: str, case: Case, cut: list[int], asked: bool) -> None:
    check_stream(api, with_usage_asked(case, asked), cut)


def with_usage_asked(case: Case, asked: bool) -> Case:
    assert case.request is not None
    request = json.loads(case.request)
    request["stream_options"] = {"include_usage": asked}
    return dataclasses.replace(case, request=json.dumps(request).encode())


@pytest.mark.parametrize(("api", "case"), REPLIES)
def test_reply(api: str, case: Case) -> None:
    report, error = FORMATS[api].read_reply(case.reply, intent_of(api, case))
    check_report(report, case.expected)
    assert (error and error.code) == case.expected["error"]
    assert FORMATS[api].reply_text(case.reply) == "\n".join(case.expected["texts"])
    if report is not None:
        assert json.loads(report.raw) == json.loads(case.reply)["usage"]
        assert report.raw in case.reply


def usage_only_events(reply: bytes) -> bytes:
    """The events that may be withheld, found by parsing every one of them."""
    found = b""
    for event in reply.split(b"\n\n"):
        text = event.strip().removeprefix(b"data: ")
        chunk = json.loads(text) if text.startswith(b"{") else {}
        if chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict):
            found += event + b"\n\n"
    return found


def check_recorded_usage(report: Report | None, expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert report is None
        return
    assert report is not None
    usage = report.usage
    assert input_total(usage) == expected["input_total"]
    assert usage.get("cache_read", 0) == expected["cache_read"]
    assert usage.get("cache_write_5m", 0) == expected["cache_write"]
    assert output_total(usage) == expected["output_total"]
    assert usage.get("reasoning", 0) == expected["reasoning"]
    assert usage.get("audio_input", 0) == expected["audio_in"]
    assert usage.get("audio_output", 0) == expected["audio_out"]
    assert report.unknown == report.missing == ()


def check_recording(case: Case, cut: list[int], asked: bool) -> None:
    format_ = FORMATS[case.expected["api"]]
    intent = msgspec.structs.replace(intent_of(case.expected["api"], case), wants_usage=asked)
    played = play(format_, intent, case.reply, sizes_of(cut))
    withheld = b"" if asked else usage_only_events(case.reply)
    assert played.relayed + played.held == case.reply.replace(withheld, b"", 1)
    check_recorded_usage(played.report, case.expected["expected_usage"])
    assert played.ended == case.expected["done_sentinel"]
    if case.expected["model_served"] is not None:
        assert played.model == case.expected["model_served"]
    assert (played.error is not None) == (case.expected["error"] is not None)


@pytest.mark.parametrize("case", RECORDED)
def test_recording(case: Case) -> None:
    if case.streamed:
        for asked in (True, False):
            check_recording(case, [len(case.reply)], asked)
            check_recording(case, [1 if len(case.reply) < LARGE else 61], asked)
        return
    report, error = FORMATS[case.expected["api"]].read_reply(case.reply)
    check_recorded_usage(report, case.expected["expected_usage"])
    if case.expected["error"] is not None:
        assert error is not None
        told = case.expected["error"]
        assert error.code == (told.get("code") or told.get("type"))
        assert error.message == told["message"]


@pytest.mark.slow
@pytest.mark.parametrize("case", RECORDED)
@settings(max_examples=10, deadline=None)
@given(cut=SIZES, asked=st.booleans())
def test_recording_in_any_pieces(case: Case, cut: list[int], asked: bool) -> None:
    if case.streamed and len(case.reply) < LARGE:
        check_recording(case, cut, asked)


@pytest.mark.parametrize("case", RECORDED)
def test_no_recorded_input_is_above_its_bound(case: Case) -> None:
    """No exception is needed: a search model's call is quoted at the context window, the rest is bounded."""
    expected = case.expected["expected_usage"]
    if case.request is None or expected is None:
        return
    intent = intent_of(case.expected["api"], case)
    assert intent.input_bound >= expected["input_total"]
    assert intent.input_bound >= intent.allowance
    if intent.output_cap is not None:
        assert intent.output_cap * intent.choices >= expected["output_total"]


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_request_is_spliced_and_nothing_else(case: Case) -> None:
    if case.request is None:
        return
    format_ = FORMATS[case.expected["api"]]
    intent = format_.read("", case.request)
    body = format_.upstream_body(case.request, intent, "another-model", "max_completion_tokens", 7)
    before, after = json.loads(case.request), json.loads(body)
    caps = ("max_tokens", "max_completion_tokens")
    assert after.pop("model") == "another-model"
    assert max(after[cap] for cap in caps if after.get(cap) is not None) <= 7
    if intent.stream:
        assert after["stream_options"]["include_usage"] is True
    else:
        assert after.get("stream_options") == before.get("stream_options")
    for key in (*caps, "model", "stream_options"):
        before.pop(key, None)
        after.pop(key, None)
    assert after == before
    assert list(after) == list(before)


def test_refused_requests_are_the_providers_to_refuse() -> None:
    """A cap of zero and a null content pass: the provider answers them with words of its own."""
    intent = openai_chat.FORMAT.read(
        "", b'{"model":"m","max_tokens":0,"messages":[{"role":"user","content":null}]}'
    )
    assert intent.output_cap == 0
    with pytest.raises(BadRequest):
        openai_chat.FORMAT.read(
            "", b'{"model":"m","max_tokens":-1,"messages":[{"role":"user","content":null}]}'
        )


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """A request and a reply of our own, with bytes cut out, put in and turned around in both."""
    api, case = draw(st.sampled_from(OWN))
    spans = [draw(damage(text)) for text in (case.request or b"", case.reply)]
    return api, spans[0], spans[1]


@st.composite
def damage(draw: st.DrawFn, text: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 40, len(text))))
        junk = draw(
            st.binary(max_size=6)
            | st.sampled_from([b"\n\n", b"null", b"[]", b"{", b'"', b"-1", b"1e999", b"\\ud800", b'"usage":'])
        )
        text = text[:start] + junk + text[end:]
    return text


@settings(max_examples=400, deadline=None)
@given(damaged())
def test_damage_is_answered_and_never_crashes(made: tuple[str, bytes, bytes]) -> None:
    """A request is read or refused; a reply is relayed to its last byte, whatever it holds."""
    api, request, reply = made
    format_ = FORMATS[api]
    intent = any_intent()
    try:
        intent = format_.read("", request)
        json.loads(format_.upstream_body(request, intent, "other", "max_tokens", 3))
        format_.prompt_tokens(request, CharCounter())
    except BadRequest:
        pass
    played = play(format_, msgspec.structs.replace(intent, wants_usage=True), reply, sizes_of([7]))
    assert played.relayed + played.held == reply
    meter = format_.meter(intent)
    meter.feed(reply)
    assert meter.cut({"output": 1}).endswith(b"data: [DONE]\n\n")
    report, _ = format_.read_reply(reply, intent)
    assert report is None or all(quantity > 0 for quantity in report.usage.values())
    assert isinstance(format_.reply_text(reply), str)
