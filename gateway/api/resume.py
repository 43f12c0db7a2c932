"""`GET /v1/calls/{id}/events` and `POST /v1/calls/{id}/cancel`: resumable calls over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.api.principals import Principals
from gateway.api.self_service import json_response
from gateway.domain.errors import BadRequest
from gateway.gate.call_log import Follower
from gateway.gate.resumable import ResumableCall, ResumableCalls, visible

__all__ = ["Resume"]

STREAM: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}


class Resume:
    """The endpoints."""

    def __init__(self, calls: ResumableCalls, principals: Principals) -> None:
        self._calls = calls
        self._principals = principals

    async def events(self, request: Request) -> Response:
        """The frames after `?after=N` or `Last-Event-ID`, as events that carry their numbers."""
        call = await self._call(request)
        given = request.query_params.get("after") or request.headers.get("last-event-id") or "0"
        if not given.isdecimal() or len(given) > 12:
            raise BadRequest(
                "invalid_value",
                "`after` is no number of an event.",
                hint="Give the id of the last event that came; 0 for all of them.",
                param="after",
            )
        follower = call.follow(int(given))
        return StreamingResponse(_events(call, follower), headers=STREAM)

    async def cancel(self, request: Request) -> Response:
        """Stop a call; nothing once it has ended."""
        call = await self._call(request)
        call.cancel()
        return json_response({"object": "call", "id": call.call, "cancelled": True})

    async def _call(self, request: Request) -> ResumableCall:
        key = (await self._principals.caller(request)).key
        account = key.account if key.sees_account else None
        return visible(self._calls.find(request.path_params["call"]), key.charged_to, account)


async def _events(call: ResumableCall, follower: Follower) -> AsyncIterator[bytes]:
    number = follower.position
    try:
        while frames := await follower.next():
            for frame in frames:
                number += 1
                yield b"id: %d\ndata: %b\n\n" % (number, frame)
            call.pace()
        if call.error is not None:
            yield b'data: {"error":%b,"call":"%b"}\n\n' % (call.error, call.call.encode())
        yield b"data: [DONE]\n\n"
    finally:
        call.left(follower)
