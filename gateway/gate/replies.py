"""What the client is told beside the provider's bytes: headers, costs, whose fault an error is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from gateway.domain.errors import UpstreamFailed
from gateway.domain.money import format_usd
from gateway.formats.refusals import render
from gateway.formats.translation.base import Translator
from gateway.gate.admission import FALLBACK, Offer
from gateway.gate.answers import IN_BAND, Answer
from gateway.gate.inbound import Headers, InboundCall, header
from gateway.gate.settlement import Settlement
from gateway.gate.wording import told_headers
from gateway.relay.headers import headers_down

__all__ = ["Remaining", "Told", "call_headers", "upstream_answer", "wants_cost", "with_cost"]

# Costs are told in a header while the body is small enough to have been held whole anyway.
COST_HEADER_BODY_BYTES = 1 << 20
ERROR_OBJECT = re.compile(rb'"error"\s*:\s*\{(?=\s*")')
USAGE_OBJECT = re.compile(rb'"usage(?:Metadata)?"\s*:\s*\{')
EMPTY = re.compile(rb"\s*\}")


class Remaining(NamedTuple):
    """What a key's budgets have left after this call was held: figures for response headers.

    `limits` are the key's own rate limits as (b"requests" | b"tokens", limit, remaining, reset_s).
    """

    nano: int | None
    limits: Sequence[tuple[bytes, int, int, int]]


class Told(NamedTuple):
    """A whole answer as the client gets it; `is_ours` when it hides a refusal of our own credential."""

    status: int
    headers: Headers
    body: bytes
    is_ours: bool = False


def call_headers(offer: Offer, call_id: str, answer: Answer, left: Remaining) -> list[tuple[bytes, bytes]]:
    """The provider's headers that may travel down, and the gateway's own."""
    headers = headers_down(answer.status, answer.headers)
    if offer.translator is not None:
        headers = told_headers(offer.translator, answer.status, headers, is_stream=answer.meter is not None)
    headers.append((b"x-tollgate-call-id", call_id.encode()))
    if offer.is_clamped:
        headers.append((b"x-tollgate-max-tokens", b"%d" % offer.output_cap))
    if FALLBACK in offer.plan.flags:
        headers.append((b"x-tollgate-model", offer.plan.upstream_model.encode()))
    if left.nano is not None:
        headers.append((b"x-tollgate-budget-remaining-usd", format_usd(left.nano).encode()))
    for unit, limit, remaining, reset_s in left.limits:
        headers.append((b"x-ratelimit-limit-" + unit, b"%d" % limit))
        headers.append((b"x-ratelimit-remaining-" + unit, b"%d" % remaining))
        headers.append((b"x-ratelimit-reset-" + unit, b"%ds" % reset_s))
    return headers


def upstream_answer(
    offer: Offer,
    inbound: InboundCall,
    answer: Answer,
    headers: list[tuple[bytes, bytes]],
    settlement: Settlement,
) -> Told:
    """A whole answer of the provider as the client gets it, under `call_headers`.

    Success and the client's own errors keep status and bytes, or are translated; UpstreamFailed is raised for
    what cannot be. A failure of our credential becomes 502 in
    the caller's dialect. A 429 or 5xx keeps status and body, and says in the error that it is upstream's.
    """
    status, body = answer.status, answer.body
    if offer.translator is not None:
        status, body = _translated(offer.translator, answer, settlement)
    if status < 400:
        cost = format_usd(settlement.charge.total_nano).encode()
        if len(body) <= COST_HEADER_BODY_BYTES:
            headers.append((b"x-tollgate-cost-usd", cost))
        return Told(status, headers, with_cost(inbound.headers, body, settlement))
    provider = offer.plan.upstream.provider
    if provider.read_refusal(answer.status, answer.headers, answer.body).blame == "credential":
        return _own_credential(provider.title, inbound, headers)
    code = b"upstream_rate_limited" if status == 429 else b"upstream_unavailable" if status >= 500 else b""
    if code:
        body = ERROR_OBJECT.sub(rb'\g<0>"tollgate":{"code":"%b"},' % code, body, count=1)
    return Told(status, headers, body)


def _translated(translator: Translator, answer: Answer, settlement: Settlement) -> tuple[int, bytes]:
    """Status and body in the client's words; an error in a 200 gets the status that it speaks of."""
    if answer.status >= 400:
        return translator.refusal(answer.status, answer.body)
    if IN_BAND in settlement.closing.flags:
        return translator.refusal(None, answer.body)
    return answer.status, translator.reply(answer.body, settlement.closing.usage)


def _own_credential(title: str, inbound: InboundCall, headers: Headers) -> Told:
    error = UpstreamFailed(
        "upstream_unavailable",
        f"{title} refused the gateway's own credential.",
        hint="This is not the caller's fault; the operator has to renew the credential or its funds.",
    )
    refusal = render(error, inbound.format.dialect)
    said = [(name.encode(), value.encode()) for name, value in refusal.headers]
    kept = [pair for pair in headers if pair[0].startswith((b"x-request-id", b"x-tollgate-"))]
    # No wait makes a wrong credential right.
    return Told(refusal.status, [*said, *kept, (b"x-should-retry", b"false")], refusal.body, is_ours=True)


def wants_cost(headers: Headers) -> bool:
    """Whether the client wants the cost in the body."""
    asked = header(headers, b"x-tollgate-cost")
    return asked is not None and asked.strip().lower() == b"body"


def with_cost(headers: Headers, body: bytes, settlement: Settlement) -> bytes:
    """The same bytes, with `cost` and `cost_details` first in the last usage object (USD as JSON numbers).

    Only where the client asked for it. A usage object's key cannot stand inside a string of the answer:
    there its quotes would be escaped.
    """
    objects = list(USAGE_OBJECT.finditer(body)) if wants_cost(headers) else []
    if not objects:
        return body
    charge = settlement.charge
    details = ",".join(f'"{line.meter}":{format_usd(line.cost_nano)}' for line in charge.lines)
    cost = f'"cost":{format_usd(charge.total_nano)},"cost_details":{{{details}}}'
    at = objects[-1].end()
    comma = b"" if EMPTY.match(body, at) else b","
    return body[:at] + cost.encode() + comma + body[at:]
