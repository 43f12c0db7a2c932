"""What the client is told beside the provider's bytes: headers, costs, whose fault an error is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.domain.errors import UpstreamFailed
from gateway.domain.money import format_usd
from gateway.formats.base import Dialect
from gateway.formats.refusals import render
from gateway.gate.admission import Offer
from gateway.gate.inbound import Headers
from gateway.gate.settlement import Settlement
from gateway.relay.headers import headers_down

__all__ = ["Answer", "Balance", "call_headers", "cost_spliced", "is_event_stream", "upstream_answer"]

# Costs are told in a header while the body is small enough to have been held whole anyway.
COST_HEADER_BODY_BYTES = 1 << 20
ERROR_OBJECT = re.compile(rb'"error"\s*:\s*\{')
USAGE_OBJECT = re.compile(rb'"usage"\s*:\s*\{')

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class Balance:
    """What a key's budgets have left after this call was held: figures for response headers."""

    __slots__ = ("limits", "remaining_nano")

    def __init__(self, remaining_nano: int | None, limits: Sequence[tuple[bytes, int, int, int]]) -> None:
        """`limits`: the key's own rate limits as (b"requests" | b"tokens", limit, remaining, reset_s)."""
        self.remaining_nano = remaining_nano
        self.limits = limits


def call_headers(
    offer: Offer, call_id: str, status: int, upstream: Headers, balance: Balance
) -> list[tuple[bytes, bytes]]:
    """The provider's headers that may travel down, and the gateway's own."""
    headers = headers_down(status, upstream)
    headers.append((b"x-tollgate-call-id", call_id.encode()))
    if offer.is_clamped:
        headers.append((b"x-tollgate-max-tokens", b"%d" % offer.output_cap))
    if balance.remaining_nano is not None:
        headers.append((b"x-tollgate-budget-remaining-usd", format_usd(balance.remaining_nano).encode()))
    for unit, limit, remaining, reset_s in balance.limits:
        headers.append((b"x-ratelimit-limit-" + unit, b"%d" % limit))
        headers.append((b"x-ratelimit-remaining-" + unit, b"%d" % remaining))
        headers.append((b"x-ratelimit-reset-" + unit, b"%ds" % reset_s))
    return headers


def upstream_answer(
    offer: Offer,
    dialect: Dialect,
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    settlement: Settlement,
) -> Answer:
    """A whole answer of the provider as the client gets it.

    Success and the client's own errors keep status and bytes. A failure of our credential becomes 502 in
    the caller's dialect. A 429 or 5xx keeps status and body, and says in the error that it is upstream's.
    """
    if (
        status >= 400
        and offer.plan.upstream.provider.read_refusal(status, headers, body).blame == "credential"
    ):
        kept = [pair for pair in headers if pair[0].startswith(b"x-")]
        refusal = render(_own_credential(offer), dialect)
        said = [(name.encode(), value.encode()) for name, value in refusal.headers]
        return refusal.status, [*said, *kept], refusal.body
    code = b"upstream_rate_limited" if status == 429 else b"upstream_unavailable" if status >= 500 else None
    if code is not None:
        return status, headers, ERROR_OBJECT.sub(rb'\g<0>"tollgate":{"code":"%b"},' % code, body, count=1)
    if status < 300 and len(body) <= COST_HEADER_BODY_BYTES:
        headers.append((b"x-tollgate-cost-usd", format_usd(settlement.charge.total_nano).encode()))
    return status, headers, body


def is_event_stream(headers: Headers) -> bool:
    """Whether an answer is server-sent events."""
    for name, value in headers:
        if name == b"content-type":
            return value.lstrip().lower().startswith(b"text/event-stream")
    return False


def _own_credential(offer: Offer) -> UpstreamFailed:
    return UpstreamFailed(
        "upstream_unavailable",
        f"{offer.plan.upstream.provider.title} refused the gateway's own credential.",
        hint="This is not the caller's fault; the operator has to renew the credential or its funds.",
    )


def cost_spliced(body: bytes, settlement: Settlement) -> bytes:
    """The same bytes with `cost` and `cost_details` first in the last usage object (USD as JSON numbers)."""
    objects = list(USAGE_OBJECT.finditer(body))
    if not objects:
        return body
    details = ",".join(f'"{line.meter}":{format_usd(line.cost_nano)}' for line in settlement.charge.lines)
    cost = f'"cost":{format_usd(settlement.charge.total_nano)},"cost_details":{{{details}}}'
    at = objects[-1].end()
    comma = b"" if body[at : at + 64].lstrip()[:1] == b"}" else b","
    return body[:at] + cost.encode() + comma + body[at:]
