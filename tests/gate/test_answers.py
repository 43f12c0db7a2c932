"""Answers: streamed or collected, decoded, bounded; and what each end of one means."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import UpstreamFailed
from gateway.formats.openai_chat import FORMAT
from gateway.gate.answers import Answer, failed
from gateway.relay.calls import UpstreamFailure
from tests.gate.making import chat

SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]
CHUNK = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
REPLY = b'{"choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}'


def answer(
    status: int = 200,
    headers: list[tuple[bytes, bytes]] = JSON,
    *data: bytes,
    stream: bool = False,
    limit_bytes: int = 10_000,
) -> Answer:
    intent = FORMAT.read("", chat(stream=stream))
    made = Answer(status, headers, FORMAT, intent, limit_bytes)
    for each in data:
        made.feed(each)
    return made


def ended(made: Answer) -> Any:
    if made.meter is not None:
        made.meter.finish()
    return made.ended()


@pytest.mark.parametrize(
    ("status", "kind", "stream", "is_streamed"),
    [
        (200, b"text/event-stream", True, True),
        (200, b" Text/Event-Stream;x=1", True, True),
        (201, b"text/event-stream", True, True),
        (200, b"text/event-stream", False, False),
        (200, b"application/json", True, False),
        (400, b"text/event-stream", True, False),
        (302, b"text/event-stream", True, False),
    ],
)
def test_an_answer_is_streamed_when_that_was_asked_for_and_comes(
    status: int, kind: bytes, stream: bool, is_streamed: bool
) -> None:
    assert (answer(status, [(b"content-type", kind)], stream=stream).meter is not None) == is_streamed


def test_a_whole_answer_is_collected() -> None:
    made = answer(200, JSON, REPLY[:10], REPLY[10:])
    assert (made.body, made.text()) == (REPLY, "Hi")
    ending, error = ended(made)
    assert error is None
    assert (ending.outcome, ending.status, ending.report.usage) == ("done", 200, {"input": 9, "output": 3})


def test_a_whole_answer_has_a_bound() -> None:
    answer(200, JSON, b"x" * 10_000)
    with pytest.raises(UpstreamFailed, match="larger than 10000 bytes"):
        answer(200, JSON, b"x" * 10_000, b"x")


@pytest.mark.parametrize(
    ("status", "body", "outcome", "flags", "is_replaced"),
    [
        (200, REPLY, "done", (), False),
        (200, b'{"choices":[]}', "done", (), False),
        (200, b'{"error":{"code":"content_filter"}}', "void", ("upstream_error",), False),
        (200, REPLY[:40], "aborted", ("unreadable_reply",), True),
        (200, b"  " + REPLY[:40], "aborted", ("unreadable_reply",), True),
        (200, b"<html>", "void", ("unreadable_reply",), True),
        (200, b"", "void", ("unreadable_reply",), True),
        (204, b"", "void", ("unreadable_reply",), True),
        (302, b"", "void", ("upstream_refused",), True),
        (304, b"", "void", ("upstream_refused",), True),
        (400, b"anything", "void", ("upstream_refused",), False),
        (429, b"", "void", ("upstream_refused",), False),
        (500, b"<html>", "void", ("upstream_refused",), False),
        (999, b"?", "void", ("upstream_refused",), False),
    ],
)
def test_what_a_whole_answer_means(
    status: int, body: bytes, outcome: str, flags: tuple[str, ...], is_replaced: bool
) -> None:
    ending, error = ended(answer(status, JSON, body))
    assert (ending.outcome, ending.flags, error is not None) == (outcome, flags, is_replaced)
    assert ending.status == status


@pytest.mark.parametrize(
    ("said", "outcome", "flags", "has_report"),
    [
        (CHUNK + USAGE + DONE, "done", (), True),
        (CHUNK + DONE, "done", (), False),
        (CHUNK + USAGE, "done", (), True),
        (CHUNK + USAGE[:-2], "done", (), True),  # the last event without its blank line
        (CHUNK, "done", ("cut",), False),
        (CHUNK + b'data: {"error":{"message":"no"}}\n\n', "aborted", ("upstream_error",), False),
        (b'{"error":{"message":"no"}}', "aborted", ("upstream_error",), False),
    ],
)
def test_what_a_stream_means(said: bytes, outcome: str, flags: tuple[str, ...], has_report: bool) -> None:
    ending, error = ended(answer(200, SSE, said, stream=True))
    assert error is None
    assert (ending.outcome, ending.flags, ending.report is not None) == (outcome, flags, has_report)


FAILURES: dict[str, Any] = {
    "closed": UpstreamFailure("closed", "yes", ""),
    "not reached": UpstreamFailure("connect", "no", ""),
    "half sent": UpstreamFailure("closed", "partly", ""),
    "silent": UpstreamFailure("first_byte_timeout", "yes", ""),
    "silent later": UpstreamFailure("idle_timeout", "yes", ""),
    "no connection in time": UpstreamFailure("connect_timeout", "no", ""),
}


@pytest.mark.parametrize(
    ("name", "made", "outcome", "flag", "code"),
    [
        ("closed", None, "aborted", "upstream_died", "upstream_unavailable"),
        ("not reached", None, "void", "upstream_unreached", "upstream_unavailable"),
        ("half sent", None, "void", "upstream_unreached", "upstream_unavailable"),
        ("silent", None, "aborted", "upstream_died", "upstream_timeout"),
        ("no connection in time", None, "void", "upstream_unreached", "upstream_timeout"),
        ("closed", answer(200, JSON, REPLY[:20]), "aborted", "upstream_died", "upstream_unavailable"),
        (
            "silent later",
            answer(200, SSE, CHUNK, stream=True),
            "aborted",
            "upstream_died",
            "upstream_timeout",
        ),
        ("closed", answer(429, JSON, b"{"), "void", "upstream_died", "upstream_unavailable"),
    ],
)
def test_what_a_failure_means(name: str, made: Answer | None, outcome: str, flag: str, code: str) -> None:
    ending, error = failed(made, FAILURES[name], "OpenAI")
    assert (ending.outcome, flag in ending.flags) == (outcome, True)
    assert error is not None
    assert (error.code, "OpenAI" in error.message) == (code, True)
    assert error.hint


def test_a_report_that_came_before_the_break_counts() -> None:
    made = answer(200, SSE, CHUNK + USAGE, stream=True)
    assert made.broken("x").report is not None
    assert answer(200, SSE, CHUNK, stream=True).broken("x").report is None


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b" GZIP ", b"x-gzip"])
@given(pieces=st.lists(st.integers(1, 40), max_size=8))
def test_an_encoded_answer_is_decoded_in_any_pieces(coding: bytes, pieces: list[int]) -> None:
    packed = zlib.compress(REPLY) if coding == b"deflate" else gzip.compress(REPLY)
    made = answer(200, [*JSON, (b"content-encoding", coding)])
    at = 0
    for size in pieces:
        made.feed(packed[at : at + size])
        at += size
    made.feed(packed[at:])
    assert made.body == REPLY
    assert made.headers == JSON


def test_identity_is_no_coding() -> None:
    headers = [*JSON, (b"content-encoding", b"identity")]
    assert answer(200, headers, REPLY).body == REPLY


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, br", b"compress"])
def test_a_coding_that_cannot_be_read_is_refused(coding: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="cannot be metered"):
        answer(200, [*JSON, (b"content-encoding", coding)])


def test_what_claims_to_be_encoded_and_is_not() -> None:
    with pytest.raises(UpstreamFailed, match="cannot be decoded"):
        answer(200, [*JSON, (b"content-encoding", b"gzip")], REPLY)


def test_a_small_answer_cannot_unfold_into_a_huge_one() -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    for stream in (False, True):
        with pytest.raises(UpstreamFailed, match="larger than"):
            answer(200, [*SSE, (b"content-encoding", b"gzip")], bomb, stream=stream)
