"""The contract that every format in the registry keeps, so that adding one is safe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import formats
from gateway.domain.errors import BadRequest, UpstreamFailed
from gateway.domain.usage import METERS, input_total, output_total
from gateway.formats.base import Format, Intent, StreamMeter
from gateway.registry import scan
from tests.formats.playing import CharCounter, count_all, in_pieces, play
from tests.formats.samples import MODEL, SAMPLES, Sample

FORMATS = cast(dict[str, Format], scan(formats, "FORMAT"))
NAMES = sorted(FORMATS)
STREAMING = [name for name in NAMES if SAMPLES[name].stream]
each_format = pytest.mark.parametrize("name", NAMES)
each_stream = pytest.mark.parametrize("name", STREAMING)
AWAY = UpstreamFailed("upstream_unavailable", "The upstream went away.", hint="Try again.")
MIB = 1 << 20


def counts_of(sample: Sample) -> tuple[int, int]:
    """What may be counted of the sample's stream: its characters, or what it says itself as it goes."""
    return len(sample.text), output_total(sample.usage)


def intent_of(name: str) -> Intent:
    sample = SAMPLES[name]
    return FORMATS[name].read(sample.path, sample.request)


def pieces_of(size: int) -> Iterator[int]:
    return repeat(size)


def test_every_format_has_a_sample_and_every_sample_a_format() -> None:
    assert set(SAMPLES) == set(FORMATS)


def test_no_two_formats_share_an_address() -> None:
    paths = [path for each in FORMATS.values() for path in each.paths]
    assert len(paths) == len(set(paths))


@each_format
def test_a_format_is_well_formed(name: str) -> None:
    each = FORMATS[name]
    assert each.name == name
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,31}", name)  # as wide as its column
    assert each.dialect in ("openai", "anthropic", "gemini")
    assert each.paths
    assert all(path.startswith("/v1") for path in each.paths)
    assert all(kind == kind.lower().strip() and b"/" in kind for kind in each.stream_types)


# Requests.


@each_format
def test_a_request_says_what_it_costs_at_most(name: str) -> None:
    sample, intent = SAMPLES[name], intent_of(name)
    assert (intent.model, intent.unseen_input, intent.loops, intent.choices) == (MODEL, False, 1, 1)
    assert intent.output_cap in ((50,) if output_total(sample.usage) else (0,))
    assert intent.stream == bool(sample.stream)
    assert (intent.stored, intent.others, intent.background) == ((), (), False)
    if sample.free:
        assert intent.input_bound == 0
    else:
        assert intent.input_bound >= FORMATS[name].prompt_tokens(sample.request, CharCounter())
        assert intent.input_bound >= intent.allowance >= 0
        assert intent.input_bound >= input_total(sample.usage)


