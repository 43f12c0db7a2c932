"""Counts what Gemini searched for: a fee beside the tokens, which the usage object does not tell of.

Before Gemini 3 a grounded prompt costs one fee, however many queries it took; from then on each unique
query costs one, and empty ones none (ai.google.dev/gemini-api/docs, "Grounding with Google Search",
"Pricing"). Maps are grounded in for a fee of their own, for which there is no meter: it is counted as a
search, which costs as much or more, and noted.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gateway.formats.gemini_chunks import DECODE_ERRORS

__all__ = ["Searches", "searches_max"]

_PER_PROMPT: Final = re.compile(r"(?:models/)?gemini-(?:pro|flash|[12][.-]|[12]$)")
# Nobody can bound the queries of a call, and no document does. Three were recorded.
_QUERIES_MAX: Final = 20
_MAPS: Final = "grounding in Google Maps, counted as a search"


class _Web(msgspec.Struct, gc=False):
    maps: msgspec.Raw = msgspec.Raw()


class _Grounding(msgspec.Struct, gc=False, rename="camel"):
    web_search_queries: list[str] | None = None
    image_search_queries: list[str] | None = None
    grounding_chunks: list[_Web] | None = None


_GROUNDING: Final = msgspec.json.Decoder(_Grounding)


def _is_per_prompt(model: str) -> bool:
    return _PER_PROMPT.match(model) is not None and not model.endswith("-latest")


def searches_max(model: str) -> int:
    """The most searches that one call of a model is quoted at."""
    return 1 if _is_per_prompt(model.rpartition("/")[2]) else _QUERIES_MAX


class Searches:
    """The searches of one reply. Its events repeat what was searched for, or add to it."""

    def __init__(self) -> None:
        self._queries: set[tuple[str, str]] = set()
        self._has_maps = False

    def add(self, grounding: msgspec.Raw) -> None:
        """Take in a candidate's `groundingMetadata`."""
        try:
            told = _GROUNDING.decode(grounding)
        except DECODE_ERRORS:
            return
        self._queries.update(("web", query) for query in told.web_search_queries or () if query)
        self._queries.update(("image", query) for query in told.image_search_queries or () if query)
        self._has_maps = self._has_maps or any(bytes(each.maps) for each in told.grounding_chunks or ())

    def fees(self, model: str) -> dict[str, int]:
        """What the searches of a reply cost, by the model that served it."""
        queries = len(self._queries)
        searched = min(queries, 1) if _is_per_prompt(model) else queries
        if self._has_maps and (not queries or _is_per_prompt(model)):
            searched += 1
        return {"web_search": searched} if searched else {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is only nearly right."""
        return (_MAPS,) if self._has_maps else ()
