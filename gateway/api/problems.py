"""Errors of the admin plane: `application/problem+json`, as RFC 9457 has it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from gateway.domain.errors import GatewayError
from gateway.formats.refusals import status_of

__all__ = ["TITLES", "Problem", "problem_response"]

TITLES = {
    400: "The request cannot be understood",
    401: "No valid admin key",
    402: "There is no price",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "It contradicts something that is already so",
    412: "It has changed in the meantime",
    413: "Too large",
    415: "Unsupported media type",
    422: "The Idempotency-Key belongs to another request",
    429: "Too much at once",
    431: "Too large",
    502: "The provider is away",
    503: "Unavailable for the moment",
    504: "The provider is away",
}


class Problem(msgspec.Struct, kw_only=True):
    """What went wrong. `code` is stable; `hint` says how to put it right; `param` names the field."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    param: str | None


def problem_response(
    error: GatewayError, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to a request that failed; `status` where HTTP has a closer one than the error's own."""
    status = status_of(error) if status is None else status
    problem = Problem(
        type=f"urn:tollgate:problem:{error.code}",
        title=TITLES[status],
        status=status,
        detail=error.message,
        code=error.code,
        hint=error.hint,
        param=error.param,
    )
    sent = {"cache-control": "no-store", **(headers or {})}
    if status == 401:
        sent["www-authenticate"] = 'Bearer realm="tollgate"'
    if error.retry_after_s is not None:
        sent["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    return Response(msgspec.json.encode(problem), status, headers=sent, media_type="application/problem+json")
