"""Counts and cuts text into the simulator's own tokens.

A token here is one piece of the pattern by which o200k_base splits text before it looks pieces up, with
pieces of more than twelve letters cut further. A real tokenizer never makes fewer tokens of such a piece,
so what the simulator bills is at most what o200k would count, and for plain English the same.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["count", "count_json", "pieces"]

_LONGEST: Final = 12
# An approximation, in the standard library's `re`, of o200k_base's pattern in tiktoken_ext/openai_public.py.
_PIECE: Final = re.compile(
    r"[^\r\n\w]?[^\W\d_]+(?:'(?:s|t|re|ve|m|ll|d)\b)?"
    r"|\d{1,3}"
    r"| ?(?:[^\s\w]|_)+[\r\n/]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)


def pieces(text: str) -> list[str]:
    """The tokens of a text, in order; joined they are the text."""
    return [
        part[start : start + _LONGEST]
        for part in _PIECE.findall(text)
        for start in range(0, len(part), _LONGEST)
    ]


def count(text: str) -> int:
    """How many tokens a text has."""
    return sum(-(-(match.end() - match.start()) // _LONGEST) for match in _PIECE.finditer(text))


def count_json(value: Any) -> int:
    """How many tokens a value has, written as JSON without blanks."""
    return count(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
