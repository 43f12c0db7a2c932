"""A meter beside a stream: what it holds back, how it ends a stream early, in either framing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import UpstreamFailed
from gateway.formats.base import Format, StreamMeter
from gateway.formats.gemini_meter import EVENT_BYTES_MAX
from gateway.formats.gemini_stream import FORMAT
from gateway.formats.gemini_stream_array import FORMAT as ARRAY
from tests.formats.playing import CharCounter, any_intent, count_all


def response(text: str, output: int | None = None, finish: str | None = None, index: int = 0) -> bytes:
    told = {} if output is None else {"candidatesTokenCount": output}
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": index}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 7, **told, "totalTokenCount": 7 + (output or 0)}
    body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m-1", "responseId": "r"}
    return json.dumps(body).encode()


def event(text: str, output: int | None = None, finish: str | None = None, index: int = 0) -> bytes:
    return b"data: " + response(text, output, finish, index) + b"\r\n\r\n"


def told(data: bytes) -> Any:
    assert data.startswith(b"data: ")
    assert data.endswith(b"\r\n\r\n")
    return json.loads(data[6:])


def counted(meter: StreamMeter) -> int:
    count_all(meter)
    return meter.relayed_output


def test_events_are_relayed_as_they_complete() -> None:
    meter = FORMAT.meter(any_intent())
    one, two = event("one", 1), event("two", 2)
    assert meter.feed(one[:-1]) == b""
    assert meter.feed(one[-1:] + two) == one + two
    assert (meter.ended, meter.error, meter.model) == (False, None, "m-1")
    assert meter.report is not None
    assert meter.report.usage == {"input": 7, "output": 2}


def test_a_finish_waits_until_something_follows() -> None:
    meter = FORMAT.meter(any_intent())
    first, last = event("a", 1, "STOP"), event("b", 2, "STOP")
    assert meter.feed(first) == b""
    assert meter.feed(b": ping\r\n\r\n") == b""
    assert meter.feed(last) == first + b": ping\r\n\r\n"
    assert not meter.ended
    assert meter.finish() == last


def test_what_says_nothing_does_not_wait_without_end() -> None:
    meter = FORMAT.meter(any_intent())
    meter.feed(event("a", 1, "STOP"))
    relayed = b"".join(meter.feed(b": ping\r\n\r\n" * 10_000) for _ in range(3))
    assert len(relayed) > 100_000


def test_an_array_ends_at_its_bracket() -> None:
    meter = ARRAY.meter(any_intent())
    one, last = b"[" + response("a", 1), b"\n,\r\n" + response("b", 2, "STOP")
    relayed = [(meter.feed(read), meter.ended) for read in (one, last, b"\n]", b"\n")]
    assert relayed == [(one, False), (b"", False), (b"", True), (b"", True)]
    assert meter.finish() == last + b"\n]\n"


@pytest.mark.parametrize("format_", [FORMAT, ARRAY])
def test_the_framing_is_what_arrives(format_: Format) -> None:
    meter = format_.meter(any_intent())
    assert meter.feed(b"\r\n") == b""
    assert meter.feed(event("a", 1)) == b"\r\n" + event("a", 1)
    assert told(meter.cut())["candidates"][0]["finishReason"] == "MAX_TOKENS"
    meter = format_.meter(any_intent())
    relayed = meter.feed(b"[" + response("a", 1))
    assert len(json.loads(relayed + meter.cut())) == 2


def test_a_cut_ends_every_open_candidate_in_the_streams_own_shape() -> None:
    meter = FORMAT.meter(any_intent(choices=3))
    meter.feed(event("ab", 1) + event("cd", 2, "STOP", 1) + event("ef", 3) + event("half")[:40])
    last = told(meter.cut({"input": 5, "cache_read": 2, "output": 3, "reasoning": 4}))
    assert [(each["index"], each["finishReason"]) for each in last["candidates"]] == [
        (0, "MAX_TOKENS"),
        (2, "MAX_TOKENS"),
    ]
    assert last["usageMetadata"] == {
        "promptTokenCount": 7,
        "candidatesTokenCount": 3,
        "totalTokenCount": 14,
        "cachedContentTokenCount": 2,
        "thoughtsTokenCount": 4,
    }
    assert (last["modelVersion"], last["responseId"]) == ("m-1", "r")
    assert meter.ended
    assert meter.feed(event("late")) == meter.finish() == b""


def test_a_cut_before_anything_was_said_still_ends_the_stream() -> None:
    last = told(FORMAT.meter(any_intent(model="gemini-2.5-flash")).cut())
    assert (last["modelVersion"], "usageMetadata" in last) == ("gemini-2.5-flash", False)
    (last,) = json.loads(ARRAY.meter(any_intent()).cut())
    assert last["candidates"][0]["finishReason"] == "MAX_TOKENS"


@pytest.mark.parametrize("cut_at", range(0, 900, 7))
def test_a_cut_array_is_valid_wherever_it_is_cut(cut_at: int) -> None:
    data = b"[" + b"\n,\r\n".join(response(text, 1) for text in ("a", "]", "{")) + b"\n,\r\n"
    meter = ARRAY.meter(any_intent())
    relayed = meter.feed(data[:cut_at])
    elements = json.loads(relayed + meter.cut({"output": 1}))
    assert elements[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_a_cap_is_noticed_by_what_the_stream_tells() -> None:
    meter = FORMAT.meter(any_intent())
    meter.feed(event("a", 100))
    assert not meter.may_exceed(100)
    assert meter.may_exceed(99)
    # It has finished by itself: there is nothing to cut, unless it goes on.
    meter.feed(event("b", 101, "MAX_TOKENS"))
    assert not meter.may_exceed(99)
    meter.feed(event("c", 102))
    assert meter.may_exceed(99)
    assert meter.relayed_output == 102


def test_a_cap_is_noticed_where_nothing_is_told() -> None:
    meter = FORMAT.meter(any_intent())
    for _ in range(30):
        meter.feed(event("word "))
        if meter.may_exceed(100):
            meter.count(CharCounter(), 1_000)
        if meter.relayed_output > 100:
            break
    assert meter.relayed_output == 105


def test_a_figure_takes_the_place_of_all_that_was_counted_before_it() -> None:
    meter = FORMAT.meter(any_intent())
    meter.feed(event("four") + event("more"))
    assert counted(meter) == 8
    assert meter.report is not None
    assert meter.report.missing == ("output",)
    meter.feed(event("x", 3) + event("yz"))
    assert counted(meter) == 5


def test_an_endless_line_is_a_clear_failure() -> None:
    for format_, start in ((FORMAT, b"data: "), (ARRAY, b'[{"a":"')):
        meter = format_.meter(any_intent())
        assert meter.feed(start) == b""
        for _ in range(EVENT_BYTES_MAX // 2**20 - 1):
            meter.feed(b"x" * 2**20)
        with pytest.raises(UpstreamFailed):
            meter.feed(b"x" * 2**20)
