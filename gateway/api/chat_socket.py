"""`/v1/chat/completions/stream`: chat completions over one WebSocket, each admitted and billed on its own.

A connection reads frames and answers with frames; every call lives in `gate.resumable` and goes on without
its connection for the grace time. The key is looked at before the upgrade and again while the connection
lasts: a revoked one ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import Response
from starlette.websockets import WebSocket

from gateway.api.chat_requests import Ask, Cancel, Ping, Resume, read_frame
from gateway.api.chat_turns import Turn
from gateway.api.socket_wire import SOCKET, GatewaySockets
from gateway.domain.errors import (
    BadRequest,
    Forbidden,
    GatewayError,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from gateway.formats.base import Format
from gateway.formats.refusals import render
from gateway.gate.admission import check_caller
from gateway.gate.directory import Caller
from gateway.gate.inbound import InboundCall, credential_of
from gateway.gate.neighbours import Neighbours
from gateway.gate.repeatable import caller_of
from gateway.gate.resumable import error_object
from gateway.gate.resumables import Elsewhere, ResumableCalls, visible

__all__ = ["ChatSocket"]

PATH: Final = "/v1/chat/completions"
SUBPROTOCOL: Final = "tollgate"
KEY_SUBPROTOCOL: Final = "tollgate-key."
MOST_AT_ONCE: Final = 64
LOOK_EVERY_S: Final = 0.5
CHECKS_AT_ONCE: Final = 100
# A close reason has 123 bytes at most (RFC 6455 5.5).
REASON_CHARACTERS: Final = 100
# Close codes (RFC 6455 7.4.1 and the IANA registry).
GOING_AWAY: Final = 1001
POLICY: Final = 1008
INTERNAL: Final = 1011
PONG: Final = b'{"type":"pong"}'


class ChatSocket:
    """The endpoint, and its connections."""

    def __init__(
        self, calls: ResumableCalls, neighbours: Neighbours, wire_format: Format, origins: Sequence[str]
    ) -> None:
        """`origins` are those of browsers that may connect; `*` is every one."""
        self.calls = calls
        self.neighbours = neighbours
        self.format = wire_format
        self._origins = frozenset(origins)
        self._open: set[Connection] = set()

    async def answer(self, websocket: WebSocket) -> None:
        """One connection, from its handshake to its end."""
        try:
            key = key_of(websocket)
            self._check_origin(websocket)
            caller = await caller_of(self.calls, key)
        except GatewayError as error:
            refusal = render(error, "openai")
            await websocket.send_denial_response(
                Response(refusal.body, refusal.status, headers=dict(refusal.headers))
            )
            return
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        connection = Connection(self, websocket, key, caller)
        self._open.add(connection)
        try:
            await connection.run(websocket)
        except asyncio.CancelledError:
            # The server has waited for answers as long as it may.
            connection.close_away()
        finally:
            self._open.discard(connection)
            connection.lost()

    async def watch(self) -> None:
        """Close the connections of keys that may not call any more, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for at, connection in enumerate(tuple(self._open)):
                connection.check()
                if at % CHECKS_AT_ONCE == 0:
                    await asyncio.sleep(0)

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

    __slots__ = ("_endpoint", "_fingerprint", "_headers", "_key", "_socket", "_tasks", "_turns")

    def __init__(self, endpoint: ChatSocket, websocket: WebSocket, key: str, caller: Caller) -> None:
        self._endpoint = endpoint
        self._key = key
        self._fingerprint = caller.key.fingerprint
        self._headers = passed_on(websocket, key)
        self._turns: set[Turn] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket: GatewaySockets = websocket.scope[SOCKET]
        self._socket.session = self

    async def run(self, websocket: WebSocket) -> None:
        """Read frames and answer them until one side has enough."""
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            self._take(message.get("text"))

    def lost(self) -> None:
        """The socket is gone; its calls go on for their grace time."""
        self._socket.session = None
        for task in tuple(self._tasks):
            task.cancel()
        for turn in tuple(self._turns):
            turn.leave()

    def check(self) -> None:
        """End a connection whose key may not call any more."""
        calls = self._endpoint.calls
        caller = calls.gate.directory.caller(self._fingerprint)
        try:
            if caller is None:
                raise Unauthenticated("invalid_api_key", "The API key is not known any more.")
            check_caller(caller, calls.gate.clock.now_us())
        except GatewayError as error:
            self._socket.end(POLICY, error.message[:REASON_CHARACTERS])

    # The socket (this is its Session).

    def paced(self) -> None:
        """The peer has become slow, or caught up."""
        for turn in tuple(self._turns):
            turn.paced()

    def leave(self) -> None:
        """The server stops: close once what is under way has ended."""
        if not (self._turns or self._tasks):
            self.close_away()

    def close_away(self) -> None:
        """Say that another worker can be asked."""
        self._socket.end(GOING_AWAY, "The worker stops; connect again.")

    # Frames.

    def _take(self, text: str | None) -> None:
        try:
            if text is None:
                raise BadRequest(
                    "invalid_json", "Binary frames are not spoken here.", hint="Send JSON as text."
                )
            wish = read_frame(text)
        except GatewayError as error:
            self._fail(error, None, _request_id(text))
            return
        if isinstance(wish, Ping):
            self._socket.send_texts([PONG])
        elif self._socket.is_leaving and not isinstance(wish, Cancel):
            stopping = Unavailable(
                "draining", "This worker is stopping.", hint="Connect again.", retry_after_s=1
            )
            self._fail(stopping, None, wish.request_id)
        elif len(self._turns) + len(self._tasks) >= MOST_AT_ONCE and not isinstance(wish, Cancel):
            limited = RateLimited(
                "too_many_in_flight",
                f"{MOST_AT_ONCE} answers are under way on this connection.",
                hint="Wait for one of them, or open another connection.",
            )
            self._fail(limited, None, wish.request_id)
        elif isinstance(wish, Ask):
            self._ask(wish)
        elif isinstance(wish, Resume):
            self._spawn(self._resume(wish), wish.call, wish.request_id)
        else:
            self._spawn(self._cancel(wish), wish.call, None)

    def _ask(self, wish: Ask) -> None:
        inbound = InboundCall(self._endpoint.format, PATH, self._headers, wish.body)
        turn = self._turn(wish.request_id, 0)
        if wish.idempotency_key is None:
            turn.follow(self._endpoint.calls.begin(inbound, turn, is_socket=True))
        else:
            self._spawn(self._ask_once(wish.idempotency_key, inbound, turn), None, wish.request_id)

    async def _ask_once(self, key: str, inbound: InboundCall, turn: Turn) -> None:
        """The call that the key stands for, whoever has it."""
        calls = self._endpoint.calls
        try:
            caller = await caller_of(calls, self._key)
            turn.follow(await calls.begin_keyed(caller, key, inbound, turn, is_socket=True))
        except Elsewhere as there:
            if not await self._follow_elsewhere(there.call, 0, turn):
                raise there.error from None
        finally:
            if turn.call is None:
                self.ended(turn)

    async def _resume(self, wish: Resume) -> None:
        calls = self._endpoint.calls
        key = (await caller_of(calls, self._key)).key
        turn = self._turn(wish.request_id, wish.after)
        try:
            found = calls.find(wish.call)
            if found is None:
                if not await self._follow_elsewhere(wish.call, wish.after, turn):
                    raise await self._endpoint.neighbours.fate(wish.call, key)
                return
            call = visible(found, key)
            if not call.is_chat:
                raise BadRequest(
                    "invalid_value",
                    "This call is no chat completion.",
                    hint="GET /v1/calls/{id}/events has its events.",
                    param="call",
                )
            call.follow(turn, wish.after)
            turn.follow(call)
        finally:
            if turn.call is None:
                self.ended(turn)

    async def _follow_elsewhere(self, call: str, after: int, turn: Turn) -> bool:
        """Pass on what another worker has of a call; False when it cannot be reached."""
        frames = await self._endpoint.neighbours.frames(call, after, self._headers[0][1])
        if frames is None:
            return False
        turn.named(call)
        async for frame in frames:
            await turn.pass_on(frame)
        return True

    async def _cancel(self, wish: Cancel) -> None:
        calls = self._endpoint.calls
        key = (await caller_of(calls, self._key)).key
        found = calls.find(wish.call)
        if found is None:
            if await self._endpoint.neighbours.cancel(wish.call, self._headers[0][1]) is None:
                raise await self._endpoint.neighbours.fate(wish.call, key)
        else:
            visible(found, key).cancel()

    def _turn(self, request_id: str | None, after: int) -> Turn:
        turn = Turn(self._socket, request_id, after, self.ended)
        self._turns.add(turn)
        return turn

    def ended(self, turn: Turn) -> None:
        """An answer has been told to its end."""
        self._turns.discard(turn)
        self._leave_if_told()

    def _leave_if_told(self) -> None:
        if self._socket.is_leaving:
            self.leave()

    def _spawn(self, work: Coroutine[None, None, None], call: str | None, request_id: str | None) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, GatewayError):
                self._fail(error, call, request_id)
            elif error is not None:
                self._endpoint.calls.gate.crashed(call or "", error)
                self._socket.end(INTERNAL, "The gateway failed; it has been logged.")
            self._leave_if_told()

        task.add_done_callback(done)

    def _fail(self, error: GatewayError, call: str | None, request_id: str | None) -> None:
        told = {"call": call, "request_id": request_id}
        frame = {"error": msgspec.Raw(error_object(error))}
        named = {name: text for name, text in told.items() if text is not None}
        self._socket.send_texts([msgspec.json.encode({**frame, **named})])


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


class _Asked(msgspec.Struct):
    request_id: str | None = None


def _request_id(text: str | None) -> str | None:
    """The request id of a frame that was refused, where it can be read."""
    try:
        return msgspec.json.decode(text or "{}", type=_Asked).request_id
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
