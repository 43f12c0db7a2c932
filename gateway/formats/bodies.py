"""Reads request bodies: a JSON object whose deciding members are checked and whose rest is left alone.

Owns how a body is refused. A format names the members it reads, with their types; the rest is stepped over
at the speed of C, though its JSON and UTF-8 are validated on the way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Final, TypeVar

import msgspec

from gateway.domain.errors import BadRequest
from gateway.formats.splice import Member, Unspliceable, locate

__all__ = ["open_body", "refuse_control", "refuse_repeated"]

T = TypeVar("T")


def open_body(raw: bytes, shape: msgspec.json.Decoder[T], unique: Collection[str]) -> tuple[T, list[Member]]:
    """The body in the shape a format reads, and the places of its members.

    Raises BadRequest for what is no JSON object of that shape, and for a key of `unique` that is there
    twice: of a repeated key one reader takes the first value and another the last, so one that decides
    about money must not be repeated.
    """
    try:
        if not raw.isascii():
            raw.decode()
        members = locate(raw)
        refuse_repeated(members, unique)
        _refuse_miscased(members, unique)
        return shape.decode(raw), members
    except msgspec.ValidationError as refused:
        raise _wrong(refused) from refused
    except Unspliceable as refused:
        raise BadRequest("invalid_value", f"The body has {refused}.", hint="Send each key once.") from refused
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise BadRequest(
            "invalid_json",
            f"The body could not be read as JSON: {broken}.",
            hint="Send one JSON object in UTF-8 with fewer than 1,000 levels of nesting.",
        ) from broken


def refuse_repeated(members: list[Member], unique: Collection[str], within: str = "") -> None:
    """Raise BadRequest where a key of `unique` stands twice among the members of the object `within`."""
    if len({member.key for member in members}) == len(members):
        return
    for key, times in Counter(member.key for member in members).items():
        if times > 1 and key in unique:
            raise BadRequest(
                "invalid_value",
                f"`{within}{key}` is in the body {times} times.",
                param=within + key,
                hint="Send each key once.",
            )


def _refuse_miscased(members: list[Member], unique: Collection[str]) -> None:
    """Upstreams written in Go take `Max_Tokens` for `max_tokens`, so that here it may not mean nothing."""
    for member in members:
        if member.key not in unique and member.key.lower() in unique:
            raise BadRequest(
                "invalid_value",
                f"`{member.key}` is not `{member.key.lower()}`.",
                param=member.key,
                hint="Write the key in lower case.",
            )


def refuse_control(name: str | None, param: str) -> None:
    """Raise BadRequest for a name that cannot be printed.

    Names go into logs, URLs and SQL, where a NUL or a line end does harm.
    """
    if name is not None and not name.isprintable():
        raise BadRequest(
            "invalid_value",
            f"`{param}` has a character that cannot be printed.",
            param=param,
            hint="Leave out control characters.",
        )


def _wrong(refused: msgspec.ValidationError) -> BadRequest:
    """msgspec says `Expected `str`, got `int` - at `$.messages[0].content``: the path is the parameter."""
    words, _, path = str(refused).partition(" - at `$")
    param = path.strip(".`")
    missing = _MISSING.fullmatch(words)
    if missing is not None:
        param, words = ".".join(filter(None, (param, missing[1]))), "it is missing"
    return BadRequest(
        "invalid_value",
        f"`{param}` cannot be used: {words}." if param else f"The body cannot be used: {words}.",
        param=param or None,
        hint="See the provider's reference for what this endpoint takes.",
    )


_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
