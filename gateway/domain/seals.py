"""Seals: a small secret stored so that only whoever presents the right text can read it again.

The stream of SHAKE-256 over the text and a context used once, laid over the bytes. There is no integrity
check, because whoever can change the row can delete it as well. The same pair of text and context must
never seal two different contents.
"""

from __future__ import annotations

import hashlib

__all__ = ["seal", "unseal"]


def seal(content: bytes, text: str, context: str) -> bytes:
    """The content, as long as before, unreadable without `text`; `context` is used for this content alone."""
    # The text's length goes first, so that no other split of the same characters gives the same stream.
    source = f"{len(text)}:{text}{context}".encode("utf-8", "surrogatepass")
    stream = hashlib.shake_256(source).digest(len(content))
    mixed = int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")
    return mixed.to_bytes(len(content), "big")


def unseal(sealed: bytes, text: str, context: str) -> bytes:
    """What `seal` was given, when text and context are the same; other bytes when they are not."""
    return seal(sealed, text, context)
