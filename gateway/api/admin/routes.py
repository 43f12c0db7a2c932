"""Every route of the admin plane, from one table of operations."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.admin import (
    accounts,
    admin_keys,
    audits,
    budgets,
    deliveries,
    fx,
    grants,
    keys,
    leases,
    periods,
    prices,
    rate_cards,
    rerating,
    webhooks,
    windows,
)
from gateway.api.admin.endpoint import Endpoint, NoEndpoint
from gateway.api.admin.operations import AdminDeps, Operation
from gateway.api.openapi import document

__all__ = ["OPERATIONS", "admin_routes"]

OPERATIONS: Final[tuple[Operation, ...]] = (
    *accounts.OPERATIONS,
    *keys.OPERATIONS,
    *budgets.OPERATIONS,
    *windows.OPERATIONS,
    *grants.OPERATIONS,
    *prices.OPERATIONS,
    *rate_cards.OPERATIONS,
    *rerating.OPERATIONS,
    *admin_keys.OPERATIONS,
    *leases.OPERATIONS,
    *webhooks.OPERATIONS,
    *deliveries.OPERATIONS,
    *audits.OPERATIONS,
    *fx.OPERATIONS,
    *periods.OPERATIONS,
)


def admin_routes(deps: AdminDeps) -> list[Route]:
    """The routes of `/admin` and of `/openapi.json`, for the application's list."""
    paths = list(dict.fromkeys(operation.path for operation in OPERATIONS))
    # A path with a fixed last step goes before one that takes an id there.
    paths.sort(key=lambda path: path.count("{"))
    found = {path: [each for each in OPERATIONS if each.path == path] for path in paths}
    return [
        *(Route(path, Endpoint(deps, operations)) for path, operations in found.items()),
        Route("/admin/{rest:path}", NoEndpoint()),
        Route("/openapi.json", Document().answer),
    ]


class Document:
    """Serves the description of the admin plane, which is the same for everybody and no secret."""

    def __init__(self) -> None:
        self._body = msgspec.json.encode(document(OPERATIONS))

    async def answer(self, request: Request) -> Response:
        """The document."""
        return Response(self._body, media_type="application/json")
