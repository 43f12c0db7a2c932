"""A meter beside a stream: what it holds back, what it costs a look-alike, how it ends a stream early."""

from __future__ import annotations

import json
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import UpstreamFailed
from gateway.formats.base import StreamMeter
from gateway.formats.openai_chat import FORMAT
from gateway.formats.openai_completions import FORMAT as COMPLETIONS
from gateway.formats.sse import EVENT_BYTES_MAX
from tests.formats.playing import CharCounter, any_intent, count_all, play

HEAD = {
    "id": "chatcmpl-Q",
    "object": "chat.completion.chunk",
    "created": 1_790_000_000,
    "model": "gpt-4.1-2025-04-14",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
DONE = b"data: [DONE]\n\n"


def event(body: Any) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def chunk(content: str | None, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    return event({**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **more})


def events_in(data: bytes) -> list[Any]:
    assert data.endswith(b"\n\n")
    texts = [text.removeprefix(b"data: ") for text in data[:-2].split(b"\n\n")]
    return [text.decode() if text == b"[DONE]" else json.loads(text) for text in texts]


def test_events_are_relayed_as_they_complete() -> None:
    meter = FORMAT.meter(any_intent())
    one, two = chunk("one"), chunk("two")
    assert meter.feed(one[:20]) == b""
    assert meter.feed(one[20:] + two[:-1]) == one
    assert meter.feed(two[-1:]) == two
    assert (meter.ended, meter.report, meter.error) == (False, None, None)
    assert meter.model == HEAD["model"]
    assert meter.feed(DONE) == b""
    assert meter.ended
    assert meter.finish() == DONE


def test_what_follows_the_end_is_held_with_it_up_to_a_bound() -> None:
    meter = FORMAT.meter(any_intent())
    assert meter.feed(chunk("a") + DONE + b": bye\n\n") == chunk("a")
    for _ in range(3):
        assert meter.feed(b": still here\n\n" * 10_000) == b""
    held = meter.finish()
    assert held.startswith(DONE + b": bye\n\n: still")
    assert len(held) < 65 * 1024
    assert meter.report is None


def test_a_report_waits_to_see_whether_it_is_the_last_word() -> None:
    """At the end of a stream it goes out with the end, after the close record."""
    last = chunk(" b", finish="stop", usage=USAGE)
    only = event({**HEAD, "choices": [], "usage": USAGE})
    for report in (last, only):
        for end in (DONE, b""):
            meter = FORMAT.meter(any_intent())
            assert meter.feed(chunk("a") + report) == chunk("a")
            assert meter.report is not None
            assert meter.feed(end) == b""
            assert meter.finish() == report + end
    meter = FORMAT.meter(any_intent())
    assert meter.feed(last) == b""
    assert meter.feed(b"\n") == b""
    assert meter.feed(b": ping\n\n") == last + b"\n: ping\n\n"
    assert meter.feed(last + only + DONE) == last
    assert counted(meter) == 4
    assert meter.finish() == only + DONE


def test_a_running_report_does_not_wait() -> None:
    meter = FORMAT.meter(any_intent())
    running = chunk("a", usage=USAGE)
    assert meter.feed(running) == running


def test_an_error_beside_usage_is_never_withheld() -> None:
    meter = FORMAT.meter(any_intent(wants_usage=False))
    both = event({**HEAD, "choices": [], "usage": USAGE, "error": {"code": "late", "message": "sorry"}})
    assert meter.feed(both) + meter.finish() == both
    assert meter.error is not None
    assert (meter.error.code, meter.error.message) == ("late", "sorry")


@pytest.mark.parametrize("choices", [[], None, "absent"])
def test_a_chunk_of_nothing_but_usage_is_withheld(choices: Any) -> None:
    body = {**HEAD, "choices": choices, "usage": USAGE}
    if choices == "absent":
        del body["choices"]
    meter = FORMAT.meter(any_intent(wants_usage=False))
    assert meter.feed(chunk("a") + event(body) + chunk("b")) == chunk("a") + chunk("b")
    assert meter.report is not None


@pytest.mark.parametrize("error", [None, False, "", {}])
def test_no_error_is_no_error(error: Any) -> None:
    meter = FORMAT.meter(any_intent())
    meter.feed(chunk("a", error=error))
    assert meter.error is None


def test_the_last_usage_counts_but_zeros_take_nothing_back() -> None:
    meter = FORMAT.meter(any_intent())
    meter.feed(chunk("a", usage={**USAGE, "completion_tokens": 1}) + chunk("b", usage=USAGE))
    meter.feed(chunk(None, finish="stop", usage=dict.fromkeys(USAGE, 0)))
    assert meter.report is not None
    assert meter.report.usage == {"input": 9, "output": 3}


def test_the_searching_models_fee_is_in_the_report() -> None:
    meter = FORMAT.meter(any_intent(fees={"web_search": 1}))
    meter.feed(chunk("a", usage=USAGE))
    assert meter.report is not None
    assert meter.report.usage == {"input": 9, "output": 3, "web_search": 1}


def test_an_endless_line_is_a_clear_failure() -> None:
    meter = FORMAT.meter(any_intent())
    for _ in range(EVENT_BYTES_MAX // 2**16):
        assert meter.feed(b"x" * 2**16) == b""
    with pytest.raises(UpstreamFailed):
        meter.feed(b"x")


def test_a_stream_of_nothing_readable_is_an_error() -> None:
    for data in (b"", b"<html>", b"<html>\n\n</html>\n\n", b": ping\n\n"):
        meter = FORMAT.meter(any_intent())
        assert meter.feed(data) + meter.finish() == data
        assert meter.error is not None
        assert meter.error.code == "unreadable_reply"


def test_plain_json_without_usage_has_to_be_counted() -> None:
    meter = FORMAT.meter(any_intent())
    meter.feed(b'{"model":"m","choices":[{"index":0,"message":{"content":"Oban"}}]}')
    meter.finish()
    assert (meter.report, meter.error, meter.model) == (None, None, "m")
    assert counted(meter) == 4


def counted(meter: StreamMeter) -> int:
    count_all(meter)
    return meter.relayed_output


def test_a_cut_ends_every_open_choice_in_the_streams_own_shape() -> None:
    meter = FORMAT.meter(any_intent(choices=3))
    meter.feed(chunk("ab") + chunk("cd", 1) + chunk(None, 1, "stop") + chunk("half an event")[:40])
    assert counted(meter) == 4
    first, third, usage, done = events_in(
        meter.cut({"input": 7, "cache_read": 2, "output": 4, "reasoning": 1})
    )
    for index, last in ((0, first), (2, third)):
        choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"}
        assert last == {**HEAD, "choices": [choice]}
    assert usage == {
        **HEAD,
        "choices": [],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0},
        },
    }
    assert done == "[DONE]"
    assert meter.ended
    assert meter.feed(chunk("late")) == meter.finish() == b""


def test_a_cut_tells_usage_only_to_those_who_asked() -> None:
    for intent, usage in ((any_intent(wants_usage=False), {"output": 1}), (any_intent(), None)):
        meter = FORMAT.meter(intent)
        meter.feed(chunk("ab"))
        assert len(events_in(meter.cut(usage))) == 2


def test_a_cut_before_anything_was_said_still_ends_the_stream() -> None:
    meter = FORMAT.meter(any_intent(model="gpt-4.1"))
    last, done = events_in(meter.cut())
    assert (last["object"], last["model"], done) == ("chat.completion.chunk", "gpt-4.1", "[DONE]")


def test_a_cut_completion_has_text_instead_of_a_delta() -> None:
    meter = COMPLETIONS.meter(any_intent())
    meter.feed(
        event(
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "model": "m",
                "choices": [{"index": 0, "text": "a"}],
            }
        )
    )
    assert events_in(meter.cut())[0]["choices"] == [
        {"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}
    ]


def test_a_cap_is_noticed_when_it_is_passed() -> None:
    meter = FORMAT.meter(any_intent())
    for _ in range(30):
        meter.feed(chunk("word "))
        if meter.may_exceed(100):
            meter.count(CharCounter(), 1_000)
        if meter.relayed_output > 100:
            break
    assert meter.relayed_output == 105


EVENTS = st.lists(
    st.sampled_from(
        [
            chunk("text"),
            chunk('"usage":{"total_tokens":1}'),
            chunk("[DONE]"),
            chunk("error"),
            chunk("max_tokens", usage=None),
            chunk(None, finish="stop", usage=USAGE),
            event({**HEAD, "choices": [], "usage": USAGE}),
            event({**HEAD, "choices": [], "model": ""}),
            event({"error": {"message": "no"}}),
            b": ping\n\n",
            b"\n",
            b'data: nonsense _tokens"\n\n',
        ]
    ),
    max_size=12,
)


@given(
    events=EVENTS,
    sizes=st.lists(st.integers(1, 200), min_size=1),
    wants_usage=st.booleans(),
    ends=st.booleans(),
)
def test_exactly_the_usage_only_chunks_are_withheld(
    events: list[bytes], sizes: list[int], wants_usage: bool, ends: bool
) -> None:
    data = b"".join(events) + (DONE if ends else b"")
    pieces = (sizes[at % len(sizes)] for at, _ in enumerate(repeat(None)))
    played = play(FORMAT, any_intent(wants_usage=wants_usage), data, pieces)
    withheld = event({**HEAD, "choices": [], "usage": USAGE})
    assert played.relayed + played.held == (data if wants_usage else data.replace(withheld, b""))
    assert played.ended == ends
    assert (played.report is not None) == (b'"usage":{"prompt' in data)
    if event({"error": {"message": "no"}}) in events:
        assert played.error is not None


def test_what_was_spoken_is_kept_at_the_provider() -> None:
    chunk = b'data: {"model":"m","choices":[{"index":0,"delta":{"audio":{"id":"audio_1","data":"AA"}}}]}\n\n'
    speaking = any_intent(prices_apart=frozenset(("audio_output",)))
    meter = FORMAT.meter(speaking)
    meter.feed(chunk[:50])
    meter.feed(chunk[50:] * 2)
    assert meter.made == ("audio_1",)
    silent = FORMAT.meter(any_intent())
    silent.feed(chunk)
    assert silent.made == ()


def test_what_is_said_of_audio_is_not_believed() -> None:
    said = json.dumps({"choices": [{"message": {"content": '{"audio":{"id":"audio_2"}}'}}]}).encode()
    assert FORMAT.made(said) == ()
