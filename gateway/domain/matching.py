"""Match expressions: which names mean a model, as the JSON data of genai-prices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Predicate", "compile_match"]

Predicate = Callable[[str], bool]


def compile_match(clause: Mapping[str, Any]) -> Predicate:
    """A predicate on lower-case names from an expression of genai-prices.

    It has one key: `equals`, `starts_with`, `ends_with`, `contains` (a text, letter case aside), `regex`
    (searched for), `or`, `and` (a list of expressions). Raises ValueError for anything else.
    """
    match list(clause.items()):
        case [("equals", str(text))]:
            return text.lower().__eq__
        case [("starts_with", str(text))]:
            start = text.lower()
            return lambda name: name.startswith(start)
        case [("ends_with", str(text))]:
            end = text.lower()
            return lambda name: name.endswith(end)
        case [("contains", str(text))]:
            part = text.lower()
            return lambda name: part in name
        case [("regex", str(text))]:
            search = _pattern(text).search
            return lambda name: search(name) is not None
        case [("or", list(parts))]:
            any_of = [compile_match(part) for part in parts]
            return lambda name: any(accepts(name) for accepts in any_of)
        case [("and", list(parts))]:
            all_of = [compile_match(part) for part in parts]
            return lambda name: all(accepts(name) for accepts in all_of)
    raise ValueError(f"{clause!r} is no match expression")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as problem:
        raise ValueError(f"{text!r} is no regular expression: {problem}") from None
