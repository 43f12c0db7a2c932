"""Runs one request of the admin plane.

1. whose key is it (401)   2. may this role do this (403)   3. what is asked: query, body, headers (400, 413)
   and whether it can be (its own check)
4. one transaction: the Idempotency-Key is claimed, the topics are locked, the operation runs, the audit log
   is told, the answer is kept   5. the live state hears of it   6. answered
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.admin.operations import AdminDeps, Call, Done, Operation, etag
from gateway.api.admin.reading import bearer, decode, idempotency_key, path_ids, read_body, read_query
from gateway.api.admin.roles import ROLES
from gateway.api.problems import problem_response
from gateway.domain.errors import BadRequest, Forbidden, GatewayError, NotFound, Unauthenticated
from gateway.domain.keys import fingerprint
from gateway.domain.tenancy import AdminKey
from gateway.store import audit
from gateway.store.admin_keys import admin_by_fingerprint
from gateway.store.answers import Asked, Kept, claim, keep
from gateway.store.revisions import next_number

__all__ = ["Endpoint", "NoEndpoint"]

_JSON: Final = "application/json"
_REPLAYED: Final = "idempotency-replayed"


class Endpoint:
    """The operations of one path, by method."""

    def __init__(self, deps: AdminDeps, operations: Sequence[Operation]) -> None:
        self._deps = deps
        self._operations = {operation.method: operation for operation in operations}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        operation = self._operations.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            response = self._not_allowed(request.method)
        else:
            try:
                response = await self._answer(request, operation)
            except GatewayError as error:
                response = problem_response(error, status=_closer_status(error))
        await response(scope, receive, send)

    async def _answer(self, request: Request, operation: Operation) -> Response:
        text = bearer(request)
        admin = await self._deps.database.read(admin_by_fingerprint, fingerprint(text))
        if admin is None:
            raise Unauthenticated(
                "invalid_api_key",
                "The admin key is not known, or it is revoked.",
                hint="An owner can make another: POST /admin/admin-keys.",
            )
        _require_role(admin, operation)
        body = b""
        if operation.body is not None:
            most = self._deps.max_body_bytes
            body = await read_body(request, most, may_be_empty=operation.may_be_empty)
        call = self._call(request, operation, admin, body)
        if operation.check is not None:
            await operation.check(call)
        if not operation.is_write:
            return _response(operation, await self._deps.database.read(operation.run, call))
        asked = _asked(request, admin, body, text) if operation.method == "POST" else None
        response, topics = await self._deps.database.write(_change, operation, call, asked)
        for topic in topics:
            self._deps.changed(topic)
        return response

    def _call(self, request: Request, operation: Operation, admin: AdminKey, body: bytes) -> Call[Any, Any]:
        return Call(
            deps=self._deps,
            admin=admin,
            now_us=self._deps.clock.now_us(),
            path=path_ids(request),
            query=read_query(request, operation.query),
            body=None if operation.body is None else decode(body, operation.body),
            if_match=request.headers.get("if-match"),
        )

    def _not_allowed(self, method: str) -> Response:
        allowed = ", ".join(sorted(self._operations))
        error = NotFound(
            "unsupported_endpoint", f"{method[:20]} is not possible here.", hint=f"Possible: {allowed}."
        )
        return problem_response(error, status=405, headers={"allow": allowed})


class NoEndpoint:
    """Whatever else begins with `/admin`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404."""
        error = NotFound(
            "unsupported_endpoint",
            "The admin plane has no such path.",
            hint="/openapi.json lists the paths there are.",
        )
        await problem_response(error)(scope, receive, send)


def _require_role(admin: AdminKey, operation: Operation) -> None:
    allowed = ROLES[operation.name]
    if admin.role not in allowed:
        raise Forbidden(
            "role_not_allowed",
            f"A key with the role {admin.role} may not do this.",
            hint=f"Use a key with the role {' or '.join(allowed)}.",
        )


def _asked(request: Request, admin: AdminKey, body: bytes, text: str) -> Asked | None:
    key = idempotency_key(request)
    if key is None:
        return None
    digest = hashlib.sha256(request.url.path.encode() + b"\n" + body).digest()
    return Asked(admin.id, key, digest, text)


def _change(
    conn: Connection, operation: Operation, call: Call[Any, Any], asked: Asked | None
) -> tuple[Response, Sequence[str]]:
    """The whole change, in one transaction: the answer to send, and the topics that changed."""
    if asked is not None and (kept := claim(conn, asked, call.now_us)) is not None:
        return _replayed(kept), ()
    # Locked before anything is read, so that what an If-Match is compared with cannot change any more.
    for topic in operation.topics:
        next_number(conn, topic)
    done = operation.run(conn, call)
    if done.change is not None:
        _tell_audit(conn, call, done)
    response = _response(operation, done)
    if asked is not None:
        keep(conn, asked, Kept(response.status_code, bytes(response.body)))
    return response, operation.topics


def _tell_audit(conn: Connection, call: Call[Any, Any], done: Done) -> None:
    change = done.change
    assert change is not None
    audit.record(
        conn,
        at_us=call.now_us,
        actor=call.admin.id,
        action=change.action,
        object_id=change.object_id,
        before=_plain(change.before),
        after=_plain(change.after),
    )


def _plain(value: msgspec.Struct | None) -> Mapping[str, Any] | None:
    """As JSON has it, which is how the audit log hashes it."""
    return None if value is None else msgspec.json.decode(msgspec.json.encode(value))


def _response(operation: Operation, done: Done) -> Response:
    status = operation.status if done.status is None else done.status
    headers = {"cache-control": "no-store"}
    if done.revision is not None:
        headers["etag"] = etag(done.revision)
    if done.answer is None:
        return Response(status_code=204, headers=headers)
    return Response(msgspec.json.encode(done.answer), status, headers=headers, media_type=_JSON)


def _replayed(kept: Kept) -> Response:
    headers = {"cache-control": "no-store", _REPLAYED: "true"}
    return Response(kept.body, kept.status, headers=headers, media_type=_JSON)


def _closer_status(error: GatewayError) -> int | None:
    """415 says better than 400 that only the type of the body is wrong."""
    return 415 if isinstance(error, BadRequest) and error.param == "Content-Type" else None
