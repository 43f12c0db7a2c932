"""`GET /v1/calls/{id}/events` and `POST /v1/calls/{id}/cancel`: resumable calls over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.api.principals import Principals
from gateway.api.self_service import json_response
from gateway.domain.errors import BadRequest
from gateway.formats.chat_frames import numbered
from gateway.gate.inbound import credential_of
from gateway.gate.neighbours import Neighbours, hops_of
from gateway.gate.resumable import ResumableCall, error_object, gone
from gateway.gate.resumables import ResumableCalls, visible

__all__ = ["Resume"]

STREAM: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
FRAMES_AT_ONCE: Final = 64
# A reader this far behind the answer holds the upstream up.
MOST_BEHIND: Final = 512


class Resume:
    """The endpoints."""

    def __init__(self, calls: ResumableCalls, neighbours: Neighbours, principals: Principals) -> None:
        self._calls = calls
        self._neighbours = neighbours
        self._principals = principals

    async def events(self, request: Request) -> Response:
        """The frames after `?after=N` or `Last-Event-ID`, as events that carry their numbers."""
        reader = await self._principals.anyone(request)
        given = request.query_params.get("after") or request.headers.get("last-event-id") or "0"
        if not given.isdecimal() or len(given) > 12:
            raise BadRequest(
                "invalid_value",
                "`after` is no number of an event.",
                hint="Give the id of the last event that came; 0 for all of them.",
                param="after",
            )
        name, after = request.path_params["call"], int(given)
        found = self._calls.find(name)
        if found is not None:
            return StreamingResponse(Reader(visible(found, reader), after).events(), headers=STREAM)
        events = await self._neighbours.events(name, after, *_asking(request))
        if events is None:
            raise await self._neighbours.fate(name, reader)
        return StreamingResponse(events, headers=STREAM)

    async def cancel(self, request: Request) -> Response:
        """Stop a call; nothing once it has ended."""
        reader = await self._principals.anyone(request)
        name = request.path_params["call"]
        found = self._calls.find(name)
        if found is None:
            told = await self._neighbours.cancel(name, *_asking(request))
            if told is None:
                raise await self._neighbours.fate(name, reader)
            return Response(told, media_type="application/json")
        call = visible(found, reader)
        call.cancel()
        return json_response({"object": "call", "id": call.call, "cancelled": call.is_broken})


class Reader:
    """A Follower that reads at the pace of a response."""

    def __init__(self, call: ResumableCall, after: int) -> None:
        """Raises Ended when what follows is not kept any more."""
        self._call = call
        self._position = after
        self._changed = asyncio.Event()
        if not call.log.has_after(after):
            raise gone(call.call)

    @property
    def is_slow(self) -> bool:
        """It is far behind."""
        return self._call.log.last - self._position > MOST_BEHIND

    def wake(self) -> None:
        """There is something new."""
        self._changed.set()

    async def events(self) -> AsyncIterator[bytes]:
        """Events with their numbers, as they come; an error has none, for it is told every time."""
        call, log = self._call, self._call.log
        tail = b',"call":"%b"}' % call.call.encode()
        # Not before the response reads: one that never does would never leave.
        call.follow(self, max(self._position, log.first - 1))
        try:
            while not (call.is_over and self._position >= log.last):
                if self._position + 1 < log.first:
                    yield _error(error_object(gone(call.call)), tail)
                    break
                frames = log.after(self._position, FRAMES_AT_ONCE)
                first = self._position + 1
                self._position += len(frames)
                if frames:
                    yield b"".join([self._event(frame, at, tail) for at, frame in enumerate(frames, first)])
                    call.pace()
                else:
                    self._changed.clear()
                    await self._changed.wait()
            if call.error is not None:
                yield _error(call.error, tail)
            yield b"data: [DONE]\n\n"
        finally:
            call.leave(self)

    def _event(self, frame: bytes, number: int, tail: bytes) -> bytes:
        said = b"data: " + numbered(frame, number, tail) if self._call.is_chat else frame
        return b"id: %d\n%b\n\n" % (number, said)


def _error(error: bytes, tail: bytes) -> bytes:
    return b'data: {"error":%b%b\n\n' % (error, tail)


def _asking(request: Request) -> tuple[bytes, int]:
    """The reader's own credential, for the worker that is asked, and how often the request was passed on."""
    credential = b"Bearer " + credential_of(request.headers.raw).encode("latin-1")
    return credential, hops_of(request.headers.raw)
