from __future__ import annotations

import pytest

from gateway.relay.headers import DOWN, UP, content_encoding, headers_down, headers_up

HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"content-length",
    b"host",
    b"expect",
}
SECRETS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"set-cookie"}
SHARED_ACCOUNT = {
    b"openai-organization",
    b"openai-project",
    b"anthropic-organization-id",
    b"x-ratelimit-limit-requests",
    b"x-ratelimit-remaining-tokens",
    b"anthropic-ratelimit-tokens-remaining",
    b"x-goog-user-project",
    b"cf-ray",
    b"server",
    b"x-ms-region",
}


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP | SECRETS | SHARED_ACCOUNT))
def test_what_never_travels(name: bytes) -> None:
    assert headers_up([(name, b"x")]) == []
    assert headers_down(200, [(name, b"x")]) == []
    assert headers_down(429, [(name, b"x")]) == []


@pytest.mark.parametrize("table", [UP, DOWN])
def test_every_entry_is_in_lower_case_and_says_why(table: dict[bytes, str]) -> None:
    assert all(name == name.lower() and reason for name, reason in table.items())


def test_what_travels_keeps_its_order_and_its_repetitions() -> None:
    sent = [(b"anthropic-beta", b"a"), (b"x-stainless-lang", b"python"), (b"anthropic-beta", b"b")]
    assert headers_up(sent) == [(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")]


def test_retry_advice_travels_with_errors_only() -> None:
    advice = [(b"retry-after", b"20"), (b"x-should-retry", b"true"), (b"x-request-id", b"req")]
    assert headers_down(200, advice) == [(b"x-request-id", b"req")]
    assert headers_down(429, advice) == advice


def test_an_encoded_body_says_so() -> None:
    assert content_encoding([(b"content-type", b"a")]) == b""
    assert content_encoding([(b"content-encoding", b"identity")]) == b""
    assert content_encoding([(b"content-encoding", b" GZIP ")]) == b"gzip"
    assert content_encoding([(b"content-encoding", b"br"), (b"content-encoding", b"gzip")]) == b"br, gzip"
