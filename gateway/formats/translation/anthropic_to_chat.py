"""Anthropic's Messages asked of providers that speak OpenAI's chat completions: what coding agents need."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.domain.usage import Usage
from gateway.formats.base import Dialect
from gateway.formats.translation.anthropic_asks import MessagesAsk, read_messages_ask
from gateway.formats.translation.base import Occasion, Translated, Writer
from gateway.formats.translation.chat_prompt import conversation
from gateway.formats.translation.errors import anthropic_error, read_fault
from gateway.formats.translation.messages_answers import ChatWriter, read_completion
from gateway.formats.translation.refusing import is_set, unsupported

__all__ = ["TRANSLATION"]

_OTHER: Final = "OpenAI"
_STOPS_MAX: Final = 4
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_TOOL_KEYS: Final = ("type", "name", "description", "input_schema", "strict", "cache_control")
# From how many tokens of thinking on an effort is meant.
_EFFORTS: Final = ((16_384, "high"), (4_096, "medium"), (0, "low"))


class _Translator:
    """See `gateway.formats.translation.base.Translator`."""

    dialect: Dialect = "anthropic"

    def writer(self, *, wants_usage: bool) -> Writer:
        return ChatWriter()

    def reply(self, body: bytes, usage: Usage | None) -> bytes:
        return read_completion(body, usage)

    def refusal(self, status: int | None, body: bytes) -> tuple[int, bytes]:
        return anthropic_error(read_fault(body, status))


class AnthropicToChat:
    """See `gateway.formats.translation.base.Translation`."""

    name = "anthropic_messages to openai_chat"
    client = "anthropic_messages"
    upstream = "openai_chat"

    def translate(self, body: bytes, occasion: Occasion) -> Translated:
        ask = read_messages_ask(body, _OTHER)
        request = msgspec.json.encode(_request(ask, occasion.model))
        return Translated(self.upstream, "/v1/chat/completions", request, _Translator())


TRANSLATION: Final = AnthropicToChat()


def _request(ask: MessagesAsk, model: str) -> dict[str, Any]:
    """The request; the cap is put into it where every call's is, in the field that the model obeys."""
    stops = ask.stop_sequences or []
    if len(stops) > _STOPS_MAX:
        unsupported(f"stop_sequences[{_STOPS_MAX}]", _OTHER, f"It stops at up to {_STOPS_MAX} texts.")
    members: dict[str, Any] = {
        "model": model,
        "messages": conversation(ask),
        "stream": ask.stream or None,
        "stream_options": {"include_usage": True} if ask.stream else None,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "stop": stops or None,
        "tools": [_tool(tool, f"tools[{place}]") for place, tool in enumerate(ask.tools or ())] or None,
        "tool_choice": _tool_choice(ask),
        "parallel_tool_calls": False if _is_single(ask) else None,
        "response_format": _format(ask),
        "reasoning_effort": _effort(ask),
    }
    return {name: value for name, value in members.items() if value is not None}


def _tool(tool: dict[str, Any], where: str) -> dict[str, Any]:
    if tool.get("type") not in (None, "custom"):
        unsupported(f"{where}.type", _OTHER, "Only tools that the caller runs can be translated.")
    for name, value in tool.items():
        if name not in _TOOL_KEYS and is_set(value):
            unsupported(f"{where}.{name}", _OTHER)
    function = {"name": tool.get("name"), "parameters": tool.get("input_schema") or {"type": "object"}}
    if tool.get("description"):
        function["description"] = tool["description"]
    if tool.get("strict"):
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(ask: MessagesAsk) -> Any:
    choice = ask.tool_choice
    if choice is None or not ask.tools:
        return None
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    if choice.type not in _CHOICES:
        unsupported("tool_choice.type", _OTHER)
    return _CHOICES[choice.type]


def _is_single(ask: MessagesAsk) -> bool:
    return bool(ask.tools and ask.tool_choice is not None and ask.tool_choice.disable_parallel_tool_use)


def _format(ask: MessagesAsk) -> dict[str, Any] | None:
    if ask.schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": ask.schema, "strict": True}}


def _effort(ask: MessagesAsk) -> str | None:
    """How hard to think, where the request says it; a model that may choose is left to choose."""
    thinking = ask.thinking
    if thinking is not None and thinking.type == "disabled":
        return None
    if ask.output_config is not None and ask.output_config.effort:
        return ask.output_config.effort
    if thinking is None or thinking.budget_tokens is None:
        return None
    budget = thinking.budget_tokens
    return next(effort for least, effort in _EFFORTS if budget >= least)
