"""Every trap of Gemini's dialect as a case of our own, and every recording there is, in any chunking."""

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
from gateway.formats import (
    gemini_batch_embed,
    gemini_embed,
    gemini_generate,
    gemini_stream,
    gemini_stream_array,
)
from gateway.formats.base import Format, Intent, Report
from gateway.formats.tokens import TiktokenCounter
from tests.formats.playing import Case, CharCounter, Played, any_intent, cases, play, recordings_or_skip

WHOLE: tuple[Format, ...] = (gemini_generate.FORMAT, gemini_embed.FORMAT, gemini_batch_embed.FORMAT)
STREAMED: tuple[Format, ...] = (gemini_stream.FORMAT, gemini_stream_array.FORMAT)
OWN: list[tuple[Format, Case]] = [(each, case) for each in (*STREAMED, *WHOLE) for case in cases(each.name)]
STREAMS = [pytest.param(each, case, id=case.name) for each, case in OWN if each in STREAMED]
REPLIES = [pytest.param(each, case, id=case.name) for each, case in OWN if each in WHOLE]
RECORDED = recordings_or_skip(
    "generateContent", "streamGenerateContent", "embedContent", "batchEmbedContents"
)
# Larger recordings are not fed byte by byte: it would take seconds and show nothing more.
LARGE = 100_000
# Of every model that the recorded calls with unseen input were made of.
CONTEXT_WINDOW = 1_048_576
FLASH = "/v1beta/models/gemini-2.5-flash:generateContent"

SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=40)


def sizes_of(cut: list[int]) -> Any:
    return chain.from_iterable(repeat(cut))


def intent_of(format_: Format, case: Case) -> Intent:
    assert case.request is not None
    path = FLASH if "embed" not in format_.name else "/v1beta/models/gemini-embedding-001:embedContent"
    return format_.read(path, case.request)


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


def check_held(played: Played, expected: str | None) -> None:
    """What waits for the close record: a response that finishes, blocks or fails, while it is the last."""
    assert (played.relayed == b"") == (expected == "all" or not (played.relayed + played.held))
    if expected == "finish":
        assert b'"finishReason"' in played.held
    elif expected == "error":
        assert b'"error"' in played.held
    elif expected == "rest":
        assert played.held
    elif expected is None:
        assert b'"finishReason"' not in played.held


def check_stream(format_: Format, case: Case, cut: list[int]) -> Played:
    played = play(format_, intent_of(format_, case), case.reply, sizes_of(cut))
    check_report(played.report, case.expected)
    assert (played.error and played.error.code) == case.expected["error"]
    assert played.ended == case.expected["ended"]
    assert played.model == case.expected["model"]
    assert played.counted == case.expected["counted"]
    assert played.relayed + played.held == case.reply
    return played


@pytest.mark.parametrize(("format_", "case"), STREAMS)
def test_stream_whole_and_at_one_byte(format_: Format, case: Case) -> None:
    whole = check_stream(format_, case, [len(case.reply) or 1])
    byte_by_byte = check_stream(format_, case, [1])
    assert (whole.report, whole.error) == (byte_by_byte.report, byte_by_byte.error)
    check_held(whole, case.expected["held"])


@pytest.mark.parametrize(("format_", "case"), STREAMS)
@settings(max_examples=25)
@given(cut=SIZES)
def test_stream_in_any_pieces(format_: Format, case: Case, cut: list[int]) -> None:
    check_stream(format_, case, cut)


@pytest.mark.parametrize(("format_", "case"), STREAMS)
def test_a_collected_stream_is_read_alike(format_: Format, case: Case) -> None:
    """As where a proxy took the stream for a reply: only server-sent events cannot be read whole."""
    if format_ is gemini_stream_array.FORMAT and case.reply.endswith(b"]") and case.expected["usage"]:
        report, error = format_.read_reply(case.reply, intent_of(format_, case))
        check_report(report, case.expected)
        assert (error and error.code) == case.expected["error"]


@pytest.mark.parametrize(("format_", "case"), REPLIES)
def test_reply(format_: Format, case: Case) -> None:
    report, error = format_.read_reply(case.reply, intent_of(format_, case))
    check_report(report, case.expected)
    assert (error and error.code) == case.expected["error"]
    texts = [] if "embed" in format_.name else case.expected["texts"]
    assert format_.reply_text(case.reply) == "\n".join(texts)
    if report is not None:
        assert report.raw in case.reply


@pytest.mark.parametrize(("format_", "case"), [each for each in REPLIES if "generate" in str(each.values[0])])
def test_a_reply_without_an_intent(format_: Format, case: Case) -> None:
    report, _ = format_.read_reply(case.reply)
    check_report(report, case.expected)


