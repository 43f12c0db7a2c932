"""What a Responses answer says: which of its text the model wrote.

An answer is a list of items, a stream opens, continues and closes them one by one (openai-python,
`types/responses/response_stream_event.py`). Messages, thoughts that are shown as they are, and the arguments
of calls are written by the model; summaries of hidden thoughts, annotations and what tools found are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator
from typing import Any, Final

import msgspec

from gateway.formats.sse import Event

__all__ = ["FRAME", "reply_texts", "texts_of"]

# The start of the commonest events, up to where their text begins.
FRAME: Final = re.compile(
    rb'event: response\.[a-z_.]+\.delta\r?\ndata: \{"type":"response\.[a-z_.]+\.delta",[^\n]*?"delta":"'
)
# Events that bring text that the model wrote; all of them have a `delta`.
_WRITTEN: Final = frozenset(
    (
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
        "response.code_interpreter_call_code.delta",
        "response.shell_call_command.delta",
        "response.audio.transcript.delta",
    )
)
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Said(msgspec.Struct, gc=False):
    """Any event of a stream, with the members that hold text or say where it belongs."""

    type: str = ""
    delta: str | None = None
    item_id: str | None = None
    content_index: int = 0
    output_index: int = 0


_SAID: Final = msgspec.json.Decoder(_Said)


def texts_of(event: Event) -> Iterator[tuple[Hashable, str]]:
    """The text that an event adds, with the name of the text it continues."""
    said = _said(event.data)
    if said.delta and said.type in _WRITTEN:
        yield (said.output_index, said.content_index, said.type), said.delta


def _said(data: bytes) -> _Said:
    try:
        return _SAID.decode(data)
    except _DECODE_ERRORS:
        return _said_leniently(data)


def _said_leniently(data: bytes) -> _Said:
    """The same for an event with broken UTF-8, lone surrogates or a member of an unexpected type."""
    try:
        event = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return _Said()
    if not isinstance(event, dict):
        return _Said()
    kind, delta = event.get("type"), event.get("delta")
    places = [event.get(name) for name in ("content_index", "output_index")]
    content, output = (place if isinstance(place, int) else 0 for place in places)
    return _Said(
        type=kind if isinstance(kind, str) else "",
        delta=delta if isinstance(delta, str) else None,
        content_index=content,
        output_index=output,
    )


def reply_texts(body: bytes) -> list[str]:
    """The texts of an answer, of one cut off in its midst too."""
    try:
        answer = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return [_unescaped(text) for text in _TEXT_MEMBER.findall(body)]
    items = answer.get("output") if isinstance(answer, dict) else None
    return [text for item in _several(items) for text in _item_texts(item)]


def _item_texts(item: Any) -> Iterator[str]:
    if not isinstance(item, dict):
        return
    for part in _several(item.get("content")):
        if isinstance(part, dict):
            yield from _strings(part, "text", "refusal")
    yield from _strings(item, "arguments", "input", "code")


def _strings(value: dict[str, Any], *keys: str) -> Iterator[str]:
    for key in keys:
        if isinstance(value.get(key), str) and value[key]:
            yield value[key]


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# A text that the model wrote, its string perhaps never closed.
_TEXT_MEMBER: Final = re.compile(
    rb'"(?:text|refusal|arguments|input|code)"\s*:\s*"((?:[^"\\]++|\\.)*+)', re.DOTALL
)


def _unescaped(text: bytes) -> str:
    plain = text.decode("utf-8", "replace")
    try:
        return str(json.loads(f'"{plain}"', strict=False))
    except ValueError:
        return plain
