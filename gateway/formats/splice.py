"""Changes single members of a JSON object in its own bytes: everything else stays as it was written.

Re-serialising a body would lose its whitespace, its number spellings, its repeated keys and its key
order. Here the members' places are found once (by msgspec, at the speed of C, whatever the values hold)
and edits replace byte ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

__all__ = ["Edit", "Member", "Unspliceable", "apply", "insert_first", "locate"]

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEY: Final = re.compile(rb'[ \t\r\n]*("(?:[^"\\]++|\\.)*+")[ \t\r\n]*:[ \t\r\n]*')
_AFTER: Final = re.compile(rb"[ \t\r\n]*[,}]")
_NESTING_MAX: Final = 40


class Unspliceable(ValueError):
    """The object repeats a key whose value is nested too deeply to be stepped over."""


class Member(NamedTuple):
    """One member of an object: its key, the range of the key's text, and the range of its value."""

    key: str
    key_start: int
    key_end: int
    start: int
    end: int

    def moved(self, by: int) -> Member:
        """The same member, seen from the start of the text that its object is a part of."""
        return Member(self.key, *(offset + by for offset in self[1:]))


# Replace the bytes from the first offset to the second by these.
Edit = tuple[int, int, bytes]


def _value_pattern() -> re.Pattern[bytes]:
    """Matches one JSON value of bounded depth. The text is known to be valid, so brackets need no pairing."""
    string = rb'"(?:[^"\\]++|\\.)*+"'
    value = string
    for _ in range(_NESTING_MAX):
        value = rb'[{\[](?:[^"{}\[\]]++|' + string + rb"|" + value + rb")*+[}\]]"
    return re.compile(string + rb"|" + value + rb'|[^\s,{}\[\]"]++')


_VALUE: Final = _value_pattern()


def locate(body: bytes) -> list[Member]:
    """The places of an object's members, in order, repeated keys included.

    Raises msgspec.DecodeError for what is not a JSON object, RecursionError for one nested too deeply,
    UnicodeDecodeError for a key that is not UTF-8, Unspliceable for a repeated key that hides its end.
    """
    fields = _FIELDS.decode(body)
    members: list[Member] = []
    at = body.index(b"{") + 1
    while (key := _KEY.match(body, at)) is not None:
        key_start, key_end = key.span(1)
        text = body[key_start + 1 : key_end - 1]
        name = text.decode() if b"\\" not in text else msgspec.json.decode(key[1], type=str)
        start = key.end()
        # The decoder kept the last value of each key. Where the text at hand is that value, its length is
        # known; where it is not, the key is repeated and this value has to be stepped over.
        value = memoryview(fields[name])
        end = start + len(value)
        after = _AFTER.match(body, end) if body.startswith(value, start) else None
        if after is None:
            end = _step_over(body, start)
            after = _AFTER.match(body, end)
            if after is None:
                raise Unspliceable("a repeated key whose value cannot be stepped over")
        members.append(Member(name, key_start, key_end, start, end))
        at = after.end()
    return members


def _step_over(body: bytes, start: int) -> int:
    value = _VALUE.match(body, start)
    return start if value is None else value.end()


def insert_first(object_start: int, member: bytes, *, empty: bool = False) -> Edit:
    """Put `member` (`"key":value`) before all others of the object whose brace stands at `object_start`."""
    return object_start + 1, object_start + 1, member if empty else member + b","


def apply(body: bytes, edits: Iterable[Edit]) -> bytes:
    """The body with the edits made; edits may not overlap."""
    pieces: list[bytes] = []
    at = 0
    for start, end, text in sorted(edits):
        assert start >= at, "edits overlap"
        pieces += (body[at:start], text)
        at = end
    pieces.append(body[at:])
    return b"".join(pieces)
