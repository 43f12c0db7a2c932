"""The errors of OpenAI's API, and of those that copy its shape: ``{"error":{message,type,param,code}}``."""

from __future__ import annotations

from typing import Any, Final

from gateway.simulators.behaviour import Behaviour
from gateway.simulators.exchange import Rejection
from gateway.simulators.wire import Headers

__all__ = [
    "invalid",
    "malformed",
    "no_key",
    "no_model",
    "openai_error",
    "told_status",
    "unparsable",
    "wrong_key",
]

_KEYS_PAGE: Final = "https://platform.openai.com/account/api-keys"
_STATUSES: Final[dict[int, tuple[str, str, str | None]]] = {
    400: ("invalid_request_error", "The request was refused.", None),
    403: (
        "invalid_request_error",
        "Country, region, or territory not supported",
        "unsupported_country_region_territory",
    ),
    408: ("server_error", "Request timed out.", None),
    500: ("server_error", "The server had an error while processing your request. Sorry about that!", None),
    502: ("server_error", "Bad gateway.", None),
    503: ("server_error", "The engine is currently overloaded, please try again later", None),
    504: ("server_error", "The request timed out.", None),
}


def openai_error(
    status: int,
    message: str,
    *,
    kind: str | None = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: Headers | None = None,
) -> Rejection:
    """An error in OpenAI's shape."""
    document: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Rejection(status, document, headers or [])


def invalid(message: str, param: str | None, code: str | None = None) -> Rejection:
    """A 400 about one parameter."""
    return openai_error(400, message, param=param, code=code)


def malformed(message: str) -> Rejection:
    """A 400 about no parameter in particular."""
    return invalid(message, None)


def unparsable() -> Rejection:
    """The 400 for a body that is not JSON."""
    return invalid(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your "
        "HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid "
        "JSON. If you have trouble figuring out how to fix this, please contact us through our help center "
        "at help.openai.com.)",
        None,
    )


def no_key() -> Rejection:
    """The 401 for a request without a key."""
    return openai_error(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) "
        "if you're accessing the API from your browser and are prompted for a username and password. You "
        f"can obtain an API key from {_KEYS_PAGE}.",
    )


def wrong_key(key: str) -> Rejection:
    """The 401 for a key that is not one."""
    shown = key if len(key) < 12 else f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}"
    return openai_error(
        401,
        f"Incorrect API key provided: {shown}. You can find your API key at {_KEYS_PAGE}.",
        code="invalid_api_key",
    )


def no_model(model: str) -> Rejection:
    """The 404 for a model that does not exist."""
    return openai_error(
        404, f"The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
    )


def told_status(chosen: Behaviour, model: str) -> Rejection:
    """The error a behaviour asks for by `status` and, for a status with several, by `error`."""
    assert chosen.status is not None
    match chosen.status:
        case 401:
            return wrong_key("sk-simulated-0000")
        case 404:
            return no_model(model)
        case 429:
            return _too_many(chosen, model)
    if chosen.error == "context_length_exceeded":
        return invalid(
            "This model's maximum context length is 128000 tokens. However, your messages resulted in "
            "130001 tokens. Please reduce the length of the messages.",
            "messages",
            "context_length_exceeded",
        )
    kind, message, code = _STATUSES.get(chosen.status, ("server_error", f"Status {chosen.status}.", None))
    return openai_error(
        chosen.status, message, kind=kind, code=chosen.error or code, headers=retry_headers(chosen)
    )


def _too_many(chosen: Behaviour, model: str) -> Rejection:
    """The two 429s: one to wait for, and one that waiting does not cure."""
    if chosen.error == "insufficient_quota":
        return openai_error(
            429,
            "You exceeded your current quota, please check your plan and billing details. For more "
            "information on this error, read the docs: "
            "https://platform.openai.com/docs/guides/error-codes/api-errors.",
            kind="insufficient_quota",
            code="insufficient_quota",
        )
    wait = 1.0 if chosen.retry_after is None else chosen.retry_after
    counted = "tokens" if chosen.error == "tokens" else "requests"
    return openai_error(
        429,
        f"Rate limit reached for {model} in organization org-simulated on {counted} per min: Limit 500, "
        f"Used 500, Requested 1. Please try again in {round(wait * 1000)}ms. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
        kind=counted,
        code="rate_limit_exceeded",
        headers=[
            (b"retry-after", b"%d" % max(round(wait), 1)),
            (b"retry-after-ms", b"%d" % round(wait * 1000)),
        ],
    )


def retry_headers(chosen: Behaviour) -> Headers:
    """``retry-after``, if the behaviour names one."""
    return [] if chosen.retry_after is None else [(b"retry-after", b"%g" % chosen.retry_after)]
