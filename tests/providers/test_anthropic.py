from __future__ import annotations

import pytest

from gateway.providers.anthropic import PROVIDER
from gateway.providers.refusals import Refusal


@pytest.mark.parametrize(
    "error",
    [
        b'{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}',
        b'{"type":"billing_error","message":"x"}',
    ],
)
def test_an_empty_account_is_ours_though_it_says_bad_request(error: bytes) -> None:
    body = b'{"type":"error","error":%b}' % error
    assert PROVIDER.read_refusal(400, [(b"x-should-retry", b"false")], body) == Refusal("credential", False)


def test_a_bad_request_stays_the_clients() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}'
    assert PROVIDER.read_refusal(400, [(b"x-should-retry", b"false")], body) == Refusal("caller", False)


def test_overloaded_is_worth_a_retry() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert PROVIDER.read_refusal(529, [], body) == Refusal("provider", True)


def test_the_version_is_sent_for_clients_that_name_none() -> None:
    assert PROVIDER.default_headers == ((b"anthropic-version", b"2023-06-01"),)