def format_of(case: Case) -> Format:
    match case.expected["api"]:
        case "generateContent":
            return gemini_generate.FORMAT
        case "streamGenerateContent":
            return gemini_stream.FORMAT if case.streamed else gemini_stream_array.FORMAT
        case "embedContent":
            return gemini_embed.FORMAT
    return gemini_batch_embed.FORMAT


def recorded_path(case: Case) -> str:
    """The address of a recorded call, as this gateway would be asked for it."""
    url = str((case.expected["request"] or {}).get("url", FLASH))
    return "/v1beta/models/" + url.partition("?")[0].rpartition("/models/")[2]


def recorded_intent(case: Case) -> Intent:
    if case.request is None:
        return any_intent()
    return format_of(case).read(recorded_path(case), case.request)


def check_recorded_usage(report: Report | None, expected: dict[str, Any] | None) -> None:
    if expected is None:
        # Neither an error nor a blocked prompt that tells no usage is a report.
        return
    assert report is not None
    usage = report.usage
    media = expected["input_modalities"]
    assert input_total(usage) == expected["input_total"] + expected["tool_use_prompt"]
    cached = ("cache_read", "audio_cache_read", "image_cache_read")
    assert sum(usage.get(meter, 0) for meter in cached) == expected["cache_read"]
    assert output_total(usage) == expected["output_total"]
    assert usage.get("reasoning", 0) == expected["reasoning"]
    cached_audio = expected["cache_modalities"].get("AUDIO", 0)
    assert usage.get("audio_input", 0) == media.get("AUDIO", 0) - cached_audio
    assert usage.get("audio_cache_read", 0) == cached_audio
    assert usage.get("video_input", 0) == media.get("VIDEO", 0)
    assert usage.get("image_output", 0) == expected["output_modalities"].get("IMAGE", 0)
    assert usage.get("audio_output", 0) == expected["output_modalities"].get("AUDIO", 0)
    traffic = (expected["traffic_type"] or "").lower().removeprefix("on_demand_")
    assert report.service_tier == (expected["service_tier"] or traffic or None)
    assert report.missing == ()


def fallen(reply: bytes) -> list[str]:
    """The figures of a recorded stream whose last value is not the largest, found by reading all of them."""
    told = [json.loads(line[6:]) for line in reply.splitlines() if line.startswith(b"data: ")]
    usages = [each["usageMetadata"] for each in told if each.get("usageMetadata")]
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    return [
        f"{name} fell"
        for name in names
        if usages and usages[-1].get(name, 0) < max(usage.get(name, 0) for usage in usages)
    ]


def check_recording(case: Case, cut: list[int]) -> Played:
    format_ = format_of(case)
    played = play(format_, recorded_intent(case), case.reply, sizes_of(cut))
    assert played.relayed + played.held == case.reply
    check_recorded_usage(played.report, case.expected["expected_usage"])
    told = case.expected["error"]
    assert (played.error and played.error.code) == (told and told["status"])
    assert played.ended == case.reply.startswith(b"[")
    assert played.model == case.expected["model_served"]
    if case.expected["raw_usage"] is not None:
        assert played.report is not None
        assert json.loads(played.report.raw) == case.expected["raw_usage"]
        assert played.report.raw in case.reply
        assert list(played.report.unknown) == fallen(case.reply)
    return played


@pytest.mark.parametrize("case", RECORDED)
def test_recording(case: Case) -> None:
    format_ = format_of(case)
    if case.streamed or format_ in STREAMED:
        whole = check_recording(case, [len(case.reply)])
        pieces = check_recording(case, [1 if len(case.reply) < LARGE else 61])
        assert (whole.report, whole.error, whole.counted) == (pieces.report, pieces.error, pieces.counted)
        return
    report, error = format_.read_reply(case.reply, recorded_intent(case))
    check_recorded_usage(report, case.expected["expected_usage"])
    assert (report is None) == (case.expected["raw_usage"] is None)
    told = case.expected["error"]
    assert (error and (error.code, error.message)) == (told and (told["status"], told["message"]))


@pytest.mark.slow
@pytest.mark.parametrize("case", RECORDED)
@settings(max_examples=10)
@given(cut=SIZES)
def test_recording_in_any_pieces(case: Case, cut: list[int]) -> None:
    if format_of(case) in STREAMED and len(case.reply) < LARGE:
        check_recording(case, cut)


