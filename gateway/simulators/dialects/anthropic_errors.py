"""The errors of Anthropic's API: ``{"type":"error","error":{type,message},"request_id"}``."""

from __future__ import annotations

from typing import Final

from gateway.simulators.behaviour import Behaviour
from gateway.simulators.exchange import Rejection
from gateway.simulators.wire import Headers

__all__ = ["anthropic_error", "invalid", "told_status"]

_REQUEST_ID: Final = "req_simulated"
_STATUSES: Final = {
    400: ("invalid_request_error", "The request was refused."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
    ),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


def anthropic_error(
    status: int, kind: str, message: str, headers: Headers | None = None, *, retry: bool | None = None
) -> Rejection:
    """An error in Anthropic's shape. `retry` is its advice to the SDK, where it gives any."""
    sent: Headers = [(b"request-id", _REQUEST_ID.encode()), *(headers or [])]
    if retry is not None:
        sent.append((b"x-should-retry", b"true" if retry else b"false"))
    document = {"type": "error", "error": {"type": kind, "message": message}, "request_id": _REQUEST_ID}
    return Rejection(status, document, sent, indent=None)


def invalid(message: str) -> Rejection:
    """A 400, which is not worth trying again."""
    return anthropic_error(400, "invalid_request_error", message, retry=False)


def told_status(chosen: Behaviour, model: str) -> Rejection:
    """The error a behaviour asks for by `status`."""
    status = chosen.status or 500
    if status == 404:
        return anthropic_error(404, "not_found_error", f"model: {model}", retry=False)
    kind, message = _STATUSES.get(status, ("api_error", f"Status {status}."))
    wait: Headers = [] if chosen.retry_after is None else [(b"retry-after", b"%g" % chosen.retry_after)]
    return anthropic_error(status, kind, message, wait, retry=None if status >= 429 else False)
