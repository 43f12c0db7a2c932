"""Changes single members of a JSON object in its own bytes: everything else stays as it was written.

Re-serialising a body would lose its whitespace, its number spellings, its repeated keys and its key
order. Here the members' places are found once (by msgspec, at the speed of C, whatever the values hold)
and edits replace byte ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

__all__ = ["Edit", "Member", "Unspliceable", "apply", "insert_first", "locate"]

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEY: Final = re.compile(rb'[ \t\r\n]*("(?:[^"\\]++|\\.)*+")[ \t\r\n]*:[ \t\r\n]*')
_AFTER: Final = re.compile(rb"[ \t\r\n]*([,}])")
_NESTING_MAX: Final = 40


class Unspliceable(ValueError):
    """The object repeats a key whose value is nested too deeply to be stepped over."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object: its key, the range of the key's text, and the range of its value."""

    key: str
    key_start: int
    key_end: int
    start: int
    end: int


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


def locate(body: bytes) -> tuple[dict[str, msgspec.Raw], list[Member]]:
    """The values and the places of an object's members, in order, repeated keys included.

    Raises msgspec.DecodeError for what is not a JSON object, RecursionError for one nested too deeply,
    UnicodeDecodeError for a key that is not UTF-8, Unspliceable for a repeated key that hides its end.
    """
    fields = _FIELDS.decode(body)
    members: list[Member] = []
    at = body.index(b"{") + 1
    while (key := _KEY.match(body, at)) is not None:
        name = key[1][1:-1].decode() if b"\\" not in key[1] else msgspec.json.decode(key[1], type=str)
        start = key.end()
        end, at = _value_end(body, start, fields[name])
        members.append(Member(name, key.start(1), key.end(1), start, end))
        if body[at - 1] == 0x7D:
            break
    return fields, members


def _value_end(body: bytes, start: int, value: msgspec.Raw) -> tuple[int, int]:
    """Where the value at `start` ends, and where the walk goes on.

    The decoder kept the last value of each key. Where the text at hand is that value, its length is
    known; where it is not, the key is repeated and this value has to be stepped over.
    """
    text = memoryview(value)
    if body.startswith(text, start):
        end = start + text.nbytes
        after = _AFTER.match(body, end)
        if after is not None:
            return end, after.end()
    skipped = _VALUE.match(body, start)
    after = skipped and _AFTER.match(body, skipped.end())
    if skipped is None or after is None:
        raise Unspliceable("a repeated key whose value cannot be stepped over")
    return skipped.end(), after.end()


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
