"""OpenAI- and Anthropic-shaped usage and cost reports: existing importers work by changing the base URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.reports import Deps
from gateway.reports import anthropic_usage, openai_usage, spend
from gateway.reports.vendor_pages import Asked, Page, Vendor, asked, found_page
from gateway.reports.visibility import Principal, visible

__all__ = ["routes"]

_Shape = Callable[[Page, Asked], dict[str, Any]]
_REPORTS: Final[tuple[tuple[str, Vendor, _Shape], ...]] = (
    ("/v1/organization/usage/completions", openai_usage.USAGE, openai_usage.usage),
    ("/v1/organization/costs", openai_usage.COSTS, openai_usage.costs),
    ("/v1/organizations/usage_report/messages", anthropic_usage.USAGE, anthropic_usage.usage),
    ("/v1/organizations/cost_report", anthropic_usage.COSTS, anthropic_usage.costs),
)


def routes(deps: Deps) -> list[Route]:
    """The routes, for the application's list."""
    return [Route(path, _VendorReport(deps, vendor, shape).answer) for path, vendor, shape in _REPORTS]


class _VendorReport:
    """One path. Errors are raised, so that they are answered in the vendor's own dialect."""

    def __init__(self, deps: Deps, vendor: Vendor, shape: _Shape) -> None:
        self._deps = deps
        self._vendor = vendor
        self._shape = shape

    async def answer(self, request: Request) -> Response:
        """The page of buckets that is asked for, of what the key may see."""
        principal = await self._deps.authenticate(request)
        page = asked(self._vendor, request.query_params.multi_items(), self._deps.clock.now_us())
        found = await self._deps.database.read(_read, page, principal)
        body = msgspec.json.encode(self._shape(found, page))
        return Response(body, headers={"cache-control": "no-store"}, media_type="application/json")


def _read(conn: Connection, page: Asked, principal: Principal) -> Page:
    return found_page(conn, page, visible(conn, spend.REPORT, page.query, principal))
