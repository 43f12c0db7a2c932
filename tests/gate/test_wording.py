"""A call in the words of its upstream: its own where they are spoken there, translated elsewhere."""

from __future__ import annotations

import msgspec
import pytest

from gateway.domain.errors import BadRequest, NotFound
from gateway.domain.prices import PriceRow
from gateway.formats.anthropic_messages import FORMAT as MESSAGES
from gateway.formats.openai_embeddings import FORMAT as EMBEDDINGS
from gateway.gate.admission import Desk
from gateway.gate.inbound import InboundCall
from gateway.gate.wording import told_headers
from gateway.providers import anthropic
from tests.gate.making import NOON_US, caller, catalogue, desk, inbound, upstream

CLAUDE = catalogue(
    PriceRow("", "anthropic", "claude-sonnet-5", "input", 3_000_000),
    PriceRow("", "anthropic", "claude-sonnet-5", "output", 15_000_000),
)


def both() -> Desk:
    """A desk before OpenAI and Anthropic."""
    return desk(known=CLAUDE, upstreams=[upstream(), upstream("anthropic", anthropic.PROVIDER)])


def test_what_is_spoken_upstream_is_the_very_call() -> None:
    call = inbound()
    offer = both().offer(caller(), call, NOON_US)
    assert offer.sent is call
    assert offer.translator is None


def test_what_is_not_is_read_by_the_upstreams_own_format() -> None:
    call = inbound(None, (b"openai-beta", b"x"), (b"traceparent", b"t"), model="claude-sonnet-5", user="u")
    offer = both().offer(caller(), call, NOON_US)
    assert offer.inbound is call
    assert offer.sent.format is MESSAGES
    assert offer.sent.headers == [(b"traceparent", b"t")]
    assert offer.translator is not None
    assert offer.intent.output_cap is None  # the client named none, though the body has to
    assert offer.scope.end_user == "u"
    body = offer.sent.format.upstream_body(
        offer.sent.body, offer.intent, "claude-sonnet-5", "", offer.output_cap
    )
    assert msgspec.json.decode(body)["max_tokens"] == offer.output_cap


def test_a_call_moved_to_another_model_is_translated_anew() -> None:
    offer = both().offer(caller(), inbound(), NOON_US)
    moved = both().instead(offer, "claude-sonnet-5")
    assert moved.sent.format is MESSAGES
    back = both().instead(moved, "gpt-4o-mini")
    assert back.sent is back.inbound
    assert back.translator is None


def test_what_cannot_be_said_and_what_is_not_served() -> None:
    with pytest.raises(BadRequest) as unsaid:
        both().offer(caller(), inbound(model="claude-sonnet-5", logit_bias={"1": 1}), NOON_US)
    assert (unsaid.value.code, unsaid.value.param) == ("unsupported_field", "logit_bias")
    call = InboundCall(EMBEDDINGS, "/v1/embeddings", [], b'{"model":"claude-sonnet-5","input":"x"}')
    with pytest.raises(NotFound):
        both().offer(caller(), call, NOON_US)


def test_headers_are_those_that_the_clients_sdk_reads() -> None:
    offer = both().offer(caller(), inbound(model="claude-sonnet-5"), NOON_US)
    assert offer.translator is not None
    headers = [(b"content-type", b"text/event-stream"), (b"request-id", b"req_1")]
    stream = told_headers(offer.translator, 200, headers, is_stream=True)
    assert stream == [(b"content-type", b"text/event-stream"), (b"x-request-id", b"req_1")]
    whole = told_headers(offer.translator, 400, headers, is_stream=False)
    assert whole == [(b"content-type", b"application/json"), (b"x-request-id", b"req_1")]
