"""Chat completions asked of Anthropic's Messages API: the request, and the way back of its answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.domain.usage import Usage
from gateway.formats.base import Dialect
from gateway.formats.translation.anthropic_answers import AnthropicWriter, read_message
from gateway.formats.translation.anthropic_prompt import conversation
from gateway.formats.translation.anthropic_thinking import thinking_of
from gateway.formats.translation.base import Occasion, Translated, Writer
from gateway.formats.translation.chat_asks import Ask, Tool, read_ask
from gateway.formats.translation.errors import chat_error, read_fault
from gateway.formats.translation.refusing import invalid, unsupported

__all__ = ["TRANSLATION"]

_OTHER: Final = "Anthropic"
# A body has to name a cap. Where the client named none, admission chooses one, and what stands here is
# lowered to it: no model writes as much.
_NO_CAP: Final = 2**31 - 1
_TIERS: Final = {"auto": "auto", "default": "standard_only"}
_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any"}
_NOTHING: Final = {"type": "object", "properties": {}}


class _Translator:
    """See `gateway.formats.translation.base.Translator`."""

    dialect: Dialect = "openai"

    def __init__(self, created_s: int) -> None:
        self._created_s = created_s

    def writer(self, *, wants_usage: bool) -> Writer:
        return AnthropicWriter(self._created_s, wants_usage=wants_usage)

    def reply(self, body: bytes, usage: Usage | None) -> bytes:
        return read_message(body, self._created_s, usage)

    def refusal(self, status: int | None, body: bytes) -> tuple[int, bytes]:
        return chat_error(read_fault(body, status))


class ChatToAnthropic:
    """See `gateway.formats.translation.base.Translation`."""

    name = "openai_chat to anthropic_messages"
    client = "openai_chat"
    upstream = "anthropic_messages"

    def translate(self, body: bytes, occasion: Occasion) -> Translated:
        ask = read_ask(body, _OTHER)
        _refuse(ask)
        request = msgspec.json.encode(_request(ask, occasion.model))
        return Translated(self.upstream, "/v1/messages", request, _Translator(occasion.at_us // 1_000_000))


TRANSLATION: Final = ChatToAnthropic()


def _refuse(ask: Ask) -> None:
    """Refuse what Anthropic's API has no field for, unless it asks for nothing."""
    if ask.n not in (None, 1):
        unsupported("n", _OTHER, "Ask several times for several answers.")
    for name in ("seed", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty"):
        if getattr(ask, name):
            unsupported(name, _OTHER)
    if ask.seed is not None:
        unsupported("seed", _OTHER)
    if ask.temperature is not None and ask.temperature > 1:
        unsupported("temperature", _OTHER, "Claude takes temperatures from 0 to 1.")
    if ask.service_tier not in (None, *_TIERS):
        unsupported("service_tier", _OTHER, f"One of {', '.join(_TIERS)}.")
    if ask.response_format is not None and ask.response_format.type == "json_object":
        unsupported("response_format.type", _OTHER, "Ask for `json_schema`, with the schema of the answer.")
    for place, text in enumerate(ask.stops):
        if not text.strip():
            invalid(f"stop[{place}]", "it is blank", "Claude stops at texts that are not blank.")


def _request(ask: Ask, model: str) -> dict[str, Any]:
    system, messages = conversation(ask.messages)
    thinking, effort = thinking_of(ask, model)
    end_user = ask.safety_identifier or ask.user
    output = {"effort": effort, "format": _format(ask)}
    members: dict[str, Any] = {
        "model": model,
        "max_tokens": _NO_CAP if ask.cap is None else ask.cap,
        "system": system,
        "messages": messages,
        "stream": ask.stream or None,
        "stop_sequences": ask.stops,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "tools": [_tool(tool) for tool in ask.tools or ()],
        "tool_choice": _tool_choice(ask) if ask.tools else None,
        "thinking": thinking,
        "output_config": {name: value for name, value in output.items() if value is not None},
        "service_tier": _TIERS.get(ask.service_tier or ""),
        "metadata": {"user_id": end_user} if end_user else None,
    }
    return _without_empty(members.items())


def _without_empty(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in members if value not in (None, [], {})}


def _format(ask: Ask) -> dict[str, Any] | None:
    return None if ask.schema is None else {"type": "json_schema", "schema": ask.schema}


def _tool(tool: Tool) -> dict[str, Any]:
    assert tool.function is not None, "read_ask refuses tools without a function"
    function = tool.function
    schema = dict(function.parameters) if function.parameters else dict(_NOTHING)
    schema.setdefault("type", "object")
    members: dict[str, Any] = {"name": function.name, "input_schema": schema}
    if function.description:
        members["description"] = function.description
    if function.strict:
        members["strict"] = True
    if tool.cache_control:
        members["cache_control"] = tool.cache_control
    return members


def _tool_choice(ask: Ask) -> dict[str, Any] | None:
    if ask.named_tool is not None:
        choice: dict[str, Any] = {"type": "tool", "name": ask.named_tool}
    elif isinstance(ask.tool_choice, str):
        choice = {"type": _CHOICES[ask.tool_choice]}
    elif ask.parallel_tool_calls is False:
        choice = {"type": "auto"}
    else:
        return None
    if ask.parallel_tool_calls is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice
