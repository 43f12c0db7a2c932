"""Model patterns: case-sensitive globs on catalogue names, compiled once.

`*` stands for any run of characters, `?` for one, `[ab]` for one of a set. A pattern with a slash is held
against `provider/model`, one without against the bare model, so `gpt-4.1*` covers the model at every
provider and `openai/gpt-*` at one.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Sequence
from typing import Final

from gateway.domain.errors import BadRequest

__all__ = ["check_patterns", "matches_model"]

PATTERN_MAX_CHARACTERS: Final = 255
PATTERNS_MAX: Final = 100

_Matcher = Callable[[str, str], bool]


def matches_model(patterns: Sequence[str], provider: str, model: str) -> bool:
    """Whether any of the patterns covers this model at this provider."""
    return any(_compiled(pattern)(provider, model) for pattern in patterns)


@functools.lru_cache(maxsize=8192)
def _compiled(pattern: str) -> _Matcher:
    covers = _glob(pattern)
    if "/" in pattern:
        return lambda provider, model: covers(f"{provider}/{model}")
    return lambda provider, model: covers(model)


def _glob(pattern: str) -> Callable[[str], bool]:
    """Most patterns are a whole name or a beginning: those need no regular expression."""
    stem = pattern.removesuffix("*")
    if not any(special in stem for special in "*?["):
        return stem.__eq__ if stem == pattern else lambda name: name.startswith(stem)
    expression = re.compile(fnmatch.translate(pattern))
    return lambda name: expression.match(name) is not None


def check_patterns(patterns: Sequence[str], *, param: str) -> None:
    """Raise BadRequest for a list that is too long, or a pattern that is empty, overlong or unprintable."""
    if len(patterns) > PATTERNS_MAX:
        raise BadRequest(
            "invalid_value",
            f"{param} has {len(patterns)} patterns.",
            hint=f"Use at most {PATTERNS_MAX}; `*` covers many models with one pattern.",
            param=param,
        )
    for pattern in patterns:
        if (
            not pattern
            or len(pattern) > PATTERN_MAX_CHARACTERS
            or not pattern.isprintable()
            or " " in pattern
        ):
            raise BadRequest(
                "invalid_value",
                f"{pattern[:40]!r} is no model pattern.",
                hint="Write a model's name, `provider/model`, or either with `*`, such as `gpt-4.1*`.",
                param=param,
            )
