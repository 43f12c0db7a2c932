"""Heads that are known again: what counts as the same, and what has to be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.repeats import KnownHead, known_head
from gateway.formats.openai_chat import FORMAT

HEADERS = [(b"host", b"x")]
BEFORE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nContent-Length: "
AFTER = b"\r\naccept: */*\r\n\r\n"


def request(body: bytes, length: bytes = b"") -> bytes:
    return BEFORE + (length or b"%d" % len(body)) + AFTER + body


def known(data: bytes, body_bytes: int, max_bytes: int = 65_536) -> KnownHead | None:
    return known_head(data, body_bytes, max_bytes, FORMAT, "/v1/chat/completions", HEADERS)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_body_behind_a_known_head_is_found(first: bytes, second: bytes) -> None:
    head = known(request(first), len(first))
    assert head is not None
    assert head.body_in(request(second)) == second


@pytest.mark.parametrize(
    "data",
    [
        request(b"body")[:-1],
        request(b"body") + b"x",
        request(b"body", b"04x"),
        request(b"body", b"+4"),
        request(b"body", b" 4"),
        request(b"body", b"4" * 13),
        BEFORE + AFTER + b"body",
        BEFORE + b"4",
        request(b"body").replace(b"host: x", b"host: y"),
        request(b"body").replace(b"*/*", b"a/b"),
        b"",
    ],
)
def test_anything_else_is_for_the_parser(data: bytes) -> None:
    head = known(request(b"body"), 4)
    assert head is not None
    assert head.body_in(data) is None


def test_a_head_whose_length_is_not_in_it_is_not_known() -> None:
    chunked = (
        BEFORE.replace(b"Content-Length: ", b"transfer-encoding: chunked") + AFTER + b"2\r\n{}\r\n0\r\n\r\n"
    )
    assert known(chunked, 2) is None
    assert known(b"\r\n\r\n" + request(b"body"), 4) is None


def test_a_head_near_its_bound_is_measured_by_the_parser() -> None:
    size = len(request(b""))
    assert known(request(b"body"), 4, size + 11) is None
    assert known(request(b"body"), 4, size + 12) is not None
