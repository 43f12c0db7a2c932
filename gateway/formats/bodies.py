"""Reads request bodies: a JSON object whose deciding members are checked and whose rest is left alone.

Owns how a body is refused. Values are decoded only where a format asks for them; the rest is stepped over
at the speed of C, though its JSON and UTF-8 are validated on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final, TypeVar

import msgspec

from gateway.domain.errors import BadRequest
from gateway.formats.splice import Member, Unspliceable, locate

__all__ = ["Body", "integer_from", "open_body"]

T = TypeVar("T")


class Body:
    """One request body, opened: `raw` as it came, `members` in their order."""

    def __init__(self, raw: bytes, fields: dict[str, msgspec.Raw], members: list[Member]) -> None:
        self.raw = raw
        self.members = members
        self._fields = fields

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def take(self, key: str, decoder: msgspec.json.Decoder[T]) -> T | None:
        """The member's value, None where it is absent. Raises BadRequest where it has another type."""
        raw = self._fields.get(key)
        if raw is None:
            return None
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError as refused:
            raise _wrong(key, refused) from refused
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
            raise not_json(broken) from broken

    def raw_of(self, key: str) -> bytes:
        """The member's value as it was written; empty where it is absent."""
        return bytes(self._fields.get(key, b""))


def open_body(raw: bytes, unique: Collection[str]) -> Body:
    """Raise BadRequest for what is no JSON object, and for a key of `unique` that is there twice.

    Of a repeated key one reader takes the first value and another the last, so one that decides about money
    must not be repeated.
    """
    try:
        if not raw.isascii():
            raw.decode()
        fields, members = locate(raw)
    except msgspec.ValidationError as refused:
        raise BadRequest(
            "invalid_value", "The body is not a JSON object.", hint="Send an object: {...}."
        ) from refused
    except Unspliceable as refused:
        raise BadRequest("invalid_value", f"The body has {refused}.", hint="Send each key once.") from refused
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise not_json(broken) from broken
    if len(members) > len(fields):
        refuse_repeated(members, unique)
    return Body(raw, fields, members)


def refuse_repeated(members: list[Member], unique: Collection[str], within: str = "") -> None:
    """Raise BadRequest where a key of `unique` stands twice among the members of the object `within`."""
    for key, times in Counter(member.key for member in members).items():
        if times > 1 and key in unique:
            raise BadRequest(
                "invalid_value",
                f"`{within}{key}` is in the body {times} times.",
                param=within + key,
                hint="Send each key once.",
            )


def not_json(broken: Exception) -> BadRequest:
    """The refusal of a body that cannot be read; says where reading stopped."""
    return BadRequest(
        "invalid_json",
        f"The body could not be read as JSON: {broken}.",
        hint="Send one JSON object in UTF-8 with fewer than 1,000 levels of nesting.",
    )


def _wrong(key: str, refused: msgspec.ValidationError) -> BadRequest:
    """msgspec says `Expected `str`, got `int` - at `$[0].content``: the path names the parameter."""
    words, _, path = str(refused).partition(" - at `$")
    param = key + path.rstrip("`")
    return BadRequest(
        "invalid_value", f"`{param}` has a value it cannot have: {words}.", param=param, hint=words + "."
    )


_INTEGER: Final = msgspec.json.Decoder(int | None)


def integer_from(body: Body, key: str, least: int) -> int | None:
    """A whole number of at least `least`; None where it is absent or null."""
    value = body.take(key, _INTEGER)
    if value is not None and value < least:
        raise BadRequest(
            "invalid_value",
            f"`{key}` is {value}, but must be at least {least}.",
            param=key,
            hint=f"Send a whole number of at least {least}, or leave it out.",
        )
    return value
