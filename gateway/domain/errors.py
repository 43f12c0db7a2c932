"""Every refusal and failure a caller can see, as data.

GatewayError
├── Unauthenticated     invalid_api_key
├── Forbidden           blocked, model_not_allowed, role_not_allowed
├── NotFound            model_not_found, unsupported_endpoint, call_not_found, not_found
├── PriceMissing        price_missing
├── BudgetExceeded      budget_exceeded     the money is spent: waiting helps only when the window turns
├── BudgetHeld          budget_held         the money is held by calls in flight: waiting helps
├── RateLimited         rate_limit_exceeded, too_many_in_flight
├── BadRequest          invalid_json, invalid_value, unsupported_field, max_tokens_exceeded
├── TooLarge            request_too_large (a body), headers_too_large
├── Conflict            idempotency_mismatch, idempotency_conflict, conflict, precondition_failed
├── Unavailable         ledger_unavailable, draining
└── UpstreamFailed      upstream_unavailable, upstream_timeout, upstream_rate_limited

An error carries fields, never a rendered answer: its HTTP status and its words in each wire dialect
are decided by `formats.refusals`, in one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

__all__ = [
    "BadRequest",
    "BudgetExceeded",
    "BudgetHeld",
    "Conflict",
    "Ended",
    "Forbidden",
    "GatewayError",
    "NotFound",
    "PriceMissing",
    "RateLimited",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UpstreamFailed",
]


class GatewayError(Exception):
    """Something the caller asked for did not happen, and why.

    `code` is stable and documented; `hint` says how to fix it; `param` names the offending field;
    `retry_after_s` is set where waiting helps; `fields` are further facts (strings, ints or None),
    such as the budget's name, cap, spent, held and reset time.
    """

    codes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
        fields: Mapping[str, str | int | None] | None = None,
    ) -> None:
        assert code in self.codes, f"{code} is not a code of {type(self).__name__}"
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.param = param
        self.retry_after_s = retry_after_s
        self.fields = dict(fields or {})


class Unauthenticated(GatewayError):
    """No key, or one that is malformed, unknown, revoked or expired."""

    codes = ("invalid_api_key",)


class Forbidden(GatewayError):
    """A known caller that may not do this."""

    codes = ("blocked", "model_not_allowed", "role_not_allowed")


class NotFound(GatewayError):
    """Nothing by that name; somebody else's things are answered the same way."""

    codes = ("model_not_found", "unsupported_endpoint", "call_not_found", "not_found")


class PriceMissing(GatewayError):
    """A model that nobody has priced is refused rather than served for nothing."""

    codes = ("price_missing",)


class BudgetExceeded(GatewayError):
    """The cap cannot pay for this call in this window, whatever happens to the calls in flight."""

    codes = ("budget_exceeded",)


class BudgetHeld(GatewayError):
    """The cap could pay once calls in flight have settled: a retry may succeed."""

    codes = ("budget_held",)


class RateLimited(GatewayError):
    """A limit by the minute or hour, or on calls in flight: a retry will succeed later."""

    codes = ("rate_limit_exceeded", "too_many_in_flight")


class BadRequest(GatewayError):
    """A body or parameter that says what cannot be understood or done."""

    codes = ("invalid_json", "invalid_value", "unsupported_field", "max_tokens_exceeded")


class TooLarge(GatewayError):
    """A body or a header beyond the configured bound."""

    codes = ("request_too_large", "headers_too_large")


class Conflict(GatewayError):
    """The request contradicts something that is already so."""

    codes = ("idempotency_mismatch", "idempotency_conflict", "conflict", "precondition_failed")


class Ended(GatewayError):
    """A call that ended without its answer: cancelled, cut off with its worker, or no longer kept."""

    codes = ("cancelled", "interrupted", "answer_gone")


class Unavailable(GatewayError):
    """The gateway cannot take the call now without risking a promise."""

    codes = ("ledger_unavailable", "draining")


class UpstreamFailed(GatewayError):
    """The provider could not be reached, went away, or refused our own credential."""

    codes = ("upstream_unavailable", "upstream_timeout", "upstream_rate_limited")
