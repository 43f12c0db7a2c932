"""Reads a Messages request as far as it can be said in OpenAI's chat completions.

Every field of the API has a place here (anthropic-sdk-python, `types/beta/message_create_params.py`); one
that has none is refused by its name.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.formats.translation.refusing import is_set, read_request, unsupported

__all__ = ["Block", "MessagesAsk", "blocks_of", "read_messages_ask"]


class _Source(msgspec.Struct, gc=False):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class Block(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One block of a turn. What is said of caching and of who called has no equal and no effect elsewhere."""

    type: str
    text: str | None = None
    source: _Source | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")
    tool_use_id: str | None = None
    content: str | list[Block] | None = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    title: str | None = None
    context: str | None = None
    citations: Any = None
    cache_control: Any = None
    caller: Any = None


class _Turn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: str
    content: str | list[Block] | None = None


class _Thinking(msgspec.Struct, gc=False):
    type: str
    budget_tokens: int | None = None


class _Format(msgspec.Struct, gc=False):
    type: str
    schema: dict[str, Any] | None = None


class _OutputConfig(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    effort: str | None = None
    format: _Format | None = None


class _ToolChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class MessagesAsk(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One request; see `_UNSAYABLE` for what of it cannot be translated."""

    model: str
    messages: list[_Turn]
    max_tokens: int
    system: str | list[Block] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    context_management: dict[str, Any] | None = None
    # These change neither the answer nor its cost elsewhere.
    metadata: Any = None
    service_tier: Any = None
    cache_control: Any = None
    # These have to be unset.
    top_k: Any = None
    container: Any = None
    mcp_servers: Any = None
    fallbacks: Any = None
    speed: Any = None
    inference_geo: Any = None
    compaction: Any = None
    thread: Any = None

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer has to follow."""
        wanted = self.output_format or (self.output_config.format if self.output_config else None)
        return None if wanted is None else wanted.schema or {"type": "object"}


_ASK: Final = msgspec.json.Decoder(MessagesAsk)
_UNSAYABLE: Final = (
    "top_k",
    "container",
    "mcp_servers",
    "fallbacks",
    "inference_geo",
    "compaction",
    "thread",
)
# Which thoughts of earlier turns are kept: they are not sent on anyway.
_CLEARS_THOUGHTS: Final = "clear_thinking_"


def read_messages_ask(body: bytes, other: str) -> MessagesAsk:
    """The request for the dialect of `other`. Raises BadRequest for what it cannot say."""
    ask = read_request(body, _ASK, other)
    for name in _UNSAYABLE:
        if is_set(getattr(ask, name)):
            unsupported(name, other)
    if ask.speed not in (None, "standard"):
        unsupported("speed", other)
    if ask.max_tokens == 0:
        unsupported("max_tokens", other, "Ask for one token at least.")
    for place, edit in enumerate((ask.context_management or {}).get("edits") or ()):
        kind = edit.get("type") if isinstance(edit, dict) else None
        if not str(kind).startswith(_CLEARS_THOUGHTS):
            unsupported(f"context_management.edits[{place}]", other)
    return ask


def blocks_of(content: str | list[Block] | None) -> list[Block]:
    """The content as blocks; a text alone is one of them."""
    if isinstance(content, str):
        return [Block("text", text=content)] if content else []
    return content or []
