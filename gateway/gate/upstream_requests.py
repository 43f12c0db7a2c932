"""The bytes of a request to an upstream."""

from __future__ import annotations

from gateway.gate.admission import Offer
from gateway.gate.inbound import InboundCall
from gateway.gate.plans import Upstream
from gateway.relay.headers import headers_up
from gateway.relay.requests import complete, head_prefix

__all__ = ["UpstreamRequests"]

# Trace headers make every head its own; then keeping them is no use, and costs no more than this.
HEADS_KEPT = 1024


class UpstreamRequests:
    """Makes them for all calls of a worker, and keeps the heads: an SDK sends the same with every call."""

    def __init__(self) -> None:
        self.heads: dict[tuple[object, ...], bytes] = {}  # by all that is in them

    def of(self, offer: Offer) -> bytes:
        """The upstream request: the client's own bytes with what the gateway must change spliced in."""
        upstream, sent, intent = offer.plan.upstream, offer.sent, offer.intent
        body = sent.format.upstream_body(
            sent.body, intent, offer.plan.upstream_model, offer.plan.cap_field, offer.output_cap
        )
        return complete(self._head(upstream, sent, offer.plan.upstream_model), body)

    def _head(self, upstream: Upstream, sent: InboundCall, model: str) -> bytes:
        """The head of an upstream request. An SDK sends the same headers with every call."""
        forwarded = headers_up(sent.headers)
        parts = (upstream.name, sent.format.name, model, *forwarded)
        head = self.heads.get(parts)
        if head is None:
            path = upstream.provider.path(sent.format.name, upstream.base_path, model, upstream.api_version)
            given = {name for name, _ in forwarded}
            defaults = [pair for pair in upstream.provider.default_headers if pair[0] not in given]
            headers = [*forwarded, *defaults, *upstream.credential_headers]
            head = head_prefix("POST", path, upstream.host, headers)
            if len(self.heads) >= HEADS_KEPT:
                self.heads.clear()
            self.heads[parts] = head
        return head
