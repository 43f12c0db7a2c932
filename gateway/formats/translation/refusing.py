"""How a translation refuses: what the other dialect cannot say is named, never left out in silence."""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from gateway.domain.errors import BadRequest, UpstreamFailed

__all__ = ["invalid", "is_set", "read_request", "unreadable", "unsupported"]

T = TypeVar("T")

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+)`")


def unsupported(param: str, other: str, hint: str = "") -> NoReturn:
    """Refuse a field that has no equal in the dialect of `other`."""
    raise BadRequest(
        "unsupported_field",
        f"`{param}` cannot be said to {other}.",
        hint=hint or "Leave it out, or ask for a model whose provider speaks this API itself.",
        param=param,
    )


def invalid(param: str, why: str, hint: str) -> NoReturn:
    """Refuse a value that is wrong in any dialect."""
    raise BadRequest("invalid_value", f"`{param}` cannot be used: {why}.", hint=hint, param=param)


def read_request(body: bytes, shape: msgspec.json.Decoder[T], other: str) -> T:
    """The request in the shape that can be translated; a field that is not in it is refused by name."""
    try:
        return shape.decode(body)
    except msgspec.ValidationError as refused:
        words, _, path = str(refused).partition(" - at `$")
        where = path.strip(".`")
        unknown = _UNKNOWN.fullmatch(words)
        if unknown is not None:
            unsupported(".".join(filter(None, (where, unknown[1]))), other)
        invalid(where or "body", words, "See the provider's reference for what this endpoint takes.")


def unreadable(broken: Exception | None = None) -> UpstreamFailed:
    """An answer that is not what the upstream's dialect knows."""
    error = UpstreamFailed(
        "upstream_unavailable",
        "The upstream's answer could not be translated: it is not what its API promises.",
        hint="Try again.",
    )
    error.__cause__ = broken
    return error


def is_set(value: Any) -> bool:
    """Whether a field that may be null or empty asks for anything."""
    return value not in (None, [], {}, "", False)
