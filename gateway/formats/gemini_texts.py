"""The text that Gemini generated, for counting where its usage tells no output.

A part is text, a call of a function, or code that Google runs; results of such code are input. Thoughts
that are shown are summaries: less than what was thought, but all there is to count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.formats.gemini_chunks import DECODE_ERRORS
from gateway.formats.sse import Event

__all__ = ["FRAME", "reply_texts", "texts_in", "texts_of"]

# The start of an event up to where its text begins.
FRAME: Final = re.compile(rb'data: \{"candidates": ?\[\{"content": ?\{"parts": ?\[\{"text": ?"')
# A text member of a part, its string perhaps never closed.
_TEXT_MEMBER: Final = re.compile(rb'"(?:text|code)"\s*:\s*"((?:[^"\\]++|\\.)*+)', re.DOTALL)


def texts_of(event: Event) -> Iterator[tuple[tuple[int, str], str]]:
    """Every text that an event adds, with the name of the text it continues."""
    return texts_in(_decoded(event.data))


def texts_in(told: Any) -> Iterator[tuple[tuple[int, str], str]]:
    """The same of a response that is decoded."""
    for candidate in _members(told, "candidates"):
        index = candidate.get("index")
        place = index if isinstance(index, int) else 0
        content = candidate.get("content")
        for part in _members(content, "parts"):
            for kind, text in _part_texts(part):
                if text:
                    yield (place, kind), text


def _part_texts(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    text = part.get("text")
    if isinstance(text, str):
        yield ("thought" if part.get("thought") else "text"), text
    call = part.get("functionCall")
    if isinstance(call, dict):
        name = call.get("name")
        yield "call", name if isinstance(name, str) else ""
        args = call.get("args")
        yield "call", json.dumps(args, separators=(",", ":"), ensure_ascii=False) if args else ""
    code = part.get("executableCode")
    if isinstance(code, dict) and isinstance(code.get("code"), str):
        yield "code", code["code"]


def _members(told: Any, name: str) -> list[dict[str, Any]]:
    """The objects in an array, or the object in its place."""
    value = told.get(name) if isinstance(told, dict) else None
    several = value if isinstance(value, list) else [value]
    return [each for each in several if isinstance(each, dict)]


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except DECODE_ERRORS:
        try:
            return json.loads(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None


def reply_texts(body: bytes) -> list[str]:
    """The generated texts of a whole reply (a response, or the array that a stream is), cut off or not."""
    told = _decoded(body)
    if told is None:
        return [_unescaped(text) for text in _TEXT_MEMBER.findall(body)]
    joined: dict[tuple[int, str], str] = {}
    for response in told if isinstance(told, list) else [told]:
        for name, text in texts_in(response):
            joined[name] = joined.get(name, "") + text
    return list(joined.values())


def _unescaped(text: bytes) -> str:
    plain = text.decode("utf-8", "replace")
    try:
        return str(json.loads(f'"{plain}"', strict=False))
    except ValueError:
        return plain
