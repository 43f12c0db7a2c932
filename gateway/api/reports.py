"""`GET /reports/{name}`: one route for every report there is.

Whoever builds the application hands over what the route needs (`Deps`). Who asks is for `authenticate` to
find out: it reads the request's key and returns an admin key or a virtual key, or raises `Unauthenticated`
or `Forbidden` (a blocked one). What that principal may see is decided by the reports.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import IO, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import gateway.reports
from gateway.api.problems import problem_response
from gateway.clock import Clock
from gateway.domain.errors import GatewayError
from gateway.domain.instants import rfc3339
from gateway.registry import scan
from gateway.reports import delivery
from gateway.reports.base import Query, Report
from gateway.reports.currencies import in_currency
from gateway.reports.parameters import parse
from gateway.reports.rendering import MEDIA_TYPES, file_name, rendering
from gateway.reports.visibility import Principal
from gateway.store.engine import Database

__all__ = ["Deps", "Reports", "chunks", "routes"]

# An answer up to this is sent in one piece, with its length.
WHOLE_BYTES: Final = 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
# Rows that are read in one transaction of an answer that is sent while it is read.
PAGE_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Deps:
    """What the route is given. `complete_until` tells, inside a transaction and before it has read anything,
    up to which instant the ledger in SQL is complete: the report's `as_of`."""

    database: Database
    clock: Clock
    authenticate: Callable[[Request], Awaitable[Principal]]
    complete_until: delivery.CompleteUntil


def routes(deps: Deps) -> list[Route]:
    """The route, for the application's list."""
    return [Route("/reports/{name}", Reports(deps).answer, methods=["GET"])]


class Reports:
    """The endpoint, and the reports it found."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._reports: dict[str, Report] = scan(gateway.reports, "REPORT")

    async def answer(self, request: Request) -> Response:
        """The report, or the problem that stands in its way."""
        try:
            principal = await self._deps.authenticate(request)
            report = delivery.find(self._reports, request.path_params["name"])
            # In a thread: ten thousand buckets of a zone take longer than the event loop may be held up.
            pairs = request.query_params.multi_items()
            query = await run_in_threadpool(parse, report, pairs, self._deps.clock.now_us())
            report = in_currency(report, query)
            if report.cursor is not None and query.limit is None:
                return await self._paged(report, query, principal)
            return await self._whole(report, query, principal)
        except GatewayError as error:
            return problem_response(error)

    async def _whole(self, report: Report, query: Query, principal: Principal) -> Response:
        """Read and write everything, then send it."""
        deps = self._deps
        written = await deps.database.read(delivery.write, report, query, principal, deps.complete_until)
        headers = _headers(report, query, written.as_of_us)
        if written.bytes_ <= WHOLE_BYTES:
            with written.file as file:
                return Response(file.read(), headers=headers)
        headers["content-length"] = str(written.bytes_)
        return StreamingResponse(chunks(written.file), headers=headers)

    async def _paged(self, report: Report, query: Query, principal: Principal) -> Response:
        """Read a page, send it, read the next: no transaction lasts as long as the download."""
        query = replace(query, limit=PAGE_ROWS)
        # The first page is read before the answer begins, so that an error can still be the answer.
        first = await self._page(report, query, principal)
        headers = _headers(report, query, first.as_of_us)
        return StreamingResponse(self._pages(report, query, principal, first), headers=headers)

    async def _pages(
        self, report: Report, query: Query, principal: Principal, page: delivery.Page
    ) -> AsyncIterator[bytes]:
        writing = rendering(report, query)
        yield writing.begin() + b"".join(writing.rows(page.rows))
        while page.next_after is not None:
            page = await self._page(report, replace(query, after=page.next_after), principal)
            yield b"".join(writing.rows(page.rows))
        yield writing.end(page.as_of_us, has_more=False)

    async def _page(self, report: Report, query: Query, principal: Principal) -> delivery.Page:
        deps = self._deps
        return await deps.database.read(delivery.page, report, query, principal, deps.complete_until)


def _headers(report: Report, query: Query, as_of_us: int) -> dict[str, str]:
    """`x-tollgate-as-of` says in every format what the JSON says inside."""
    headers = {
        "content-type": MEDIA_TYPES[query.format],
        "cache-control": "no-store",
        "x-tollgate-as-of": rfc3339(as_of_us),
    }
    if query.format != "json":
        headers["content-disposition"] = f'attachment; filename="{file_name(report, query)}"'
    return headers


async def chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    """A file in pieces, closed at its end."""
    with file:
        while chunk := await run_in_threadpool(file.read, CHUNK_BYTES):
            yield chunk
