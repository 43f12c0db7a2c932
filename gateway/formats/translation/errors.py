"""The errors of one dialect in the words of another.

Three shapes: OpenAI's `{"error": {message, type, param, code}}`, Anthropic's `{"type": "error", "error":
{type, message}}`, Google's `{"error": {code, message, status}}`, which comes in a list of one where an array
was asked for. Servers such as vLLM leave out the frame and say `"object": "error"`. What is none of these
(a proxy's page) is told by its status.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["Fault", "anthropic_error", "chat_error", "read_fault"]

# What a client takes an error of this status for; the SDKs choose their exception by the status alone.
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_TYPES: Final = {429: "rate_limit_error", 401: "authentication_error", 403: "permission_error"}
# Where the error came in a stream it has no status but this.
_STATUS_OF: Final = {
    **{kind: status for status, kind in _ANTHROPIC_TYPES.items()},
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "rate_limit_exceeded": 429,
}
# Anthropic's own status for an overload, which nobody else knows; SDKs try either again.
_OVERLOADED: Final = 529


class Fault(NamedTuple):
    """What an error says: its provider's name for it, its words, the field that is wrong."""

    status: int
    kind: str
    message: str
    param: str | None = None


def read_fault(body: bytes, status: int | None = None) -> Fault:
    """The error in a body of any dialect; without a status, the kind of the error tells it."""
    error = _error_in(body)
    kind = next((each for name in ("status", "code", "type") if isinstance(each := error.get(name), str)), "")
    message = error.get("message")
    if not isinstance(message, str) or not message:
        message = "The provider refused the call." if (status or 500) < 500 else "The provider failed."
    code = error.get("code")
    told = status or (code if isinstance(code, int) else None) or _STATUS_OF.get(kind, 500)
    param = error.get("param")
    return Fault(told, kind or "error", message, param if isinstance(param, str) else None)


def _error_in(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    if isinstance(decoded, dict) and decoded.get("object") == "error":
        return decoded
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return error if isinstance(error, dict) else {}


def chat_error(fault: Fault) -> tuple[int, bytes]:
    """The status and the body of an error for a client that speaks OpenAI's dialect."""
    status = 503 if fault.status == _OVERLOADED else fault.status
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {"message": fault.message, "type": kind, "param": fault.param, "code": fault.kind}
    return status, msgspec.json.encode({"error": error})


def anthropic_error(fault: Fault) -> tuple[int, bytes]:
    """The status and the body of an error for a client that speaks Anthropic's dialect."""
    kind = _ANTHROPIC_TYPES.get(fault.status, "invalid_request_error" if fault.status < 500 else "api_error")
    error = {"type": kind, "message": fault.message}
    return fault.status, msgspec.json.encode({"type": "error", "error": error, "request_id": None})
