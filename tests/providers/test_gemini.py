from __future__ import annotations

import pytest

from gateway.providers.gemini import PROVIDER
from gateway.providers.refusals import Refusal


def error(code: int, *details: str) -> bytes:
    return (
        f'{{"error":{{"code":{code},"message":"m","status":"S","details":[{",".join(details)}]}}}}'.encode()
    )


def detail(kind: str, rest: str) -> str:
    return f'{{"@type":"type.googleapis.com/google.rpc.{kind}",{rest}}}'


def test_the_wait_is_in_the_body() -> None:
    body = error(429, detail("Help", '"links":[]'), detail("RetryInfo", '"retryDelay":"34.4s"'))
    assert PROVIDER.read_refusal(429, [], body) == Refusal("provider", True, 34.4)
    assert PROVIDER.read_refusal(429, [], b"[%b]" % body).after_s == 34.4


def test_a_spent_day_is_not_cured_by_the_wait_it_names() -> None:
    quota = detail("QuotaFailure", '"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel"}]')
    body = error(429, quota, detail("RetryInfo", '"retryDelay":"5s"'))
    assert PROVIDER.read_refusal(429, [], body) == Refusal("provider", False)


def test_a_bad_key_is_ours_though_it_says_bad_request() -> None:
    body = error(400, detail("ErrorInfo", '"reason":"API_KEY_INVALID","domain":"googleapis.com"'))
    assert PROVIDER.read_refusal(400, [], body) == Refusal("credential", False)


def test_a_bad_request_stays_the_clients() -> None:
    assert PROVIDER.read_refusal(400, [], error(400)) == Refusal("caller", False)


@pytest.mark.parametrize(
    "details",
    ["7", '"x"', detail("RetryInfo", '"retryDelay":{}'), detail("QuotaFailure", '"violations":[1]')],
)
def test_details_of_any_shape(details: str) -> None:
    assert PROVIDER.read_refusal(429, [], error(429, details)) == Refusal("provider", True)


def test_an_error_without_details() -> None:
    assert PROVIDER.read_refusal(429, [], b'{"error":{"code":429}}') == Refusal("provider", True)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:countTokens"),
        ("models/gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:countTokens"),
        ("tunedModels/tides-7", "/v1beta/tunedModels/tides-7:countTokens"),
        ("../files?key=x", "/v1beta/models/..%2Ffiles%3Fkey%3Dx:countTokens"),
        ("tunedModels/a/../b", "/v1beta/tunedModels/a%2F..%2Fb:countTokens"),
    ],
)
def test_a_model_is_in_the_path(model: str, path: str) -> None:
    assert PROVIDER.path("gemini_count_tokens", "", model) == path
    assert PROVIDER.path("gemini_count_tokens", "/proxy", model) == f"/proxy{path}"


def test_a_stream_is_asked_for_in_the_framing_that_the_client_reads() -> None:
    assert PROVIDER.path("gemini_stream", "", "m") == "/v1beta/models/m:streamGenerateContent?alt=sse"
    assert PROVIDER.path("gemini_stream_array", "", "m") == "/v1beta/models/m:streamGenerateContent"
