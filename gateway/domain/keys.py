"""Virtual keys and admin keys as text: minted, checked, fingerprinted, and masked wherever they are shown.

A virtual key is `sk-tg-`, 43 base62 characters of 256 random bits, and 6 of the CRC-32 of what stands
before. The checksum lets a typing error or a foreign key be refused without looking anything up; it is no
secret. Only the SHA-256 of a key is ever stored: 256 random bits need no salt and no slow hash.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass, field
from typing import Final

from gateway.domain.errors import BadRequest
from gateway.domain.ids import base62

__all__ = [
    "ADMIN_PREFIX",
    "VIRTUAL_PREFIX",
    "KeyText",
    "check_admin_key",
    "fingerprint",
    "hint",
    "masked",
    "mint",
    "mint_admin",
    "parse",
]

VIRTUAL_PREFIX: Final = "sk-tg-"
ADMIN_PREFIX: Final = "tg-admin-"
ADMIN_KEY_MIN_CHARACTERS: Final = 16
# Longer than any key or token in use; a bound, because the text comes from outside.
ADMIN_KEY_MAX_CHARACTERS: Final = 512

_RANDOM_BYTES: Final = 32
_BODY_WIDTH: Final = 43  # 62 ** 43 > 2 ** 256
_CHECKSUM_WIDTH: Final = 6  # 62 ** 6 > 2 ** 32
_SHAPE: Final = re.compile(r"sk-tg-[0-9A-Za-z]{49}", re.ASCII)
# Base62 digits are in the order of ASCII, so texts of one width compare as their numbers do.
_LARGEST: Final = VIRTUAL_PREFIX + base62(2 ** (8 * _RANDOM_BYTES) - 1, _BODY_WIDTH)
_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class KeyText:
    """A text with the shape and checksum of a virtual key. Whether it was ever issued is another question."""

    text: str = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """What the key is looked up by."""
        return fingerprint(self.text)

    @property
    def hint(self) -> str:
        """What may be shown of it."""
        return hint(self.text)


def mint(random32: bytes) -> str:
    """A virtual key from 32 random bytes: always 55 characters."""
    return _mint(VIRTUAL_PREFIX, random32)


def mint_admin(random32: bytes) -> str:
    """An admin key of our own making, in the same shape as a virtual key with another prefix."""
    return _mint(ADMIN_PREFIX, random32)


def _mint(prefix: str, random32: bytes) -> str:
    assert len(random32) == _RANDOM_BYTES, "a key is made of 32 random bytes"
    unsigned = prefix + base62(int.from_bytes(random32, "big"), _BODY_WIDTH)
    return unsigned + _checksum(unsigned)


def _checksum(unsigned: str) -> str:
    return base62(zlib.crc32(unsigned.encode("ascii")), _CHECKSUM_WIDTH)


def parse(text: str) -> KeyText | None:
    """The key, or None when the text cannot be one that `mint` made."""
    if _SHAPE.fullmatch(text) is None:
        return None
    unsigned = text[:-_CHECKSUM_WIDTH]
    if _checksum(unsigned) != text[-_CHECKSUM_WIDTH:]:
        return None
    return KeyText(text) if unsigned <= _LARGEST else None


def fingerprint(text: str) -> bytes:
    """SHA-256 of a key's text, virtual or admin: 32 bytes."""
    # Lone surrogates reach us from JSON and from the environment; they make a wrong key, not a crash.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def hint(text: str) -> str:
    """What may be shown of one of our keys, for a human to tell it from others: `sk-tg-...abcd`."""
    return masked(text)


def masked(text: str) -> str:
    """Any secret as it may be shown: our prefix if it has one, and its last four characters if it is long.

    Of a secret under 16 characters nothing is shown, since four would be a good part of it. Characters
    that could forge a log line are replaced.
    """
    prefix = next((known for known in (VIRTUAL_PREFIX, ADMIN_PREFIX) if text.startswith(known)), "")
    if len(text) - len(prefix) < ADMIN_KEY_MIN_CHARACTERS:
        return f"{prefix}..."
    end = "".join(shown if "!" <= shown <= "~" else "?" for shown in text[-_SHOWN:])
    return f"{prefix}...{end}"


def check_admin_key(text: str, *, param: str | None = None) -> str:
    """The text if it can serve as an admin key, else BadRequest that says why."""
    if not ADMIN_KEY_MIN_CHARACTERS <= len(text) <= ADMIN_KEY_MAX_CHARACTERS:
        problem = f"has {len(text)} characters"
    elif not text.isprintable() or text != text.strip():
        problem = "has control characters or spaces around it, which no Authorization header carries"
    else:
        return text
    raise BadRequest(
        "invalid_value",
        f"The admin key {problem}.",
        hint=f"Choose {ADMIN_KEY_MIN_CHARACTERS} to {ADMIN_KEY_MAX_CHARACTERS} printable characters.",
        param=param,
    )
