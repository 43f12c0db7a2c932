"""Answers that a provider keeps: looking one up, its events, its items; cancelling and deleting it.

`GET /v1/responses/{id}` and its kin (openai-python, `resources/responses`). Nothing here is charged for
itself; an answer that was made in the background is settled by what is seen of its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.api.principals import Principals
from gateway.domain.errors import UpstreamFailed
from gateway.gate.gate import Gate
from gateway.gate.inbound import Headers
from gateway.gate.lookups import Asked, Lookup, ask, request_for
from gateway.gate.plans import Upstream
from gateway.relay.headers import headers_down

__all__ = ["StoredAnswers"]

# What of a query goes upstream.
_PARAMETERS: Final = frozenset(
    (
        *("include", "include[]", "include_obfuscation", "stream", "starting_after"),
        *("after", "before", "limit", "order"),
    )
)


class StoredAnswers:
    """The endpoints; each is an ASGI endpoint of Starlette."""

    def __init__(self, gate: Gate, principals: Principals) -> None:
        self._gate = gate
        self._background = gate.background
        self._belongings = gate.belongings
        self._principals = principals

    async def show(self, request: Request) -> Response:
        """`GET /v1/responses/{id}`; with `stream=true` its events, after `starting_after`."""
        upstream, id_ = await self._find(request)
        if request.query_params.get("stream") == "true":
            return await self._events(request, upstream, id_)
        told = await self._ask(request, upstream, id_)
        if told.status == 200:
            await self._background.heard(upstream.name, id_, told.body)
        return _answer(told)

    async def items(self, request: Request) -> Response:
        """`GET /v1/responses/{id}/input_items`."""
        upstream, id_ = await self._find(request)
        return _answer(await self._ask(request, upstream, id_, "/input_items"))

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/responses/{id}/cancel`."""
        upstream, id_ = await self._find(request)
        told = await self._ask(request, upstream, id_, "/cancel")
        if told.status == 200:
            await self._background.heard(upstream.name, id_, told.body)
        return _answer(told)

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/responses/{id}`: what it has come to is asked first, for nobody can ask later."""
        upstream, id_ = await self._find(request)
        lookup = request_for(upstream, "GET", id_)
        known = await ask(self._gate.client, upstream, lookup, self._gate.max_reply_bytes)
        if known.status == 200:
            await self._background.heard(upstream.name, id_, known.body)
        told = await self._ask(request, upstream, id_)
        if told.status == 200:
            self._background.deleted(upstream.name, id_)
        return _answer(told)

    async def _find(self, request: Request) -> tuple[Upstream, str]:
        """Where the answer is kept; raise NotFound unless it is the caller's own."""
        caller = await self._principals.caller(request)
        id_ = request.path_params["response"]
        name = await self._belongings.find(id_, caller.key.account)
        upstream = next((each for each in self._gate.desk.router.upstreams if each.name == name), None)
        if upstream is None:
            raise UpstreamFailed(
                "upstream_unavailable",
                "The provider that keeps this answer is switched off.",
                hint="Ask the operator.",
            )
        return upstream, id_

    async def _ask(self, request: Request, upstream: Upstream, id_: str, suffix: str = "") -> Asked:
        told = await ask(
            self._gate.client,
            upstream,
            _request(request, upstream, id_, suffix),
            self._gate.max_reply_bytes,
        )
        _check_credential(upstream, told)
        return told

    async def _events(self, request: Request, upstream: Upstream, id_: str) -> Response:
        lookup = Lookup(self._gate.client, upstream, _request(request, upstream, id_, ""))
        try:
            status, headers = await lookup.head()
            if status >= 400:
                body = b"".join([part async for part in lookup.parts()])
                told = Asked(status, headers, body)
                _check_credential(upstream, told)
                return _answer(told)
        except BaseException:
            lookup.cancel()
            raise
        return StreamingResponse(
            self._relayed(lookup, upstream, id_), status, headers=_text(headers_down(status, headers))
        )

    async def _relayed(self, lookup: Lookup, upstream: Upstream, id_: str) -> AsyncIterator[bytes]:
        try:
            async for part in lookup.parts():
                yield part
        finally:
            lookup.cancel()
            self._background.look_soon(upstream.name, id_)


def _request(request: Request, upstream: Upstream, id_: str, suffix: str) -> bytes:
    query = [pair for pair in request.query_params.multi_items() if pair[0] in _PARAMETERS]
    return request_for(upstream, request.method, id_, suffix, query, request.headers.raw)


def _check_credential(upstream: Upstream, told: Asked) -> None:
    """A refusal of our own credential is not shown as the client's fault."""
    if told.status >= 400:
        refusal = upstream.provider.read_refusal(told.status, told.headers, told.body)
        if refusal.blame == "credential":
            raise UpstreamFailed(
                "upstream_unavailable",
                f"{upstream.provider.title} refused the gateway's own credential.",
                hint="This is not the caller's fault; the operator has to renew the credential or its funds.",
            )


def _answer(told: Asked) -> Response:
    return Response(told.body, told.status, headers=_text(headers_down(told.status, told.headers)))


def _text(headers: Headers) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in headers}
