"""Which wire format an address of the data plane speaks."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence

import httptools

from gateway.formats.base import Format
from gateway.formats.gemini_paths import TEMPLATED, key_of, template_of

__all__ = ["format_at"]


def format_at(
    formats: Mapping[bytes, Format],
    path: bytes,
    url: bytes,
    headers: MutableSequence[tuple[bytes, bytes]],
) -> Format | None:
    """The format of a path; None where nothing is metered.

    Gemini has the model in its path and the way of streaming, at times also the key, in the query: the key
    is added to `headers` and is from there on like any other.
    """
    found = formats.get(path)
    if found is not None or not path.startswith(TEMPLATED):
        return found
    query = httptools.parse_url(url).query or b""
    template = template_of(path + b"?" + query)
    found = None if template is None else formats.get(template)
    key = key_of(query) if found else None
    if key:
        headers.append((b"x-goog-api-key", key))
    return found
