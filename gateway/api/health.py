"""Is the process alive, can it serve, and what is not well."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.principals import Principals
from gateway.domain.errors import GatewayError
from gateway.gate.gate import Gate

__all__ = ["Health"]

NO_STORE = {"cache-control": "no-store"}


class Health:
    """`/healthz` and `/readyz`: open to everybody, in detail to administrators."""

    def __init__(self, gate: Gate, principals: Principals) -> None:
        self._gate = gate
        self._principals = principals

    async def healthz(self, request: Request) -> Response:
        """The process answers."""
        return Response('{"status":"ok"}', media_type="application/json", headers=NO_STORE)

    async def readyz(self, request: Request) -> Response:
        """Whether calls are accepted; why not, and what is not well, with an admin key."""
        report = self._gate.readiness()
        body: dict[str, object] = {"ready": report.is_ready}
        try:
            await self._principals.admin_as_known(request)
            body |= {"reasons": report.reasons, "details": report.details}
        except GatewayError:
            pass  # everybody may know whether; only administrators, why
        status = 200 if report.is_ready else 503
        return Response(msgspec.json.encode(body), status, headers=NO_STORE, media_type="application/json")
