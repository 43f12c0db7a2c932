"""Counts and cuts text into the simulator's own tokens.

A token here is one piece of the pattern by which o200k_base splits text before it looks the pieces up, with
words of more than thirty-two letters cut further. The real tokenizer never makes fewer tokens of a piece, so
what the simulator bills is at most what o200k_base would count, and for plain English the same.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["count", "count_json", "pieces"]

# Marks count as letters; the standard library has no class for them, hence the blocks that have most.
_MARKS: Final = (
    r"\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    r"\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e\u0eb1-\u0ecd\u0f18-\u0fc6\u1000-\u109f\u1780-\u17d3"
    r"\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe00-\ufe0f\ufe20-\ufe2f"
)
# After o200k_base's pattern in tiktoken_ext/openai_public.py, as far as the standard library's `re` goes.
_PIECE: Final = re.compile(
    rf"(?:[^\r\n\w]|_)?(?:[^\W\d_]|[{_MARKS}]){{1,32}}(?:'(?i:s|t|re|ve|m|ll|d))?"
    r"|\d{1,3}"
    r"| ?(?:[^\s\w]|_)+[\r\n/]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)


def pieces(text: str) -> list[str]:
    """The tokens of a text, in order; joined they are the text."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return sum(1 for _ in _PIECE.finditer(text))


def count_json(value: Any) -> int:
    """How many tokens a value has, written as JSON without blanks."""
    return count(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
