"""`GET /admin/calls/running`: the calls in flight at this worker, with what they cost so far."""

from __future__ import annotations

import os

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.principals import Principals
from gateway.api.problems import problem_response
from gateway.api.self_service import json_response
from gateway.clock import Clock
from gateway.domain.errors import GatewayError
from gateway.domain.instants import rfc3339
from gateway.domain.money import format_usd
from gateway.gate.gate import Gate, InFlight

__all__ = ["Running"]

MOST = 500
US_PER_S = 1_000_000


class Running:
    """The endpoint."""

    def __init__(self, gate: Gate, clock: Clock, principals: Principals) -> None:
        self._gate = gate
        self._clock = clock
        self._principals = principals

    async def answer(self, request: Request) -> Response:
        """Every call of this worker that has not ended, oldest first; the sums are over all of them."""
        try:
            await self._principals.admin(request)
        except GatewayError as error:
            return problem_response(error)
        calls = self._gate.in_flight()
        return json_response(
            {
                "object": "list",
                "worker": os.getpid(),
                "calls": len(calls),
                "tokens": sum(call.tokens for call in calls),
                "cost_usd": format_usd(sum(call.charge_nano for call in calls)),
                "hold_usd": format_usd(sum(call.facts.hold_nano for call in calls)),
                "data": [self._shown(call) for call in calls[:MOST]],
            }
        )

    def _shown(self, call: InFlight) -> dict[str, object]:
        facts = call.facts
        account = self._gate.directory.account(facts.account)
        return {
            "id": facts.call,
            "key": facts.key,
            "account": facts.account if account is None else account.path,
            "provider": facts.provider,
            "model": facts.model,
            "streamed": facts.streamed,
            "created_at": rfc3339(facts.admitted_at_us),
            "seconds": (self._clock.now_us() - facts.admitted_at_us) // US_PER_S,
            "tokens": call.tokens,
            "cost_usd": format_usd(call.charge_nano),
            "hold_usd": format_usd(facts.hold_nano),
        }
