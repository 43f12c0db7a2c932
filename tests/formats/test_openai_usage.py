"""OpenAI-shaped usage becomes disjoint meters: nothing twice, nothing below zero, nothing silently."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.usage import METERS, input_total, output_total
from gateway.formats.base import Report
from gateway.formats.openai_usage import read_usage

FIGURES = (
    st.none()
    | st.integers(-3, 300)
    | st.integers(0, 300)
    | st.sampled_from([1.0, 2.5, "7", True, [], 10**13])
)


def read(told: Any, has_output: bool = True) -> Report | None:
    return read_usage(json.dumps(told).encode(), has_output=lambda: has_output, fees={})


@st.composite
def any_usage(draw: st.DrawFn, figures: st.SearchStrategy[Any] = FIGURES) -> dict[str, Any]:
    def some(*names: str) -> dict[str, Any]:
        return {name: draw(figures) for name in names if draw(st.booleans())}

    return {
        **some(
            "prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "cached_tokens"
        ),
        "prompt_tokens_details": draw(st.none() | st.just([]) | st.just({}))
        or some("cached_tokens", "cache_write_tokens", "audio_tokens"),
        "completion_tokens_details": some("reasoning_tokens", "audio_tokens"),
    }


@given(any_usage(), st.booleans())
def test_whatever_is_told_no_meter_is_negative(told: dict[str, Any], has_output: bool) -> None:
    report = read(told, has_output)
    if report is not None:
        assert set(report.usage) <= set(METERS)
        assert all(type(quantity) is int and quantity > 0 for quantity in report.usage.values())


@given(
    uncached=st.integers(0, 99),
    cached=st.integers(0, 99),
    written=st.integers(0, 99),
    audio=st.integers(0, 99),
    said=st.integers(0, 99),
    reasoning=st.integers(0, 99),
    spoken=st.integers(0, 99),
)
def test_what_adds_up_is_taken_apart_exactly(
    uncached: int, cached: int, written: int, audio: int, said: int, reasoning: int, spoken: int
) -> None:
    prompt, completion = uncached + cached + written + audio, said + reasoning + spoken
    report = read(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": cached,
                "cache_write_tokens": written,
                "audio_tokens": audio,
            },
            "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": spoken},
        },
        has_output=False,
    )
    assert report is not None
    assert report.unknown == ()
    parts = {
        "input": uncached,
        "cache_read": cached,
        "cache_write_5m": written,
        "audio_input": audio,
        "output": said,
        "reasoning": reasoning,
        "audio_output": spoken,
    }
    assert report.usage == {meter: quantity for meter, quantity in parts.items() if quantity}
    assert (input_total(report.usage), output_total(report.usage)) == (prompt, completion)


@given(any_usage(st.integers(0, 300)))
def test_what_does_not_add_up_is_named(told: dict[str, Any]) -> None:
    """Either the totals come out as told, or the report says what is odd."""
    report = read(told)
    if report is None or report.unknown or report.missing:
        return
    total = input_total(report.usage) + output_total(report.usage)
    told_total = told.get("total_tokens") or told.get("prompt_tokens", 0) + told.get("completion_tokens", 0)
    assert total == told_total


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b"{", b"{}", b'{"total_tokens":5}', b'{"prompt_tokens":"5"}', b"7"]
)
def test_what_tells_nothing_is_no_report(raw: bytes) -> None:
    assert read_usage(raw, has_output=lambda: False, fees={}) is None


def test_zeros_are_believed_only_of_a_reply_that_says_nothing() -> None:
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert read(zeros, has_output=True) is None
    report = read(zeros, has_output=False)
    assert report is not None
    assert (report.usage, report.missing) == ({}, ())


def test_a_side_without_a_figure_has_to_be_counted() -> None:
    output = read({"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7})
    assert output is not None
    assert (output.usage, output.missing) == ({"input": 7}, ("output",))
    prompt = read({"prompt_tokens": 0, "completion_tokens": 7, "total_tokens": 7})
    assert prompt is not None
    assert (prompt.usage, prompt.missing) == ({"output": 7}, ("input",))


def test_a_side_that_only_the_total_tells_is_what_the_other_leaves() -> None:
    report = read({"prompt_tokens": 7, "total_tokens": 9})
    assert report is not None
    assert (report.usage, report.missing) == ({"input": 7, "output": 2}, ())
    report = read({"completion_tokens": 2, "total_tokens": 9})
    assert report is not None
    assert (report.usage, report.missing) == ({"input": 7, "output": 2}, ())


def test_audio_that_is_cached_is_booked_as_cached() -> None:
    report = read(
        {
            "prompt_tokens": 100,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 80},
        }
    )
    assert report is not None
    assert report.usage == {"cache_read": 64, "audio_input": 36, "output": 1}
    assert report.unknown == ("audio tokens exceed the uncached prompt_tokens",)


def test_the_raw_object_is_kept_as_it_came() -> None:
    raw = b'{ "prompt_tokens":1,\n"completion_tokens" : 2.0 ,"x":{"y":0} }'
    report = read_usage(raw, has_output=lambda: True, fees={"web_search": 1}, model="m", service_tier="flex")
    assert report is not None
    assert report.raw == raw
    assert report.usage == {"input": 1, "output": 2, "web_search": 1}
    assert (report.model, report.service_tier, report.unknown) == ("m", "flex", ())


def test_fields_that_no_meter_stands_for_are_named_where_they_say_something() -> None:
    report = read(
        {
            "prompt_tokens": 1,
            "completion_tokens": 1,
            "num_sources_used": 4,
            "cost": 0.01,
            "free": True,
            "prompt_tokens_details": {"video_tokens": 3, "odd_tokens": 0},
            "completion_tokens_details": {"image_tokens": 2},
        }
    )
    assert report is not None
    assert report.unknown == (
        "num_sources_used",
        "cost",
        "prompt_tokens_details.video_tokens",
        "completion_tokens_details.image_tokens",
    )
