"""Replies: which headers are told, whose an error is, and where the cost is spliced in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.base import Report
from gateway.formats.openai_chat import FORMAT
from gateway.gate.answers import Answer
from gateway.gate.replies import Remaining, Told, call_headers, upstream_answer, wants_cost, with_cost
from gateway.gate.settlement import Ending, Settlement, settle
from tests.gate.making import NOON_US, chat, inbound, offer

NOTHING = Remaining(None, [])
ASKS = [(b"x-tollgate-cost", b"body")]


def answer(status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> Answer:
    made = Answer(status, list(headers), FORMAT, FORMAT.read("", chat()), 10**8)
    made.feed(body)
    return made


def settlement() -> Settlement:
    """10 tokens in, 5 out: 60,000 nano-USD."""
    told = Report(usage={"input": 10, "output": 5}, raw=b"{}")
    return settle(offer(max_tokens=100), Ending("done", 200, told), lambda served: None, NOON_US)


def told(made: Answer, *asks: tuple[bytes, bytes]) -> Told:
    headers = call_headers(offer(), "call_1", made, NOTHING)
    return upstream_answer(offer(), inbound(None, *asks), made, headers, settlement())


def test_the_calls_own_headers() -> None:
    given_ = Remaining(1_500_000_000, [(b"requests", 10, 7, 42), (b"tokens", 1_000, 1, 3)])
    headers = call_headers(offer(max_tokens=10**6), "call_1", answer(200), given_)
    assert headers == [
        (b"x-tollgate-call-id", b"call_1"),
        (b"x-tollgate-max-tokens", b"32768"),
        (b"x-tollgate-budget-remaining-usd", b"1.5"),
        (b"x-ratelimit-limit-requests", b"10"),
        (b"x-ratelimit-remaining-requests", b"7"),
        (b"x-ratelimit-reset-requests", b"42s"),
        (b"x-ratelimit-limit-tokens", b"1000"),
        (b"x-ratelimit-remaining-tokens", b"1"),
        (b"x-ratelimit-reset-tokens", b"3s"),
    ]


def test_the_providers_headers_by_allow_list() -> None:
    made = answer(
        200, b"", (b"x-request-id", b"req_1"), (b"openai-organization", b"org"), (b"retry-after", b"1")
    )
    assert call_headers(offer(), "call_1", made, NOTHING)[:-1] == [(b"x-request-id", b"req_1")]


def test_success_keeps_its_bytes_and_tells_its_cost() -> None:
    made = told(answer(200, b" any bytes "))
    assert (made.status, made.body) == (200, b" any bytes ")
    assert (b"x-tollgate-cost-usd", b"0.00006") in made.headers


def test_a_large_body_has_no_cost_header() -> None:
    assert not any(
        name == b"x-tollgate-cost-usd" for name, _ in told(answer(200, b"x" * (1 << 20) + b"x")).headers
    )


@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422])
def test_the_clients_own_error_is_left_alone(status: int) -> None:
    made = told(answer(status, b'{"error":{"message":"no"}}'))
    assert (made.status, made.body, made.is_ours) == (status, b'{"error":{"message":"no"}}', False)
    assert not any(name == b"x-tollgate-cost-usd" for name, _ in made.headers)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_our_credentials_error_is_not_the_clients(status: int) -> None:
    made = told(answer(status, b'{"error":{"message":"bad key sk-secret"}}', (b"x-request-id", b"req_1")))
    assert (made.status, made.is_ours) == (502, True)
    error = json.loads(made.body)["error"]
    assert (error["code"], "secret" in str(error)) == ("upstream_unavailable", False)
    headers = dict(made.headers)
    assert headers[b"x-should-retry"] == b"false"
    assert (headers[b"x-request-id"], headers[b"x-tollgate-call-id"]) == (b"req_1", b"call_1")


def test_a_quota_of_ours_is_not_the_clients() -> None:
    assert told(answer(429, b'{"error":{"type":"insufficient_quota"}}')).is_ours


@pytest.mark.parametrize(
    ("status", "body", "marked"),
    [
        (
            429,
            b'{"error":{"message":"x"}}',
            b'{"error":{"tollgate":{"code":"upstream_rate_limited"},"message":"x"}}',
        ),
        (500, b'{"error" :\n{ "a":1}}', b'{"error" :\n{"tollgate":{"code":"upstream_unavailable"}, "a":1}}'),
        (503, b'{"error":{}}', b'{"error":{}}'),
        (503, b'{"error":"words"}', b'{"error":"words"}'),
        (500, b"", b""),
        (
            500,
            b'{"error":{"error":{"a":1}}}',
            b'{"error":{"tollgate":{"code":"upstream_unavailable"},"error":{"a":1}}}',
        ),
    ],
)
def test_the_providers_own_error_is_marked(status: int, body: bytes, marked: bytes) -> None:
    assert told(answer(status, body)).body == marked


@pytest.mark.parametrize(
    ("value", "wanted"), [(b"body", True), (b" Body ", True), (b"header", False), (b"", False)]
)
def test_who_asks_for_the_cost(value: bytes, wanted: bool) -> None:
    assert wants_cost([(b"x-tollgate-cost", value)]) == wanted
    assert not wants_cost([])


COST = b'"cost":0.00006,"cost_details":{"input":0.00002,"output":0.00004}'


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        (b'{"usage":{"a":1}}', b'{"usage":{' + COST + b',"a":1}}'),
        (b'{"usage" : {  }}', b'{"usage" : {' + COST + b"  }}"),
        (b'{"usage":null}', b'{"usage":null}'),
        (
            b'{"a":"\\"usage\\":{1}","usage":{"a":1}}',
            b'{"a":"\\"usage\\":{1}","usage":{' + COST + b',"a":1}}',
        ),
        (
            b'data: {"usage":{"a":1}}\n\ndata: [DONE]\n\n',
            b'data: {"usage":{' + COST + b',"a":1}}\n\ndata: [DONE]\n\n',
        ),
        (b"", b""),
    ],
)
def test_the_cost_is_spliced_into_the_last_usage(body: bytes, spliced: bytes) -> None:
    assert with_cost(ASKS, body, settlement()) == spliced
    assert with_cost([], body, settlement()) == body


@given(usage=st.dictionaries(st.text(), st.integers() | st.none() | st.text()), text=st.text())
def test_a_spliced_body_says_what_it_said(usage: dict[str, Any], text: str) -> None:
    document = {"choices": [{"message": {"content": text}}], "usage": usage}
    found = json.loads(with_cost(ASKS, json.dumps(document).encode(), settlement()))
    assert found["choices"] == document["choices"]
    # A usage that had such members itself keeps its own: of two, readers take the later.
    assert found["usage"] == json.loads(b"{%b}" % COST) | usage
