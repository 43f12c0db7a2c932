"""The prompt of a Messages request: what of it is no text, what of it cannot be seen, what it caches.

Blocks nest: results of tools and documents hold blocks of their own (anthropic-sdk-python,
`types/beta/beta_content_block_param.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.formats.anthropic_tools import CACHE_LIFETIME_LONG, CacheControl
from gateway.formats.base import Counter

__all__ = ["Block", "Content", "Message", "prompt_texts", "prompt_tokens"]

# "Images and vision": an image is scaled down to 1,568 tokens by models up to 4.6, by later ones to 4,784.
_IMAGE_TOKENS: Final = 4_784
_IMAGE_TOKENS_EARLIER: Final = 1_568
_EARLIER: Final = re.compile(
    r"claude-(?:3|(?:opus|sonnet|haiku)-4(?:[-.][0-6])?(?:[-@]\d{8})?(?:-v\d.*)?(?:-latest)?$)"
)
# Enabled citations add instructions of some 500 tokens (measured), and a mark to every sentence of the
# text they can point to.
_CITATIONS_TOKENS: Final = 1_024

# Blocks whose text is all in the body. Thinking comes back as a signature that holds all of it.
_TEXT_BLOCKS: Final = frozenset(
    (
        "text",
        "thinking",
        "redacted_thinking",
        "connector_text",
        "tool_use",
        "server_tool_use",
        "mcp_tool_use",
        "web_search_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "advisor_tool_result",
        "mcp_tool_listing",
        "tool_reference",
        "tool_addition",
        "tool_removal",
        "browser_state",
        "compaction",
        "fallback",
    )
)
_MESSAGE_TOKENS: Final = 4
_TOOLS_TOKENS: Final = 500
_HAS_TOOLS: Final = re.compile(rb'"tools"\s*:\s*\[\s*\{')
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Block(msgspec.Struct, gc=False):
    """What of a content block is read; its `source`, `content` and `citations` only where need be."""

    type: str
    cache_control: CacheControl | None = None
    source: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    citations: msgspec.Raw = msgspec.Raw()
    file_id: str | None = None


class Message(msgspec.Struct, gc=False):
    """One turn of the conversation."""

    role: str
    content: str | list[Block] | None = None


class _Source(msgspec.Struct, gc=False):
    type: str = ""
    data: str | None = None
    content: str | list[Block] | None = None
    file_id: str | None = None


class _Citations(msgspec.Struct, gc=False):
    enabled: bool | None = None


_SOURCE: Final = msgspec.json.Decoder(_Source)
_CONTENT: Final = msgspec.json.Decoder(str | list[Block] | None)
_CITATIONS: Final = msgspec.json.Decoder(_Citations)


class Content:
    """The blocks of one prompt, added up.

    `tokens` is what media may cost and what citing adds, `body_bytes` how much of the body is media,
    which is no text; `unseen` says that there is input of unknown length, `has_long_cache` that something
    is to be cached for an hour. `stored` are the ids of files that the blocks point to.
    """

    def __init__(self, model: str) -> None:
        name = model.rpartition("/")[2]
        self._image_tokens = _IMAGE_TOKENS_EARLIER if _EARLIER.match(name) else _IMAGE_TOKENS
        self.tokens = 0
        self.body_bytes = 0
        self.unseen = False
        self.has_long_cache = False
        self.stored: list[str] = []

    def cache(self, control: CacheControl | None) -> None:
        """Take in a wish to cache."""
        if control is not None and control.ttl == CACHE_LIFETIME_LONG:
            self.has_long_cache = True

    def add(self, content: str | list[Block] | None) -> None:
        """Take in a text or a list of blocks."""
        for block in content if isinstance(content, list) else ():
            self.cache(block.cache_control)
            if block.type not in _TEXT_BLOCKS:
                self._add(block)

    def _add(self, block: Block) -> None:
        self._name(block.file_id)
        match block.type:
            case "image":
                # Its size in pixels decides, wherever it comes from.
                self.tokens += self._image_tokens
                source = self._source(block)
                self._name(source.file_id)
                self.body_bytes += len(source.data or "")
            case "document":
                self._add_document(block, self._source(block))
            case "search_result":
                self._cite(block, block.content)
            case "tool_result" | "mcp_tool_result":
                self._add_nested(block)
            case "web_fetch_tool_result":
                # A page that was fetched is text, or a PDF.
                self.unseen = self.unseen or b'"base64"' in bytes(block.content)
            case _:
                # Files for a container, and blocks nobody has told us of.
                self.unseen = True

    def _name(self, file_id: str | None) -> None:
        if file_id:
            self.stored.append(file_id)

    def _add_document(self, block: Block, source: _Source) -> None:
        self._name(source.file_id)
        match source.type:
            case "text":
                self._cite(block, block.source)
            case "content":
                self._cite(block, block.source)
                self.add(source.content)
            case _:
                # By URL or by a file's id; or a PDF, whose pages are read as text and as images.
                self.unseen = True
                self.body_bytes += len(source.data or "")

    def _add_nested(self, block: Block) -> None:
        try:
            self.add(_CONTENT.decode(block.content) if bytes(block.content) else None)
        except _DECODE_ERRORS:
            self.unseen = True

    def _cite(self, block: Block, text: msgspec.Raw) -> None:
        try:
            is_cited = _CITATIONS.decode(block.citations).enabled if bytes(block.citations) else False
        except _DECODE_ERRORS:
            is_cited = False
        if is_cited:
            self.tokens += _CITATIONS_TOKENS + len(bytes(text))

    @staticmethod
    def _source(block: Block) -> _Source:
        try:
            return _SOURCE.decode(block.source)
        except _DECODE_ERRORS:
            return _Source()


def prompt_texts(body: bytes) -> list[list[str]]:
    """The texts of each message, and those of the system prompt, the tools and the reply's schema."""
    text = body.decode("utf-8", "replace")
    try:
        return _texts_in(json.loads(text))
    except RecursionError:
        # Read with less room on the stack than when it was first read: its text is the whole body at most.
        return [[text]]


def prompt_tokens(body: bytes, counter: Counter) -> int:
    """The tokens of a prompt, nearly: 4 more than their text for each message and for the conversation.

    That, and some 500 for tools, is what recorded prompts were billed beyond their text.
    """
    texts = sum(_MESSAGE_TOKENS + sum(map(counter.count, texts)) for texts in prompt_texts(body))
    return _MESSAGE_TOKENS + texts + (_TOOLS_TOKENS if _HAS_TOOLS.search(body) else 0)


def _texts_in(request: dict[str, Any]) -> list[list[str]]:
    texts = [[text for text in _strings(message) if text] for message in request["messages"]]
    if request.get("system"):
        texts.append(list(_strings(request["system"])))
    config = request.get("output_config") or {}
    for shape in (request.get("tools"), config.get("format"), request.get("output_format")):
        if shape:
            texts.append([json.dumps(shape, separators=(",", ":"), ensure_ascii=False)])
    return texts


# Members that are not read by the model as text: the names of things, and media.
_NOT_TEXT: Final = frozenset(
    ("type", "id", "tool_use_id", "cache_control", "citations", "media_type", "signature", "url", "file_id")
)


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, dict):
        media = value.get("type") in ("base64", "redacted_thinking")
        for key, each in value.items():
            if key == "input":
                yield json.dumps(each, separators=(",", ":"), ensure_ascii=False)
            elif key not in _NOT_TEXT and not (media and key == "data"):
                yield from _strings(each)