@pytest.mark.parametrize("case", RECORDED)
def test_no_recorded_call_is_above_its_bound(case: Case) -> None:
    """No exception is needed: caches, videos, pages and executed code are quoted at the context window."""
    expected = case.expected["expected_usage"]
    if case.request is None or expected is None:
        return
    intent = recorded_intent(case)
    bound = max(intent.input_bound, CONTEXT_WINDOW if intent.unseen_input else 0) * intent.loops
    assert bound >= expected["input_total"] + expected["tool_use_prompt"]
    assert intent.input_bound >= intent.allowance
    if intent.output_cap is not None:
        assert intent.output_cap * intent.choices >= expected["output_total"]
    report, _ = gemini_generate.FORMAT.read_reply(case.reply, intent) if not case.streamed else (None, None)
    played = play(gemini_stream.FORMAT, intent, case.reply, sizes_of([4096])) if case.streamed else None
    usage = (report or (played.report if played else None) or Report({}, b"")).usage
    apart = {"audio_input", "image_input", "video_input", "audio_output", "image_output", "video_output"}
    assert apart & usage.keys() <= intent.prices_apart
    assert usage.get("web_search", 0) <= intent.fees.get("web_search", 0)


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_request_is_spliced_and_nothing_else(case: Case) -> None:
    if case.request is None:
        return
    format_, intent = format_of(case), recorded_intent(case)
    body = format_.upstream_body(case.request, intent, "another-model", "max_tokens", 3)
    before, after = json.loads(case.request), json.loads(body)
    if "embed" in format_.name:
        assert json.dumps(after) == json.dumps(before).replace(intent.model, "another-model")
        return
    assert after["generationConfig"].pop("maxOutputTokens") == 3
    (before.get("generationConfig") or {}).pop("maxOutputTokens", None)
    assert after == {**before, "generationConfig": before.get("generationConfig") or {}}
    if intent.output_cap is not None:
        assert (
            format_.upstream_body(case.request, intent, intent.model, "", intent.output_cap) == case.request
        )


@pytest.mark.parametrize("case", RECORDED)
def test_a_recorded_prompt_counts_as_it_was_billed(case: Case, counters: dict[str, TiktokenCounter]) -> None:
    """Within a half, by the nearest tokenizer there is, for prompts of which all is text of the request."""
    expected = case.expected["expected_usage"]
    if case.request is None or expected is None or b"Signature" in case.request:
        return
    intent = recorded_intent(case)
    # Functions are told in a language of their own, and shorter prompts weigh their frame.
    if (
        not intent.unseen_input
        and not intent.prices_apart & {"audio_input"}
        and expected["input_total"] >= 50
    ):
        counted = format_of(case).prompt_tokens(case.request, counters["o200k_base"])
        assert expected["input_total"] / 2 < counted < expected["input_total"] * 2


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Format, bytes, bytes]:
    """A request and a reply of our own, with bytes cut out, put in and turned around in both."""
    format_, case = draw(st.sampled_from(OWN))
    return format_, draw(damage(case.request or b"")), draw(damage(case.reply))


@st.composite
def damage(draw: st.DrawFn, text: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 40, len(text))))
        junk = draw(
            st.binary(max_size=6)
            | st.sampled_from(
                [
                    b"\r\n\r\n",
                    b"null",
                    b"[]",
                    b"{",
                    b'"',
                    b"-1",
                    b"1e999",
                    b"\\ud800",
                    b"]",
                    b'"usageMetadata":',
                ]
            )
        )
        text = text[:start] + junk + text[end:]
    return text


@settings(max_examples=500)
@given(damaged())
def test_damage_is_answered_and_never_crashes(made: tuple[Format, bytes, bytes]) -> None:
    """A request is read or refused; a reply is relayed to its last byte, whatever it holds."""
    format_, request, reply = made
    intent = any_intent()
    try:
        intent = format_.read(FLASH, request)
        json.loads(format_.upstream_body(request, intent, "other", "max_tokens", 3))
        format_.prompt_tokens(request, CharCounter())
    except BadRequest:
        pass
    intent = msgspec.structs.replace(intent, stream=True)
    played = play(format_, intent, reply, sizes_of([7]))
    # What follows the end of an array is kept as far as 64 KiB.
    assert played.relayed + played.held == reply
    whole = play(format_, intent, reply, sizes_of([max(len(reply), 1)]))
    assert (whole.report, whole.error, whole.counted) == (played.report, played.error, played.counted)
    meter = format_.meter(intent)
    relayed = meter.feed(reply)
    last = meter.cut({"output": 1})
    if relayed[:1] == b"[":
        assert last.endswith(b"\n]")
    report, _ = format_.read_reply(reply, intent)
    for each in (played.report, report):
        assert each is None or all(quantity > 0 for quantity in each.usage.values())
    assert isinstance(format_.reply_text(reply), str)
