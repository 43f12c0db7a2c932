"""Counts a text that grows, without counting any of it twice and without error at the seams.

Tokens never cross the pieces that a tokenizer's pattern cuts a text into, and a space after a character
that is no white space always begins such a piece, in every encoding we ship. So a text counted up to such
a space and from it on adds up to the count of the whole.
"""

from __future__ import annotations

from typing import Final

from gateway.formats.base import Counter

__all__ = ["Tally", "last_seam"]

# Text without spaces (Han, base64) is cut after this many characters; each such cut may add a token.
_UNCUT_CHARS_MAX: Final = 1024
_TRIES: Final = 8


class Tally:
    """The running token count of one text that arrives in pieces.

    `tokens` covers what `count` has seen; `uncounted_bytes` is the UTF-8 length of what was added since.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.uncounted_bytes = 0
        self._settled = 0
        # The last word counted, still open: more of it may come, so its count is provisional.
        self._open = ""
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        """Append to the text."""
        self._parts.append(text)
        self.uncounted_bytes += _utf8_bytes(text)

    def count(self, counter: Counter, budget_chars: int) -> int:
        """Count at most so many of the uncounted characters; returns how many were."""
        if not self.uncounted_bytes or budget_chars <= 0:
            return 0
        text = "".join(self._parts)
        taken, later = text[:budget_chars], text[budget_chars:]
        self._parts = [later] if later else []
        self.uncounted_bytes = _utf8_bytes(later)
        text = self._open + taken
        cut = last_seam(text)
        if cut == 0 and len(text) > _UNCUT_CHARS_MAX:
            cut = len(text)
        if cut:
            self._settled += counter.count(text[:cut])
        self._open = text[cut:]
        self.tokens = self._settled + (counter.count(self._open) if self._open else 0)
        return len(taken)


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def last_seam(text: str) -> int:
    """The last place where the text may be cut without changing its count; 0 where none was found."""
    at = len(text)
    for _ in range(_TRIES):
        at = len(text[:at].rstrip()) if text[:at].endswith(" ") else text.rfind(" ", 0, at)
        if at <= 0:
            return 0
        if text[at] == " " and not text[at - 1].isspace():
            return at
    return 0
