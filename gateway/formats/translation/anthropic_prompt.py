"""A conversation of chat completions in the words of Anthropic's Messages API.

Anthropic's turns alternate, begin with the user's, and hold blocks. The results of all calls of a turn stand
at the head of the next one (platform.claude.com/docs, "Tool use", "Parallel tool use").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from gateway.formats.translation.chat_asks import Message, Part, arguments_of, data_of, parts_of
from gateway.formats.translation.refusing import invalid, unsupported

__all__ = ["conversation"]

_OTHER: Final = "Anthropic"
_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF: Final = "application/pdf"
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")

Block = dict[str, Any]


def conversation(messages: Sequence[Message]) -> tuple[list[Block], list[dict[str, Any]]]:
    """The system prompt as blocks, and the turns. Instructions in mid-conversation are put to the others."""
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if message.role in ("system", "developer"):
            system += [_text(part, f"{where}.content") for part in parts_of(message) if part.text]
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _BLOCKS[message.role](message, where)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    _trim_prefill(turns)
    return system, turns


def _trim_prefill(turns: list[dict[str, Any]]) -> None:
    """An answer that the client began must not end in blanks."""
    if turns and turns[-1]["role"] == "assistant" and turns[-1]["content"][-1]["type"] == "text":
        last = turns[-1]["content"][-1]
        last["text"] = last["text"].rstrip()
        if not last["text"]:
            turns[-1]["content"].pop()
            if not turns[-1]["content"]:
                turns.pop()


def _user(message: Message, where: str) -> list[Block]:
    parts = parts_of(message)
    return [
        _block(part, f"{where}.content[{number}]")
        for number, part in enumerate(parts)
        if part.type != "text" or part.text
    ]


def _assistant(message: Message, where: str) -> list[Block]:
    """What was thought, said and called, in the order in which Anthropic wants it back."""
    blocks: list[Block] = [
        {name: value for name, value in block.items() if name != "index"}
        for block in message.thinking_blocks or ()
    ]
    for number, part in enumerate(parts_of(message)):
        text = part.refusal if part.type == "refusal" else part.text
        if part.type not in ("text", "refusal"):
            unsupported(f"{where}.content[{number}].type", _OTHER)
        if text:
            blocks.append(_text(Part("text", text=text, cache_control=part.cache_control), where))
    if message.refusal:
        blocks.append({"type": "text", "text": message.refusal})
    for number, call in enumerate(message.tool_calls or ()):
        blocks.append(
            {
                "type": "tool_use",
                "id": _id(call.id),
                "name": call.function.name,
                "input": arguments_of(call, f"{where}.tool_calls[{number}]"),
            }
        )
    return blocks


def _tool(message: Message, where: str) -> list[Block]:
    if not message.tool_call_id:
        invalid(f"{where}.tool_call_id", "it is missing", "Name the call that this is the result of.")
    result: Block = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id)}
    content = [
        _block(part, f"{where}.content[{number}]")
        for number, part in enumerate(parts_of(message))
        if part.type != "text" or part.text
    ]
    if content:
        result["content"] = content
    return [result]


_BLOCKS: Final = {"user": _user, "assistant": _assistant, "tool": _tool}


def _id(id_: str) -> str:
    """Ids of other providers may hold what Anthropic's may not."""
    return _NOT_IN_IDS.sub("_", id_)


def _text(part: Part, where: str) -> Block:
    if part.type != "text" or part.text is None:
        unsupported(f"{where}.type", _OTHER)
    return _cached({"type": "text", "text": part.text}, part)


def _cached(block: Block, part: Part) -> Block:
    if part.cache_control is not None:
        block["cache_control"] = part.cache_control
    return block


def _block(part: Part, where: str) -> Block:
    if part.type == "image_url" and part.image_url is not None:
        if part.image_url.detail == "low":
            unsupported(f"{where}.image_url.detail", _OTHER, "Send a smaller image.")
        return _cached(_image(part.image_url.url, f"{where}.image_url.url"), part)
    if part.type == "file" and part.file is not None:
        if part.file.file_data is None:
            unsupported(f"{where}.file.file_id", _OTHER, "Send the file itself, as `file_data`.")
        return _cached(_document(part.file.file_data, part.file.filename, f"{where}.file.file_data"), part)
    return _text(part, where)


def _image(url: str, where: str) -> Block:
    """Anthropic fetches what is on the web by itself."""
    data = data_of(url, where)
    if data is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    if data[0] == _PDF:
        return _document(url, None, where)
    if data[0] not in _IMAGES:
        unsupported(where, _OTHER, f"Claude sees {', '.join(_IMAGES)}.")
    return {"type": "image", "source": {"type": "base64", "media_type": data[0], "data": data[1]}}


def _document(url: str, title: str | None, where: str) -> Block:
    data = data_of(url, where)
    if data is None:
        invalid(where, "it is no data URL", f"Send `data:{_PDF};base64,...`.")
    if data[0] in _IMAGES:
        return _image(url, where)
    if data[0] != _PDF:
        unsupported(where, _OTHER, "Claude reads PDF files; send text as text.")
    block: Block = {
        "type": "document",
        "source": {"type": "base64", "media_type": data[0], "data": data[1]},
    }
    return block if title is None else {**block, "title": title}