@each_format
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"model":"\xff"}', b"[" * 100_000, b'{"a":' * 5_000],
    ids=["empty", "cut", "array", "null", "text", "no-utf8", "no-utf8-within", "deep", "nested"],
)
def test_what_is_no_request_is_refused(name: str, body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        FORMATS[name].read(SAMPLES[name].path, body)
    assert refused.value.code in ("invalid_json", "invalid_value")
    assert refused.value.hint


@each_format
def test_a_model_that_cannot_be_printed_is_refused(name: str) -> None:
    sample = SAMPLES[name]
    evil = sample.request.replace(MODEL.encode(), b"some\\u0000model")
    path = sample.path.replace(MODEL, "some%00model")
    with pytest.raises(BadRequest):
        FORMATS[name].read(path, evil)


@each_format
def test_a_body_within_its_bounds_goes_up_as_it_came(name: str) -> None:
    sample, intent = SAMPLES[name], intent_of(name)
    cap = intent.output_cap or 0
    assert FORMATS[name].upstream_body(sample.request, intent, MODEL, "max_completion_tokens", cap) == (
        sample.request
    )


@each_format
def test_the_cap_and_the_model_are_spliced_and_nothing_else(name: str) -> None:
    each, sample, intent = FORMATS[name], SAMPLES[name], intent_of(name)
    body = each.upstream_body(sample.request, intent, "other", "max_completion_tokens", 7)
    expected = sample.request.replace(b":50", b":7").replace(MODEL.encode(), b"other")
    assert json.loads(body) == json.loads(expected)
    again = each.read(sample.path.replace(MODEL, "other"), body)
    assert again.output_cap in ((7,) if intent.output_cap else (0,))
    assert again.model == "other"


@each_format
def test_a_cap_that_nobody_named_is_sent(name: str) -> None:
    each, sample = FORMATS[name], SAMPLES[name]
    request = json.loads(sample.request)
    for holder in (request, request.get("generationConfig", {})):
        for key in ("max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens"):
            if name != "anthropic_messages":  # which requires it
                holder.pop(key, None)
    bare = msgspec.json.encode(request)
    intent = each.read(sample.path, bare)
    body = each.upstream_body(bare, intent, MODEL, "max_completion_tokens", 7)
    assert each.read(sample.path, body).output_cap in ((7,) if output_total(sample.usage) else (0,))


@each_format
def test_the_prompt_can_be_counted(name: str) -> None:
    each, sample = FORMATS[name], SAMPLES[name]
    assert "harbour" in each.prompt_text(sample.request)
    tokens = each.prompt_tokens(sample.request, CharCounter())
    assert tokens == 0 if sample.free else tokens >= len("Name a harbour town.")


# Whole replies.


@each_format
def test_a_whole_reply_is_read(name: str) -> None:
    each, sample = FORMATS[name], SAMPLES[name]
    report, error = each.read_reply(sample.reply, intent_of(name))
    assert error is None
    assert report is not None
    assert report.usage == sample.usage
    assert (report.missing, report.unknown, report.others) == ((), (), ())
    assert report.raw in sample.reply
    assert set(report.usage) <= set(METERS)
    assert each.reply_text(sample.reply) == sample.text
    assert isinstance(each.made(sample.reply), tuple)


@each_format
@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b'{"a":', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_reply_is_an_error(name: str, body: bytes) -> None:
    each = FORMATS[name]
    report, error = each.read_reply(body, intent_of(name))
    assert report is None
    assert error is not None
    assert error.code == "unreadable_reply"
    assert isinstance(each.reply_text(body), str)
    assert each.made(body) == ()


def twisted(value: Any) -> Iterator[Any]:
    """The same with one member after the other of another type."""
    if isinstance(value, dict):
        for key, each in value.items():
            for other in (None, "x", -1, 1e300, [], {}, True, [None], {"id": 5}):
                yield {**value, key: other}
            for inner in twisted(each):
                yield {**value, key: inner}
    elif isinstance(value, list):
        for at, each in enumerate(value):
            for inner in twisted(each):
                yield [*value[:at], inner, *value[at + 1 :]]


def is_sane(report: Any) -> bool:
    if report is None:
        return True
    every = [report.usage, *(used for _, used in report.others)]
    return all(isinstance(each, int) and 0 < each < 10**13 for used in every for each in used.values())


@each_format
def test_members_of_any_type_are_read_somehow(name: str) -> None:
    each, sample = FORMATS[name], SAMPLES[name]
    for value in twisted(json.loads(sample.reply)):
        body = json.dumps(value).encode()
        report, _ = each.read_reply(body, intent_of(name))
        assert is_sane(report), body
        assert isinstance(each.reply_text(body), str)
        assert all(isinstance(made, str) for made in each.made(body))


# Streams.


@each_stream
@pytest.mark.parametrize("size", [1, 2, 7, 61, 10**6])
def test_a_stream_is_metered_in_any_pieces(name: str, size: int) -> None:
    each, sample, intent = FORMATS[name], SAMPLES[name], intent_of(name)
    whole = play(each, intent, sample.stream, pieces_of(len(sample.stream)))
    played = play(each, intent, sample.stream, pieces_of(size))
    assert played.relayed + played.held == sample.stream
    assert (played.report, played.model, played.error) == (whole.report, whole.model, whole.error)
    assert played.report is not None
    assert played.report.usage == sample.usage
    assert played.report.missing == ()
    assert played.model == MODEL
    assert played.error is None
    assert played.counted in counts_of(sample)
    assert played.held  # the end waits for the close record


@each_stream
@settings(max_examples=20)
@given(cut=st.lists(st.integers(1, 90), min_size=1, max_size=20))
def test_a_stream_is_metered_in_random_pieces(name: str, cut: list[int]) -> None:
    each, sample, intent = FORMATS[name], SAMPLES[name], intent_of(name)
    played = play(each, intent, sample.stream, chain.from_iterable(repeat(cut)))
    assert played.relayed + played.held == sample.stream
    assert played.report is not None
    assert played.report.usage == sample.usage


@each_stream
def test_a_stream_may_be_cut_at_any_byte(name: str) -> None:
    """What came is relayed or held, what was said is counted, and nothing is made up."""
    each, sample, intent = FORMATS[name], SAMPLES[name], intent_of(name)
    for at in range(len(sample.stream)):
        played = play(each, intent, sample.stream[:at], pieces_of(50))
        assert played.relayed + played.held == sample.stream[:at]
        assert is_sane(played.report)
        assert played.counted <= len(sample.text)


@each_stream
@pytest.mark.parametrize("body", [b"<html>502</html>", b"\xff\xfe", b"nonsense"])
def test_what_is_no_stream_is_an_error(name: str, body: bytes) -> None:
    played = play(FORMATS[name], intent_of(name), body, pieces_of(5))
    assert played.report is None
    assert played.error is not None
    assert played.relayed + played.held == body


@each_stream
def test_an_event_without_end_is_bounded(name: str) -> None:
    """An upstream cannot make us keep all that it sends."""
    meter = FORMATS[name].meter(intent_of(name))
    start = b'[{"x":"' if name == "gemini_stream_array" else b'data: {"x":"'
    with pytest.raises(UpstreamFailed, match="bytes"):
        play_all(meter, chain((start,), repeat(b"a" * MIB, 64)))


def play_all(meter: StreamMeter, parts: Iterable[bytes]) -> None:
    for part in parts:
        meter.feed(part)


@each_stream
def test_a_line_of_ten_megabytes_after_the_text_changes_nothing(name: str) -> None:
    """Or is beyond the format's bound, which is said."""
    each, sample, intent = FORMATS[name], SAMPLES[name], intent_of(name)
    pad = b" " * (10 * MIB)
    stream = sample.stream.replace(b'{"text":" Harbour"', b'{"text":' + pad + b'" Harbour"', 1)
    stream = stream.replace(b'"content":" Harbour"', b'"content":' + pad + b'" Harbour"', 1)
    try:
        played = play(each, intent, stream, pieces_of(MIB))
    except UpstreamFailed:
        return
    assert played.report is not None
    assert played.report.usage == sample.usage


@each_stream
def test_a_stream_that_is_cut_ends_as_the_provider_would_end_it(name: str) -> None:
    """A client that reads our end after the provider's beginning sees a whole stream with usage."""
    each, sample, intent = FORMATS[name], SAMPLES[name], intent_of(name)
    meter = each.meter(intent)
    begun = b"".join(meter.feed(piece) for piece in in_pieces(sample.stream[:-150], pieces_of(40)))
    end = meter.cut({"input": 20, "output": 7})
    assert meter.ended
    assert meter.feed(b"more") == meter.finish() == b""
    played = play(each, intent, begun + end, pieces_of(30))
    assert played.error is None
    assert played.report is not None
    assert output_total(played.report.usage) == 7


@each_stream
def test_a_stream_may_be_cut_before_it_began(name: str) -> None:
    end = FORMATS[name].meter(intent_of(name)).cut()
    assert play(FORMATS[name], intent_of(name), end, pieces_of(30)).error is None


@each_stream
@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 0.9])
def test_a_stream_that_breaks_off_ends_in_an_error_of_its_own_framing(name: str, at: float) -> None:
    """A client that reads it finds what was said and our error, and nothing that it cannot read."""
    each, sample, intent = FORMATS[name], SAMPLES[name], intent_of(name)
    meter = each.meter(intent)
    begun = meter.feed(sample.stream[: int(len(sample.stream) * at)])
    said = begun + meter.fail(meter.finish(), AWAY)
    played = play(each, intent, said, pieces_of(25))
    assert played.error is not None
    assert "The upstream went away." in played.error.message
    assert b'"tollgate":{"code":"upstream_unavailable"' in said
    if not at:
        assert played.counted == 0


@each_stream
def test_counting_can_be_done_a_little_at_a_time(name: str) -> None:
    each, sample, intent = FORMATS[name], SAMPLES[name], intent_of(name)
    meter = each.meter(intent)
    meter.feed(sample.stream)
    assert not meter.may_exceed(10**6)
    count_all(meter, step=3)
    assert meter.relayed_output in counts_of(sample)
