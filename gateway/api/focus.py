"""`GET /reports/focus`: the FOCUS export of a month, for admin keys."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.api.problems import problem_response
from gateway.api.reports import Deps, chunks
from gateway.domain.errors import BadRequest, Forbidden, GatewayError
from gateway.domain.tenancy import AdminKey
from gateway.reports.focus import export, wanted
from gateway.reports.rendering import MEDIA_TYPES

__all__ = ["routes"]


def routes(deps: Deps) -> list[Route]:
    """The route, which goes before the one of the reports by name."""
    return [Route("/reports/focus", Focus(deps).answer, methods=["GET"])]


class Focus:
    """The endpoint."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def answer(self, request: Request) -> Response:
        """The export as a file, or the problem that stands in its way."""
        try:
            principal = await self._deps.authenticate(request)
            if not isinstance(principal, AdminKey):
                raise Forbidden(
                    "role_not_allowed",
                    "The FOCUS export tells of every account.",
                    hint="Ask with an admin key; any role may read it.",
                )
            pairs = request.query_params.multi_items()
            if len({name for name, _ in pairs}) < len(pairs):
                raise BadRequest("invalid_value", "A parameter is given twice.", hint="Give each once.")
            asked = wanted(dict(pairs))
            file, length = await self._deps.database.read(export, asked)
        except GatewayError as error:
            return problem_response(error)
        name = f"focus-{asked.version}-{asked.month.name}.{asked.format}"
        headers = {
            "content-type": MEDIA_TYPES[asked.format],
            "content-length": str(length),
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
        }
        return StreamingResponse(chunks(file), headers=headers)
