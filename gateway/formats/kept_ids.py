"""The ids of what a call leaves at its provider: which of those that a reply tells are worth keeping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["kept_ids"]

# As wide as their column; and more than any answer leaves behind.
_CHARACTERS_MAX: Final = 255
_IDS_MAX: Final = 256


def kept_ids(told: Iterable[str | None]) -> tuple[str, ...]:
    """Each once, in order; an upstream may make up what it likes, so what is no id is left out."""
    ids = (
        each
        for each in told
        if each and len(each) <= _CHARACTERS_MAX and each.isascii() and each.isprintable()
    )
    return tuple(dict.fromkeys(ids))[:_IDS_MAX]
