from __future__ import annotations

import pytest

from gateway.providers.openai import PROVIDER
from gateway.providers.refusals import Refusal


def error(code: str | None, kind: str, message: str) -> bytes:
    quoted = "null" if code is None else f'"{code}"'
    return f'{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":{quoted}}}}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        error("insufficient_quota", "insufficient_quota", "You exceeded your current quota"),
        error("project_spend_limit_exceeded", "insufficient_quota", "Spend limit"),
        error("billing_not_active", "requests", "Your account is not active"),
    ],
)
def test_a_spent_quota_is_ours_and_no_wait_cures_it(body: bytes) -> None:
    assert PROVIDER.read_refusal(429, [(b"retry-after", b"1")], body) == Refusal("credential", False)


def test_a_rate_limit_is_the_providers_and_worth_a_retry() -> None:
    body = error(
        "rate_limit_exceeded", "tokens", "Rate limit reached for gpt-4o. Please try again in 174ms. More"
    )
    assert PROVIDER.read_refusal(429, [], body) == Refusal("provider", True, 0.174)
    assert PROVIDER.read_refusal(429, [(b"retry-after", b"2")], body).after_s == 2.0


def test_the_wait_at_the_end_of_a_sentence() -> None:
    body = error("rate_limit_exceeded", "requests", "Please try again in 1m30s.")
    assert PROVIDER.read_refusal(429, [], body).after_s == 90.0


def test_a_request_above_the_minutes_limit_is_never_served() -> None:
    body = error("rate_limit_exceeded", "tokens", "Request too large for gpt-4o on tokens per min (TPM)")
    assert PROVIDER.read_refusal(429, [(b"retry-after", b"2")], body) == Refusal("provider", False)


def test_a_message_that_is_no_text() -> None:
    assert PROVIDER.read_refusal(429, [], b'{"error":{"message":[1]}}') == Refusal("provider", True)


def test_address() -> None:
    assert PROVIDER.path("openai_chat", "/v1", "gpt-4.1") == "/v1/chat/completions"
