"""Every path that Starlette routes, in one plain list: self-service, admin plane, reports, health."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from gateway.api import focus, reports, vendor_reports
from gateway.api.chat_socket import ChatSocket
from gateway.api.health import Health
from gateway.api.metrics import Metrics
from gateway.api.models import Models
from gateway.api.problems import problem_response
from gateway.api.resume import Resume
from gateway.api.running import Running
from gateway.api.self_service import SelfService
from gateway.api.stored_answers import StoredAnswers
from gateway.domain.errors import GatewayError, NotFound, Unavailable
from gateway.formats.base import Dialect
from gateway.formats.refusals import render

__all__ = ["Surfaces", "application"]

# Where errors are problem+json; everywhere else they have the caller's dialect.
PROBLEM_PATHS = ("/admin", "/reports", "/openapi.json", "/healthz", "/readyz", "/metrics")


@dataclass(frozen=True, slots=True)
class Surfaces:
    """What the application serves beside the data plane's hot paths."""

    self_service: SelfService
    stored: StoredAnswers
    reports: reports.Deps
    admin: Sequence[BaseRoute]
    health: Health
    metrics: Metrics
    models: Models
    running: Running
    chat_socket: ChatSocket
    resume: Resume
    pages: Sequence[BaseRoute] = ()


def application(surfaces: Surfaces) -> Starlette:
    """The Starlette application: its routes, and how errors are answered."""
    mine, stored = surfaces.self_service, surfaces.stored
    app = Starlette(
        routes=[
            Route("/healthz", surfaces.health.healthz),
            Route("/readyz", surfaces.health.readyz),
            Route("/metrics", surfaces.metrics.answer),
            Route("/v1/key", mine.key),
            Route("/v1/estimate", mine.estimate, methods=["POST"]),
            Route("/v1/models", surfaces.models.list),
            Route("/v1/models/{model:path}", surfaces.models.get),
            Route("/v1beta/models", surfaces.models.gemini_list),
            Route("/v1beta/models/{model:path}", surfaces.models.gemini_get),
            Route("/v1/calls/{call}", mine.call),
            Route("/v1/calls/{call}/events", surfaces.resume.events),
            Route("/v1/calls/{call}/cancel", surfaces.resume.cancel, methods=["POST"]),
            WebSocketRoute("/v1/chat/completions/stream", surfaces.chat_socket.answer),
            Route("/v1/responses/{response}", stored.show),
            Route("/v1/responses/{response}", stored.delete, methods=["DELETE"]),
            Route("/v1/responses/{response}/cancel", stored.cancel, methods=["POST"]),
            Route("/v1/responses/{response}/input_items", stored.items),
            *focus.routes(surfaces.reports),
            *reports.routes(surfaces.reports),
            *vendor_reports.routes(surfaces.reports),
            Route("/admin/calls/running", surfaces.running.answer),
            *surfaces.admin,
            *surfaces.pages,
        ],
        exception_handlers={
            GatewayError: answer_error,
            HTTPException: answer_http,
            ClientDisconnect: answer_nobody,
            Exception: answer_defect,
        },
    )
    # A path with a slash too many is another path, which is not served.
    app.router.redirect_slashes = False
    return app


async def answer_error(request: Request, error: Exception) -> Response:
    """A refusal, in the words of whoever asked."""
    assert isinstance(error, GatewayError)
    if request.url.path.startswith(PROBLEM_PATHS):
        return problem_response(error)
    refusal = render(error, _dialect(request))
    return Response(refusal.body, refusal.status, headers=dict(refusal.headers))


async def answer_http(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405: never passed through unmetered, always with a way out."""
    assert isinstance(error, HTTPException)
    return await answer_error(
        request,
        NotFound(
            "unsupported_endpoint",
            f"{request.method} {request.url.path[:200]} is not served by this gateway.",
            hint="Metered endpoints are listed in the documentation; nothing is passed through unmetered.",
        ),
    )


async def answer_nobody(request: Request, error: Exception) -> Response:
    """The client left in the midst of its request: there is nobody to answer, and nothing to log."""
    return Response(status_code=400)


async def answer_defect(request: Request, error: Exception) -> Response:
    """A defect of ours, which Starlette has logged by now, said in the words of whoever asked."""
    return await answer_error(
        request,
        Unavailable(
            "ledger_unavailable", "The gateway failed on this request; it has been logged.", hint="Try again."
        ),
    )


def _dialect(request: Request) -> Dialect:
    if "anthropic-version" in request.headers or request.url.path.startswith(
        ("/v1/messages", "/v1/organizations/")
    ):
        return "anthropic"
    return "gemini" if request.url.path.startswith("/v1beta") else "openai"
