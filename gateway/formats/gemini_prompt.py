"""The text of a Gemini request, for counting a prompt whose reply tells no usage: every embedding by
`gemini-embedding-001`, and calls that died.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from gateway.formats.base import Counter

__all__ = ["prompt_texts", "prompt_tokens"]

# A turn's frame: what recorded prompts were billed beyond their text.
_TURN_TOKENS: Final = 1
# Members that the model does not read as text: media, what is signed, how things are called.
_NOT_TEXT: Final = frozenset(
    (
        *("inlineData", "inline_data", "fileData", "file_data"),
        *("thoughtSignature", "thought_signature", "thought"),
        *("videoMetadata", "video_metadata", "mediaResolution", "media_resolution"),
        *("partMetadata", "part_metadata", "id"),
    )
)
_WHOLE: Final = ("generateContentRequest", "generate_content_request")
_SYSTEM: Final = ("systemInstruction", "system_instruction")
_CONFIG: Final = ("generationConfig", "generation_config")
_SCHEMAS: Final = ("Schema", "_schema")


def prompt_texts(body: bytes) -> list[list[str]]:
    """The texts of each turn or content, and those of the system instruction, the tools and the schema."""
    text = body.decode("utf-8", "replace")
    try:
        return list(_texts_in(json.loads(text)))
    except RecursionError:
        # Read with less room on the stack than when it was first read: its text is the whole body at most.
        return [[text]]


def prompt_tokens(body: bytes, counter: Counter) -> int:
    """The tokens of a prompt, nearly."""
    return sum(_TURN_TOKENS + sum(map(counter.count, texts)) for texts in prompt_texts(body))


def _texts_in(request: Any) -> Iterator[list[str]]:
    if not isinstance(request, dict):
        return
    for name in _WHOLE:
        yield from _texts_in(request.get(name))
    for embedded in _several(request.get("requests")):
        yield from _texts_in(embedded)
    for content in (*_several(request.get("contents")), request.get("content")):
        if isinstance(content, dict):
            yield [text for part in _several(content.get("parts")) for text in _part_texts(part)]
    yield from _surroundings(request)


def _surroundings(request: dict[str, Any]) -> Iterator[list[str]]:
    for name in _SYSTEM:
        system = request.get(name)
        if isinstance(system, dict):
            yield [text for part in _several(system.get("parts")) for text in _part_texts(part)]
    if request.get("tools"):
        yield [_compact(request["tools"])]
    for name in _CONFIG:
        config = request.get(name)
        for key, value in config.items() if isinstance(config, dict) else ():
            if key.endswith(_SCHEMAS) and value:
                yield [_compact(value)]


def _several(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _part_texts(part: Any) -> Iterator[str]:
    for key, value in part.items() if isinstance(part, dict) else ():
        if key not in _NOT_TEXT and value:
            yield value if isinstance(value, str) else _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
