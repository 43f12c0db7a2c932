"""`/v1/chat/completions/stream`: chat completions over one WebSocket, each admitted and billed on its own.

A connection reads frames and answers with frames; every call lives in `gate.resumable` and goes on without
its connection for the grace time. The key is looked at before the upgrade and again while the connection
lasts: a revoked one ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.api.chat_requests import Ask, Cancel, Ping, Resume, read_frame
from gateway.api.socket_wire import LEAVING
from gateway.clock import Clock
from gateway.domain.errors import BadRequest, Forbidden, GatewayError, RateLimited, Unauthenticated
from gateway.formats.base import Format
from gateway.formats.refusals import render
from gateway.gate.admission import check_caller
from gateway.gate.call_log import Follower
from gateway.gate.directory import Caller, Directory
from gateway.gate.inbound import InboundCall, credential_of, fingerprint_of
from gateway.gate.resumable import ResumableCall, ResumableCalls, error_object, visible

__all__ = ["ChatSocket"]

PATH: Final = "/v1/chat/completions"
SUBPROTOCOL: Final = "tollgate"
KEY_SUBPROTOCOL: Final = "tollgate-key."
MOST_AT_ONCE: Final = 64
LOOK_EVERY_S: Final = 1.0
# Close codes (RFC 6455 7.4.1 and the IANA registry).
GOING_AWAY: Final = 1001
POLICY: Final = 1008


class ChatSocket:
    """The endpoint, and its connections."""

    def __init__(
        self,
        calls: ResumableCalls,
        directory: Directory,
        clock: Clock,
        wire_format: Format,
        origins: Sequence[str],
    ) -> None:
        """`origins` are those of browsers that may connect; `*` is every one."""
        self.calls = calls
        self.directory = directory
        self.clock = clock
        self.format = wire_format
        self._origins = frozenset(origins)

    async def answer(self, websocket: WebSocket) -> None:
        """One connection, from its handshake to its end."""
        try:
            key = key_of(websocket)
            self._check_origin(websocket)
            await self.caller(key)
        except GatewayError as error:
            refusal = render(error, "openai")
            await websocket.send_denial_response(
                Response(refusal.body, refusal.status, headers=dict(refusal.headers))
            )
            return
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await Connection(self, websocket, key).run()

    async def caller(self, key: str) -> Caller:
        """Whose key it is; raise for one that may not call."""
        known = fingerprint_of(key)
        caller = self.directory.caller(known) or await self.directory.find(known)
        if caller is None:
            raise Unauthenticated("invalid_api_key", "The API key is unknown.", hint="Ask for a new one.")
        check_caller(caller, self.clock.now_us())
        return caller

    def _check_origin(self, websocket: WebSocket) -> None:
        origin = websocket.headers.get("origin")
        if origin is not None and "*" not in self._origins and origin not in self._origins:
            raise Forbidden(
                "blocked",
                f"Pages of {origin[:200]} may not connect.",
                hint="The operator can add the origin to server.allowed_origins.",
            )


class Connection:
    """One socket and the calls that are followed on it."""

    def __init__(self, endpoint: ChatSocket, websocket: WebSocket, key: str) -> None:
        self._endpoint = endpoint
        self._websocket = websocket
        self._key = key
        self._streams: set[asyncio.Task[None]] = set()
        self._headers = passed_on(websocket, key)

    async def run(self) -> None:
        """Read and answer frames until one side has enough."""
        watch = asyncio.create_task(self._watch())
        try:
            while True:
                await self._take(await self._websocket.receive())
        except (WebSocketDisconnect, RuntimeError):
            pass  # the client left, or our close crossed its frame
        finally:
            watch.cancel()
            for task in self._streams:
                task.cancel()
            await asyncio.gather(watch, *self._streams, return_exceptions=True)

    async def _watch(self) -> None:
        """Close the connection of a key that may not call any more, and of a worker that stops."""
        leaving: asyncio.Event = self._websocket.scope[LEAVING]
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(leaving.wait(), LOOK_EVERY_S)
            try:
                await self._endpoint.caller(self._key)
            except (Unauthenticated, Forbidden) as error:
                await self._websocket.close(POLICY, error.message[:100])
                return
            except GatewayError:
                continue
            if leaving.is_set():
                await asyncio.gather(*self._streams, return_exceptions=True)
                await self._websocket.close(GOING_AWAY, "The worker stops; connect again.")
                return

    async def _take(self, message: Any) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        text = message.get("text")
        try:
            if text is None:
                raise BadRequest(
                    "invalid_json", "Binary frames are not spoken here.", hint="Send JSON as text."
                )
            wish = read_frame(text)
        except GatewayError as error:
            await self._send({"error": msgspec.Raw(error_object(error)), **_request_id(text)})
            return
        if isinstance(wish, Ping):
            await self._send({"type": "pong"})
        elif isinstance(wish, Cancel):
            await self._cancel(wish)
        else:
            await self._begin(wish)

    async def _begin(self, wish: Ask | Resume) -> None:
        if len(self._streams) >= MOST_AT_ONCE:
            error = RateLimited(
                "too_many_in_flight",
                f"{MOST_AT_ONCE} answers are under way on this connection.",
                hint="Wait for one of them, or open another connection.",
            )
            await self._fail(error_object(error), None, wish.request_id)
            return
        task = asyncio.create_task(self._ask(wish) if isinstance(wish, Ask) else self._resume(wish))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _ask(self, wish: Ask) -> None:
        inbound = InboundCall(self._endpoint.format, PATH, self._headers, wish.body)
        call = self._endpoint.calls.begin(inbound)
        try:
            await call.is_known.wait()
        except asyncio.CancelledError:
            call.cancel()
            raise
        if not call.call:
            await self._fail(call.error, None, wish.request_id)
        else:
            await self._follow(call, 0, wish.request_id)

    async def _resume(self, wish: Resume) -> None:
        try:
            reader = await self._endpoint.caller(self._key)
            call = self._found(wish.call, reader)
            await self._follow(call, wish.after, wish.request_id)
        except GatewayError as error:
            await self._fail(error_object(error), wish.call, wish.request_id)

    async def _cancel(self, wish: Cancel) -> None:
        try:
            self._found(wish.call, await self._endpoint.caller(self._key)).cancel()
        except GatewayError as error:
            await self._fail(error_object(error), wish.call, None)

    def _found(self, call: str, reader: Caller) -> ResumableCall:
        account = reader.key.account if reader.key.sees_account else None
        return visible(self._endpoint.calls.find(call), reader.key.charged_to, account)

    async def _follow(self, call: ResumableCall, after: int, request_id: str | None) -> None:
        follower = call.follow(after)
        try:
            await self._relay(call, follower, request_id)
        finally:
            call.left(follower)

    async def _relay(self, call: ResumableCall, follower: Follower, request_id: str | None) -> None:
        await self._send({"type": "call", "call": call.call, **_named(request_id)})
        ending = b"" if request_id is None else b',"request_id":' + msgspec.json.encode(request_id)
        while frames := await follower.next():
            for frame in frames:
                await self._websocket.send_text((frame[:-1] + ending + b"}").decode())
            call.pace()
        if call.error is not None:
            await self._fail(call.error, call.call, request_id)

    async def _fail(self, error: bytes | None, call: str | None, request_id: str | None) -> None:
        named = {} if call is None else {"call": call}
        await self._send({"error": msgspec.Raw(error or b"{}"), **named, **_named(request_id)})

    async def _send(self, frame: dict[str, Any]) -> None:
        with suppress(RuntimeError):  # the connection was closed meanwhile
            await self._websocket.send_text(msgspec.json.encode(frame).decode())


def key_of(websocket: WebSocket) -> str:
    """The virtual key of a handshake: a header, `?key=`, or a subprotocol; raise Unauthenticated."""
    offers: list[str] = websocket.scope.get("subprotocols", [])
    for offered in offers:
        if offered.startswith(KEY_SUBPROTOCOL):
            return offered.removeprefix(KEY_SUBPROTOCOL)
    query: bytes = websocket.scope["query_string"]
    for name, value in parse_qsl(query.decode("latin-1")):
        if name == "key":
            return value
    headers: list[tuple[bytes, bytes]] = websocket.headers.raw
    return credential_of(headers)


def passed_on(websocket: WebSocket, key: str) -> list[tuple[bytes, bytes]]:
    """The headers of every call on a connection: those of the handshake that speak of calls, and the cost."""
    asked = [pair for pair in websocket.headers.raw if pair[0].startswith((b"x-tollgate-", b"trace"))]
    return [
        (b"authorization", b"Bearer " + key.encode("latin-1", "replace")),
        (b"content-type", b"application/json"),
        (b"x-tollgate-cost", b"body"),
        *(pair for pair in asked if pair[0] != b"x-tollgate-cost"),
    ]


def _named(request_id: str | None) -> dict[str, str]:
    return {} if request_id is None else {"request_id": request_id}


class _Asked(msgspec.Struct):
    request_id: str | None = None


def _request_id(text: str | None) -> dict[str, str]:
    """The request id of a frame that was refused, where it can be read."""
    try:
        asked = msgspec.json.decode(text or "{}", type=_Asked)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return {}
    return _named(asked.request_id)
