"""A count of tokens is free, and still a call."""

from __future__ import annotations

import pytest

from gateway.formats.anthropic_count_tokens import FORMAT
from tests.formats.playing import Case, recordings_or_skip

BODY = b'{"model":"claude-sonnet-5","messages":[{"role":"user","content":"A pier"}],"tools":[{"name":"t"}]}'


def test_it_costs_nothing_and_says_so() -> None:
    report, error = FORMAT.read_reply(b'{"input_tokens":20}\n')
    assert report is not None
    assert (report.usage, report.raw, report.missing, error) == ({}, b'{"input_tokens":20}', (), None)


def test_only_the_model_is_changed() -> None:
    intent = FORMAT.read("", BODY)
    assert FORMAT.upstream_body(BODY, intent, "claude-sonnet-5", "max_tokens", 0) == BODY
    assert FORMAT.upstream_body(BODY, intent, "other", "max_tokens", 0) == BODY.replace(
        b"claude-sonnet-5", b"other"
    )


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"<html>", "unreadable_reply"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "overloaded_error"),
    ],
)
def test_an_error_in_a_200(reply: bytes, code: str) -> None:
    report, error = FORMAT.read_reply(reply)
    assert report is None
    assert error is not None
    assert error.code == code


@pytest.mark.parametrize("case", recordings_or_skip("count_tokens"))
def test_recording(case: Case) -> None:
    report, error = FORMAT.read_reply(case.reply)
    assert (report is not None, error) == (True, None)
    assert case.request is not None
    assert FORMAT.read("", case.request).input_bound == 0
