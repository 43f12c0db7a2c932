"""How every refusal looks to the caller: one table, rendered in each dialect.

Owns the HTTP status, the words of each dialect and the retry advice of every error code. Error shapes:
OpenAI's `{"error": {message, type, param, code}}` (openai-python, `_exceptions.APIError`), Anthropic's
`{"type": "error", "error": {type, message}}` (anthropic-sdk-python, `types/error_response.py`) and
Google's `{"error": {code, message, status, details}}` (google.rpc.Status, python-genai `errors.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.domain.errors import GatewayError
from gateway.formats.base import Dialect

__all__ = ["REFUSALS", "Refusal", "Row", "render", "render_body", "render_event", "status_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """What one error code looks like: status, OpenAI `type`, Anthropic `type`, Gemini `status`.

    `code` is OpenAI's `code` where it is not the error's own. `waiting_helps` lets SDKs retry; without it
    they are told not to, since they would retry every 409, 429 and 5xx by themselves.
    """

    status: int
    openai: str
    anthropic: str
    gemini: str
    waiting_helps: bool = False
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer ready to send: status, headers (names in lower case) and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


_UNAUTHENTICATED: Final = Row(401, "invalid_request_error", "authentication_error", "UNAUTHENTICATED")
_FORBIDDEN: Final = Row(403, "permission_error", "permission_error", "PERMISSION_DENIED")
_NOT_FOUND: Final = Row(404, "invalid_request_error", "not_found_error", "NOT_FOUND")
_INVALID: Final = Row(400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT")
_CONFLICT: Final = Row(409, "invalid_request_error", "invalid_request_error", "ABORTED")
_LIMITED: Final = Row(429, "requests", "rate_limit_error", "RESOURCE_EXHAUSTED", waiting_helps=True)
_UNAVAILABLE: Final = Row(503, "server_error", "api_error", "UNAVAILABLE", waiting_helps=True)

REFUSALS: Final[dict[str, Row]] = {
    "invalid_api_key": _UNAUTHENTICATED,
    "blocked": _FORBIDDEN,
    "model_not_allowed": _FORBIDDEN,
    "role_not_allowed": _FORBIDDEN,
    "model_not_found": _NOT_FOUND,
    "unsupported_endpoint": _NOT_FOUND,
    "call_not_found": _NOT_FOUND,
    "not_found": _NOT_FOUND,
    "price_missing": Row(402, "invalid_request_error", "billing_error", "FAILED_PRECONDITION"),
    "budget_exceeded": Row(429, "insufficient_quota", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    "budget_held": Row(
        429, "insufficient_quota", "rate_limit_error", "RESOURCE_EXHAUSTED", waiting_helps=True
    ),
    "rate_limit_exceeded": _LIMITED,
    "too_many_in_flight": _LIMITED,
    "upstream_rate_limited": _LIMITED,
    "invalid_json": _INVALID,
    "invalid_value": _INVALID,
    "unsupported_field": _INVALID,
    "max_tokens_exceeded": _INVALID,
    "request_too_large": Row(413, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT"),
    "headers_too_large": Row(
        431, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT", code="request_too_large"
    ),
    "idempotency_mismatch": Row(422, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    "idempotency_conflict": _CONFLICT,
    "conflict": _CONFLICT,
    "precondition_failed": Row(412, "invalid_request_error", "invalid_request_error", "FAILED_PRECONDITION"),
    "cancelled": _CONFLICT,
    "interrupted": _CONFLICT,
    "answer_gone": _CONFLICT,
    "ledger_unavailable": _UNAVAILABLE,
    "draining": _UNAVAILABLE,
    "upstream_unavailable": Row(502, "server_error", "api_error", "UNAVAILABLE", waiting_helps=True),
    "upstream_timeout": Row(
        504, "server_error", "api_error", "UNAVAILABLE", waiting_helps=True, code="upstream_unavailable"
    ),
}


def status_of(error: GatewayError) -> int:
    """The HTTP status of an error."""
    return REFUSALS[error.code].status


def render(error: GatewayError, dialect: Dialect) -> Refusal:
    """The answer that refuses a call, in the caller's dialect."""
    row = REFUSALS[error.code]
    headers = [("content-type", "application/json")]
    if not row.waiting_helps:
        headers.append(("x-should-retry", "false"))
    elif error.retry_after_s is not None:
        # The OpenAI and Anthropic SDKs read the milliseconds first; everybody reads the seconds.
        headers.append(("retry-after", str(max(1, math.ceil(error.retry_after_s)))))
        headers.append(("retry-after-ms", str(max(1, math.ceil(error.retry_after_s * 1000)))))
    return Refusal(row.status, tuple(headers), msgspec.json.encode(_body(error, row, dialect)))


def render_body(error: GatewayError, dialect: Dialect) -> bytes:
    """The error alone, as JSON."""
    return msgspec.json.encode(_body(error, REFUSALS[error.code], dialect))


def render_event(error: GatewayError, dialect: Dialect) -> bytes:
    """The error as an event inside a stream that has begun; the stream ends with it, nothing follows."""
    body = render_body(error, dialect)
    if dialect == "anthropic":
        return b"event: error\ndata: " + body + b"\n\n"
    if dialect == "gemini":
        return b"data: " + body + b"\r\n\r\n"
    return b"data: " + body + b"\n\n"


def _body(error: GatewayError, row: Row, dialect: Dialect) -> dict[str, Any]:
    ours = {"code": error.code, **error.fields, "hint": error.hint}
    if dialect == "anthropic":
        return {
            "type": "error",
            "error": {"type": row.anthropic, "message": error.message, "tollgate": ours},
        }
    if dialect == "gemini":
        return {"error": _gemini(error, row, ours)}
    return {
        "error": {
            "message": error.message,
            "type": _openai_type(error, row),
            "param": error.param,
            "code": row.code or error.code,
            "tollgate": ours,
        }
    }


def _openai_type(error: GatewayError, row: Row) -> str:
    # OpenAI's own rate limits name what ran out: "requests" or "tokens".
    return "tokens" if row is _LIMITED and error.fields.get("unit") == "tokens" else row.openai


def _gemini(error: GatewayError, row: Row, ours: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"code": row.status, "message": error.message, "status": row.gemini}
    if row.waiting_helps and error.retry_after_s is not None:
        # Google's SDKs look here, not at a header.
        seconds = max(1, math.ceil(error.retry_after_s))
        body["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"}]
    body["tollgate"] = ours
    return body
