"""Errors, identities and fees are read from the outside of a chunk or reply, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.formats.base import InBandError
from gateway.formats.openai_envelope import (
    error_in,
    is_empty,
    is_object,
    open_envelope,
    read_reply,
    search_fee,
    text_of,
    write_usage,
)
from gateway.formats.openai_usage import read_usage
from tests.formats.playing import any_intent


def reply(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"code": "c", "type": "t", "message": "m"}, InBandError("c", "m")),
        ({"code": None, "type": "t", "message": "m"}, InBandError("t", "m")),
        ({"code": 429, "message": None}, InBandError("429", "")),
        ({"param": "x"}, InBandError("error", "")),
        ("all hands lost", InBandError("error", "all hands lost")),
        (True, InBandError("error", "true")),
        ([1], InBandError("error", "[1]")),
        (None, None),
        ({}, None),
        ("", None),
    ],
)
def test_errors_in_all_their_shapes(error: Any, told: InBandError | None) -> None:
    envelope = open_envelope(reply(error=error))
    assert envelope is not None
    assert error_in(envelope) == told


def test_an_error_that_is_the_whole_object() -> None:
    envelope = open_envelope(reply(object="error", message="full", code=40))
    assert envelope is not None
    assert error_in(envelope) == InBandError("40", "full")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"<html>", b'{"id":1}trailing', b"{" * 5_000])
def test_what_is_no_object_has_no_envelope(body: bytes) -> None:
    assert open_envelope(body) is None
    report, error = read_reply(body)
    assert report is None
    assert error is not None
    assert error.code == "unreadable_reply"


def test_members_are_looked_at_without_being_decoded() -> None:
    envelope = open_envelope(b'{"usage":{"a":[1e999]},"choices":[ ],"model":7,"id":"x","extra":"\xff"}')
    assert envelope is not None
    assert is_object(envelope.usage)
    assert not is_object(envelope.choices)
    assert not is_object(envelope.error)
    assert is_empty(envelope.choices)
    assert is_empty(envelope.error)
    assert not is_empty(envelope.usage)
    assert (text_of(envelope.id), text_of(envelope.model), text_of(envelope.object)) == ("x", None, None)


def test_the_fee_of_a_search_is_in_the_reply_of_a_searching_model_or_call() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    for model, intent in (
        ("gpt-4o-search-preview-2025-03-11", None),
        ("m", any_intent(fees={"web_search": 1})),
    ):
        report, _ = read_reply(reply(model=model, usage=usage), intent)
        assert report is not None
        assert report.usage == {"input": 1, "output": 1, "web_search": 1}
    report, _ = read_reply(reply(model="m", usage=usage), any_intent())
    assert report is not None
    assert "web_search" not in report.usage
    assert search_fee("gpt-4.1", asked=False) == {}


def test_usage_as_we_write_it_reads_back_as_it_was() -> None:
    meters = {"input": 5, "cache_read": 3, "audio_input": 2, "output": 7, "reasoning": 11, "audio_output": 1}
    report = read_usage(write_usage(meters), has_output=lambda: True, fees={})
    assert report is not None
    assert report.usage == meters
    assert report.unknown == ()
