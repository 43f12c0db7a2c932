"""One request and its answer: reads it, books it, lets the dialect answer, delivers, closes the book."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.types import Receive, Scope, Send

from gateway.simulators.answers import Answer, Ask, compose, open_bill
from gateway.simulators.behaviour import Behaviour, BehaviourError
from gateway.simulators.bill import SeenRequest, without_secrets
from gateway.simulators.delivery import Call, deliver
from gateway.simulators.events import Body, Stream
from gateway.simulators.json_bytes import compact, readable
from gateway.simulators.stage import Played, Stage
from gateway.simulators.wire import ClientGone, Headers, Wire

__all__ = ["Dialect", "Exchange", "Rejection", "Request", "accept"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a dialect sees it. Header names are lower case; `params` are the parts of the path."""

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def bearer(self) -> str | None:
        """The key in ``Authorization: Bearer``, if there is one."""
        scheme, _, key = self.headers.get("authorization", "").partition(" ")
        return key.strip() or None if scheme.lower() == "bearer" else None


@dataclass(slots=True)
class Rejection(Exception):
    """An error answer of a provider: its status, its body, its headers."""

    status: int
    document: Any
    headers: Headers = field(default_factory=list)
    content_type: bytes = b"application/json"
    indent: int | None = 2

    def body(self) -> Body:
        """The answer to deliver."""
        data = readable(self.document) if self.indent else compact(self.document)
        return Body(data, self.status, self.headers, self.content_type)


# Answers a request, having set the call's behaviour and opened its bill. Raises Rejection.
Dialect = Callable[[Request, Call], Body | Stream]


def accept(call: Call, ask: Ask, served: str, told: Callable[[Behaviour, str], Rejection]) -> list[Answer]:
    """Let a request in that is in order: choose the call's behaviour, open its bill, compose its answers.

    `told` makes the error of a call that is told to fail with a status.
    """
    call.billed.model = ask.model
    call.behaviour = chosen = call.stage.behaviour_for(call.billed.provider, ask.model, ask.prompt)
    if chosen.status is not None:
        raise told(chosen, ask.model)
    open_bill(call.billed, ask, chosen, served)
    return compose(ask, chosen)


class Exchange:
    """The ASGI endpoint of one path of one provider. `refuse` makes that provider's 400."""

    def __init__(
        self, stage: Stage, provider: str, dialect: Dialect, refuse: Callable[[str], Rejection]
    ) -> None:
        self._stage = stage
        self._provider = provider
        self._dialect = dialect
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that leaves is noted on the bill and is no error."""
        wire = Wire(scope, receive, send)
        call = Call(wire, self._stage, self._stage.bill.open(self._provider, scope["path"]))
        await self._stage.announce()
        try:
            request = _read(scope, await wire.body())
            self._stage.transcript.add(_seen(request, scope, call))
            await deliver(call, self._answer(request, call))
        except ClientGone:
            if call.billed.ending == "open":
                call.billed.ending = "client_gone"
        finally:
            await wire.release()
            await self._stage.announce()

    def _answer(self, request: Request, call: Call) -> Body | Stream:
        try:
            waiting = self._stage.played[self._provider]
            return _played(call, waiting.popleft()) if waiting else self._dialect(request, call)
        except Rejection as rejection:
            return _rejected(call, rejection)
        except BehaviourError as error:
            document = {"error": {"type": "simulator_error", "message": str(error)}}
            return _rejected(call, Rejection(400, document))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # The checks of a dialect are those that matter to a gateway; they do not foresee every shape.
            return _rejected(call, self._refuse(f"Invalid request: {type(error).__name__}: {error}"))


def _played(call: Call, played: Played) -> Body:
    """An answer prepared by a test. It is nobody's to bill."""
    call.billed.status = played.status
    call.behaviour = call.behaviour.with_values({"chunk": played.chunk})
    headers = [(name.lower().encode(), value.encode()) for name, value in played.headers.items()]
    # A body with a length is sent as one; events come in chunks.
    counted = not played.content_type.startswith("text/event-stream")
    return Body(played.body, played.status, headers, played.content_type.encode(), counted=counted)


def _rejected(call: Call, rejection: Rejection) -> Body:
    call.ending = "error"
    call.billed.status = rejection.status
    return rejection.body()


def _read(scope: Scope, body: bytes) -> Request:
    return Request(
        method=scope["method"],
        path=scope["path"],
        params=scope.get("path_params", {}),
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


def _seen(request: Request, scope: Scope, call: Call) -> SeenRequest:
    query = {name: f"***{value[-4:]}" if name == "key" else value for name, value in request.query.items()}
    return SeenRequest(
        id=call.billed.id,
        provider=call.billed.provider,
        method=request.method,
        path=request.path,
        query=urlencode(query),
        headers=without_secrets(scope["headers"]),
        body=request.body,
    )
