from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.relay.requests import build_request, complete, head_prefix


class Seen:
    """What a server's parser makes of our bytes."""

    def __init__(self, request: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.messages = 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(request)
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1


def test_a_request_as_a_server_reads_it() -> None:
    headers = [(b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
    seen = Seen(build_request("POST", "/v1/chat/completions?a=b", "api.example.com", headers, b'{"a":1}'))
    assert (seen.method, seen.url, seen.body, seen.messages) == (
        b"POST",
        b"/v1/chat/completions?a=b",
        b'{"a":1}',
        1,
    )
    assert seen.headers == [
        (b"host", b"api.example.com"),
        (b"user-agent", b"tollgate"),
        (b"accept-encoding", b"identity"),
        *headers,
        (b"content-length", b"7"),
    ]


def test_a_kept_prefix_makes_the_same_request() -> None:
    headers = [(b"x", b"y")]
    prefix = head_prefix("GET", "/", "h", headers)
    assert complete(prefix, b"abc") == build_request("GET", "/", "h", headers, b"abc")


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nevil: 1"),
        (b"x", b"a\nevil: 1"),
        (b"x", b"a\revil: 1"),
        (b"x", b"a\0b"),
        (b"x\r\nevil", b"1"),
        (b"a b", b"1"),
        (b"a\t", b"1"),
        (b"", b"1"),
        (b"\xff", b"1"),
        (b"a(", b"1"),
    ],
)
def test_a_header_that_would_split_the_request_is_refused(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadRequest, match="header"):
        head_prefix("POST", "/", "h", [(b"ok", b"1"), header])


@pytest.mark.parametrize(
    ("method", "path", "host"),
    [
        ("POST", "/a b", "h"),
        ("POST", "/a\r\nx: y", "h"),
        ("POST", "/ü", "h"),
        ("POST", "relative", "h"),
        ("POST", "", "h"),
        ("", "/", "h"),
        ("POST /x", "/", "h"),
        ("POST", "/", "h\r\nx: y"),
        ("POST", "/", ""),
        ("POST", "/", "ü"),
    ],
)
def test_an_address_that_would_split_the_request_is_refused(method: str, path: str, host: str) -> None:
    with pytest.raises(BadRequest, match="address"):
        head_prefix(method, path, host, [])


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=12)), max_size=4))
def test_whatever_is_accepted_is_one_request_with_these_headers(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        request = build_request("POST", "/p", "h", headers, b"body")
    except BadRequest:
        return
    try:
        seen = Seen(request)
    except httptools.HttpParserError:
        return  # stricter than we are: a server refuses it whole
    assert (seen.messages, seen.body) == (1, b"body")
    assert [name for name, _ in seen.headers[3:-1]] == [name for name, _ in headers]
