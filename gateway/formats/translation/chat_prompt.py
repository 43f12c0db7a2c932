"""A conversation of Anthropic's Messages in the words of chat completions.

Results of tools stand in the user's turn at Anthropic, and are messages of their own here. These hold text
alone: pictures in them follow in a message of the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.formats.translation.anthropic_asks import Block, MessagesAsk, blocks_of
from gateway.formats.translation.messages_answers import OWN_SIGNATURE
from gateway.formats.translation.refusing import is_set, unsupported

__all__ = ["conversation"]

_OTHER: Final = "OpenAI"
_THOUGHTS: Final = ("thinking", "redacted_thinking")

Message = dict[str, Any]
Part = dict[str, Any]


def conversation(ask: MessagesAsk) -> list[Message]:
    """The messages, the system prompt first."""
    messages: list[Message] = []
    system = [_text(block, f"system[{place}]") for place, block in enumerate(blocks_of(ask.system))]
    if system:
        messages.append({"role": "system", "content": "\n\n".join(part["text"] for part in system)})
    for place, turn in enumerate(ask.messages):
        where = f"messages[{place}]"
        blocks = blocks_of(turn.content)
        if turn.role == "assistant":
            messages += _assistant(blocks, where)
        elif turn.role in ("user", "system"):
            messages += _user(blocks, turn.role, where)
        else:
            unsupported(f"{where}.role", _OTHER)
    return messages


def _user(blocks: Sequence[Block], role: str, where: str) -> list[Message]:
    """The results first: they have to follow their calls."""
    messages: list[Message] = []
    parts: list[Part] = []
    for number, block in enumerate(blocks):
        place = f"{where}.content[{number}]"
        if block.type == "tool_result":
            message, pictures = _result(block, place)
            messages.append(message)
            parts += pictures
        else:
            parts.append(_part(block, place))
    if parts:
        messages.append({"role": role, "content": _content(parts)})
    return messages


def _content(parts: list[Part]) -> str | list[Part]:
    """A single text as itself: servers that take nothing else are many."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _result(block: Block, where: str) -> tuple[Message, list[Part]]:
    parts = [
        _part(each, f"{where}.content[{number}]") for number, each in enumerate(blocks_of(block.content))
    ]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    if block.is_error:
        text = f"Error: {text}"
    message = {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}
    return message, [part for part in parts if part["type"] != "text"]


def _assistant(blocks: Sequence[Block], where: str) -> list[Message]:
    texts, calls, thoughts = [], [], []
    for number, block in enumerate(blocks):
        if block.type == "tool_use":
            function = {"name": block.name, "arguments": bytes(block.input).decode()}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif block.type in _THOUGHTS:
            # Thoughts belong to the model that made them; those of an upstream like this one it wants back.
            if block.signature == OWN_SIGNATURE:
                thoughts.append(block.thinking or "")
        else:
            texts.append(_text(block, f"{where}.content[{number}]")["text"])
    if not (texts or calls):
        return []
    message: Message = {"role": "assistant", "content": "".join(texts) if texts else None}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return [message]


def _text(block: Block, where: str) -> Part:
    if block.type != "text" or block.text is None:
        unsupported(f"{where}.type", _OTHER)
    return {"type": "text", "text": block.text}


def _part(block: Block, where: str) -> Part:
    if block.type == "image" and block.source is not None:
        return {"type": "image_url", "image_url": {"url": _url(block, where)}}
    if block.type == "document" and block.source is not None:
        if is_set(block.citations) and block.citations != {"enabled": False}:
            unsupported(f"{where}.citations", _OTHER)
        if block.source.type == "text":
            return {"type": "text", "text": block.source.data or ""}
        if block.source.type != "base64":
            unsupported(f"{where}.source.type", _OTHER, "Send the document itself.")
        file = {"filename": block.title or "document.pdf", "file_data": _url(block, where)}
        return {"type": "file", "file": file}
    return _text(block, where)


def _url(block: Block, where: str) -> str:
    source = block.source
    assert source is not None, "the caller looked"
    if source.type == "base64":
        return f"data:{source.media_type};base64,{source.data}"
    if source.type == "url" and source.url:
        return source.url
    unsupported(f"{where}.source.type", _OTHER, "Send the picture itself, or its URL.")
