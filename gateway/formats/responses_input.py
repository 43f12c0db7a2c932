"""The input of a Responses request: what of it is no text, what of it cannot be seen, what it points to.

An input is a text or a list of items, of which most hold content parts or a tool's output (openai-python,
`types/responses/response_input_item_param.py`). An item without a type is a message or, with nothing but an
id, a reference to a stored one.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from gateway.formats import allowances
from gateway.formats.base import Counter
from gateway.formats.responses_tools import Tool

__all__ = ["Input", "Item", "prompt_texts", "prompt_tokens"]

_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Parts whose text is all in the body.
_TEXT_PARTS: Final = frozenset(
    ("input_text", "output_text", "refusal", "summary_text", "reasoning_text", "text")
)
# Items all of whose text is in the body, but for the parts in their content or output. What a model thought
# comes back encrypted, in more bytes than it had tokens.
_TEXT_ITEMS: Final = frozenset(
    (
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "reasoning",
        "compaction",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "computer_call",
        "computer_call_output",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "tool_search_call",
        "tool_search_output",
        "additional_tools",
        "program",
        "program_output",
    )
)
# Items that stand for something stored, unless they bring it along.
_STANDING_FOR: Final = frozenset(("item_reference", "reasoning", "image_generation_call", "compaction"))
_CALLED: Final = "image_generation_call"


class _Audio(msgspec.Struct, gc=False):
    data: str = ""


class _Part(msgspec.Struct, gc=False):
    type: str = ""
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    input_audio: _Audio | None = None


class _Environment(msgspec.Struct, gc=False):
    container_id: str | None = None


class Item(msgspec.Struct, gc=False):
    """What of an input item is read."""

    type: str | None = None
    role: str | None = None
    id: str | None = None
    content: str | list[_Part] | None = None
    output: msgspec.Raw = msgspec.Raw()
    encrypted_content: str | None = None
    result: str | None = None
    container_id: str | None = None
    environment: _Environment | None = None
    tools: list[Tool] | None = None

    @property
    def kind(self) -> str:
        """Its type, also where it is left out."""
        if self.type is not None:
            return self.type
        return "item_reference" if self.role is None and self.id is not None else "message"


_PARTS: Final = msgspec.json.Decoder(str | _Part | list[_Part] | None)


class Input:
    """The items of one request, added up.

    `tokens` is the most that media of known size cost, `body_bytes` how much of the body they take, which is
    no text; `unseen` says that there is input of unknown length, `apart` which meters it may be in. `stored`
    are the ids of what the items stand for, `tools` those that are handed over in their midst.
    """

    def __init__(self, model: str, items: str | list[Item] | None) -> None:
        self._model = model
        self.tokens = 0
        self.body_bytes = 0
        self.unseen = False
        self.apart: frozenset[str] = frozenset()
        self.stored: list[str] = []
        self.tools: list[Tool] = []
        self.items = 0
        for item in items if isinstance(items, list) else ():
            self.items += 1
            self._add(item, item.kind)

    def _add(self, item: Item, kind: str) -> None:
        self.unseen = self.unseen or kind not in _TEXT_ITEMS
        self.tools += item.tools or () if kind == "additional_tools" else ()
        if kind in _STANDING_FOR and item.encrypted_content is None and item.result is None and item.id:
            self.stored.append(item.id)
            self.unseen = True
        if item.container_id is not None:
            self.stored.append(item.container_id)
        if item.environment is not None and item.environment.container_id is not None:
            self.stored.append(item.environment.container_id)
        if kind == _CALLED and item.result is not None:
            self._add_image(len(item.result), None)
        for part in item.content if isinstance(item.content, list) else ():
            self._add_part(part)
        if bytes(item.output):
            self.add_value(item.output)

    def add_value(self, value: msgspec.Raw) -> None:
        """Take in what a tool gave back or a template takes: a text, a part, or several."""
        try:
            parts = _PARTS.decode(value)
        except _DECODE_ERRORS:
            self.unseen = True
            return
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, _Part):
                self._add_part(part)

    def _add_part(self, part: _Part) -> None:
        if part.file_id is not None:
            self.stored.append(part.file_id)
        if part.image_url is not None or part.type in ("input_image", "computer_screenshot"):
            url = part.image_url or ""
            self._add_image(len(url) if url.startswith("data:") else 0, part.detail)
        elif part.input_audio is not None:
            size = len(part.input_audio.data)
            self.tokens += allowances.audio_tokens_max(size)
            self.body_bytes += size
            self.apart |= {"audio_input"}
        elif part.type not in _TEXT_PARTS and part.type:
            # Files (a PDF's pages are rendered as images), and parts nobody has told us of.
            self.unseen = True

    def _add_image(self, body_bytes: int, detail: str | None) -> None:
        self.tokens += allowances.image_tokens_max(self._model, detail)
        self.body_bytes += body_bytes


# A turn's frame, as in the chat dialect: OpenAI's cookbook has 3 tokens around a message, 3 begin the reply.
_ITEM_TOKENS: Final = 3
# Members that are no text to the model: how things are called, what is signed, media.
_NOT_TEXT: Final = frozenset(
    (
        "type",
        "id",
        "call_id",
        "status",
        "image_url",
        "file_data",
        "data",
        "encrypted_content",
        "detail",
        "result",
    )
)


def prompt_texts(body: bytes) -> list[list[str]]:
    """The texts of each item, those of the instructions, of the tools and of the reply's schema."""
    text = body.decode("utf-8", "replace")
    try:
        return _texts_in(json.loads(text))
    except RecursionError:
        # Read with less room on the stack than when it was first read: its text is the whole body at most.
        return [[text]]


def prompt_tokens(body: bytes, counter: Counter) -> int:
    """The tokens of a prompt, nearly."""
    items = prompt_texts(body)
    return _ITEM_TOKENS + sum(_ITEM_TOKENS + sum(map(counter.count, texts)) for texts in items)


def _texts_in(request: dict[str, Any]) -> list[list[str]]:
    given = request.get("input")
    texts = [[given]] if isinstance(given, str) else [list(_strings(item)) for item in given or ()]
    if isinstance(request.get("instructions"), str):
        texts.append([request["instructions"]])
    for value in (request.get("tools"), (request.get("text") or {}).get("format")):
        if value:
            texts.append([json.dumps(value, separators=(",", ":"), ensure_ascii=False)])
    return texts


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, dict):
        return [text for key, each in value.items() if key not in _NOT_TEXT for text in _strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return []
