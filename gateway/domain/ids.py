"""Ids: text with a prefix that says what the thing is, then base62 of random bytes.

A call's id carries the id of the journal it was admitted in, so that any worker can tell where the call
runs without asking anyone. Random bytes are arguments.
"""

from __future__ import annotations

import string
from typing import Final

__all__ = [
    "ATTEMPT_RANDOM_BYTES",
    "CALL_RANDOM_BYTES",
    "JOURNAL_BYTES",
    "attempt_id",
    "base62",
    "base62_bytes",
    "call_id",
    "call_id_under",
    "call_prefix",
    "journal_of",
    "new_id",
]

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
JOURNAL_BYTES: Final = 8
CALL_RANDOM_BYTES: Final = 8
ATTEMPT_RANDOM_BYTES: Final = 16

# 62 ** 11 > 2 ** 64 and 62 ** 22 > 2 ** 128.
_WIDTH_OF_8_BYTES: Final = 11
_BASE_TO_THE_11: Final = 62**_WIDTH_OF_8_BYTES
# Two digits at a time: half the divisions, in a table that fits the cache.
_PAIRS: Final = tuple(high + low for high in ALPHABET for low in ALPHABET)
_VALUES: Final = {character: value for value, character in enumerate(ALPHABET)}


def base62(number: int, width: int) -> str:
    """The number in base 62 (0-9 A-Z a-z), padded with zeros to `width` characters."""
    pairs = []
    for _ in range(width // 2):
        number, low = divmod(number, 3844)
        pairs.append(_PAIRS[low])
    if width % 2:
        number, low = divmod(number, 62)
        pairs.append(ALPHABET[low])
    assert number == 0, f"the number does not fit {width} characters"
    pairs.reverse()
    return "".join(pairs)


def base62_bytes(text: str, size: int) -> bytes | None:
    """The big-endian bytes that `base62` wrote; None for any other text or a number beyond `size` bytes."""
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number * 62 + value
    return number.to_bytes(size, "big") if number < 1 << (8 * size) else None


def _eleven(number: int) -> str:
    """`base62(number, 11)`, unrolled: ids are made on the path of every call."""
    # Four digits at a time first: what is left fits a machine word, and dividing that is cheap.
    rest, low = divmod(number, 3844 * 3844)
    high, middle = divmod(rest, 3844 * 3844)
    return (
        f"{ALPHABET[high // 3844]}{_PAIRS[high % 3844]}{_PAIRS[middle // 3844]}{_PAIRS[middle % 3844]}"
        f"{_PAIRS[low // 3844]}{_PAIRS[low % 3844]}"
    )


def new_id(prefix: str, random_bytes: bytes) -> str:
    """An id such as `bud_` + 22 characters from 16 random bytes; unique as far as the bytes are."""
    assert len(random_bytes) == ATTEMPT_RANDOM_BYTES, "ids are made of 16 random bytes"
    high, low = divmod(int.from_bytes(random_bytes, "big"), _BASE_TO_THE_11)
    return f"{prefix}_{_eleven(high)}{_eleven(low)}"


def attempt_id(random_bytes: bytes) -> str:
    """`att_` + 22 characters of 16 random bytes: random per try, never derived from a call or a key."""
    return new_id("att", random_bytes)


def call_prefix(journal: bytes) -> str:
    """What all call ids of a journal begin with: `call_` + 11 characters of its 8-byte id."""
    assert len(journal) == JOURNAL_BYTES, "a journal's id is 8 bytes"
    return f"call_{_eleven(int.from_bytes(journal, 'big'))}"


def call_id_under(prefix: str, random_bytes: bytes) -> str:
    """A journal's `call_prefix` + 11 characters of 8 random bytes: a worker keeps its prefix."""
    assert len(random_bytes) == CALL_RANDOM_BYTES, "a call's own part is 8 random bytes"
    return prefix + _eleven(int.from_bytes(random_bytes, "big"))


def call_id(journal: bytes, random_bytes: bytes) -> str:
    """`call_` + 11 characters of the 8-byte journal id + 11 of 8 random bytes."""
    return call_id_under(call_prefix(journal), random_bytes)


def journal_of(call: str) -> bytes | None:
    """The id of the journal a call was admitted in; None when the text is no call id of ours."""
    body = call.removeprefix("call_")
    if len(call) != 27 or len(body) != 22 or base62_bytes(body[11:], CALL_RANDOM_BYTES) is None:
        return None
    return base62_bytes(body[:11], JOURNAL_BYTES)
