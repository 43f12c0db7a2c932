"""The errors of the Gemini API: ``{"error":{code,message,status,details}}`` (google.rpc.Status)."""

from __future__ import annotations

from typing import Any, Final

from gateway.simulators.behaviour import Behaviour
from gateway.simulators.exchange import Rejection

__all__ = ["bad_key", "gemini_error", "invalid", "no_key", "no_model", "told_status"]

_CONTENT_TYPE: Final = b"application/json; charset=UTF-8"
_STATUSES: Final = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: (
        "UNAVAILABLE",
        "This model is currently experiencing high demand. Spikes in demand are usually temporary. Please "
        "try again later.",
    ),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


def gemini_error(status: int, name: str, message: str, details: list[Any] | None = None) -> Rejection:
    """An error in Google's shape."""
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if details is not None:
        error["details"] = details
    return Rejection(status, {"error": error}, content_type=_CONTENT_TYPE)


def invalid(message: str) -> Rejection:
    """A 400 about the request."""
    return gemini_error(400, "INVALID_ARGUMENT", message)


def no_model(model: str, verb: str) -> Rejection:
    """The 404 for a model that does not exist; a stream is called by the name of what it streams."""
    verb = "generateContent" if verb == "streamGenerateContent" else verb
    return gemini_error(
        404,
        "NOT_FOUND",
        f"models/{model} is not found for API version v1beta, or is not supported for {verb}. Call "
        "ListModels to see the list of available models and their supported methods.",
    )


def no_key() -> Rejection:
    """The 403 for a request without a key."""
    return gemini_error(
        403,
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). Please use API "
        "Key or other form of API consumer identity to call this API.",
    )


def bad_key() -> Rejection:
    """The answer to a key that is not one: 400, not 401 (recorded)."""
    message = "API key not valid. Please pass a valid API key."
    service = {"service": "generativelanguage.googleapis.com"}
    info = _detail("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com", metadata=service)
    details = [info, _detail("LocalizedMessage", locale="en-US", message=message)]
    return gemini_error(400, "INVALID_ARGUMENT", message, details)


def told_status(chosen: Behaviour, model: str) -> Rejection:
    """The error a behaviour asks for by `status`."""
    status = chosen.status or 500
    if status == 401:
        return bad_key()
    if status == 404:
        return no_model(model, "generateContent")
    if status == 429:
        return _exhausted(48 if chosen.retry_after is None else chosen.retry_after, model)
    name, message = _STATUSES.get(status, ("UNKNOWN", f"Status {status}."))
    return gemini_error(status, name, message)


def _exhausted(wait: float, model: str) -> Rejection:
    """A quota is used up. The only hint when to come back is RetryInfo: there is no header."""
    metric = "generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count"
    violation = {
        "quotaMetric": metric,
        "quotaId": "GenerateContentPaidTierInputTokensPerModelPerMinute",
        "quotaDimensions": {"model": model, "location": "global"},
        "quotaValue": "1000000",
    }
    link = {"description": "Gemini API quotas", "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}
    details = [
        _detail("Help", links=[link]),
        _detail("QuotaFailure", violations=[violation]),
        _detail("RetryInfo", retryDelay=f"{wait:g}s"),
    ]
    return gemini_error(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. \n* Quota exceeded "
        f"for metric: {metric}, limit: 1000000, model: {model}\nPlease retry in {wait:g}s.",
        details,
    )


def _detail(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}
