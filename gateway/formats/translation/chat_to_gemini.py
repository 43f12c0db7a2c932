"""Chat completions asked of Gemini's generateContent: the request, and the way back of its answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.domain.usage import Usage
from gateway.formats.base import Dialect
from gateway.formats.gemini_paths import resource_of
from gateway.formats.translation.base import Occasion, Translated, Writer
from gateway.formats.translation.chat_asks import Ask, Tool, read_ask
from gateway.formats.translation.errors import chat_error, read_fault
from gateway.formats.translation.gemini_answers import GeminiWriter, Identity, read_responses
from gateway.formats.translation.gemini_prompt import conversation
from gateway.formats.translation.refusing import is_set, unsupported

__all__ = ["TRANSLATION"]

_OTHER: Final = "Gemini"
# The method of the API and the format that meters it.
_WHOLE: Final = ("generateContent", "gemini_generate")
_STREAMED: Final = ("streamGenerateContent", "gemini_stream")
_TIERS: Final = {"default": "standard", "flex": "flex", "priority": "priority"}
_STOPS_MAX: Final = 5
# Google's own compatibility layer maps efforts to these (ai.google.dev/gemini-api/docs/openai, "Thinking").
_BUDGETS: Final = {
    "none": 0,
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}
_LEVELS: Final = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
# Models whose thinking is bounded by a budget, and those that cannot leave it.
_BUDGETED: Final = re.compile(r"gemini-[12]\b")
_ALWAYS_THINKS: Final = re.compile(r"gemini-\d+(?:\.\d+)?-pro\b")
_TWO_LEVELS: Final = re.compile(r"gemini-3-pro\b")


class _Translator:
    """See `gateway.formats.translation.base.Translator`."""

    dialect: Dialect = "openai"

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def writer(self, *, wants_usage: bool) -> Writer:
        return GeminiWriter(self._identity, wants_usage=wants_usage)

    def reply(self, body: bytes, usage: Usage | None) -> bytes:
        return read_responses(body, self._identity, usage)

    def refusal(self, status: int | None, body: bytes) -> tuple[int, bytes]:
        return chat_error(read_fault(body, status))


class ChatToGemini:
    """See `gateway.formats.translation.base.Translation`."""

    name = "openai_chat to gemini_generate"
    client = "openai_chat"
    upstream = "gemini_generate"

    def translate(self, body: bytes, occasion: Occasion) -> Translated:
        ask = read_ask(body, _OTHER)
        _refuse(ask)
        request = msgspec.json.encode(_request(ask, occasion.model))
        method, name = _STREAMED if ask.stream else _WHOLE
        path = f"/v1beta/{resource_of(occasion.model)}:{method}"
        return Translated(name, path, request, _Translator(Identity(occasion.at_us)))


TRANSLATION: Final = ChatToGemini()


def _refuse(ask: Ask) -> None:
    """Refuse what Gemini's API has no field for, unless it asks for nothing."""
    if ask.parallel_tool_calls is False and ask.tools:
        unsupported("parallel_tool_calls", _OTHER, "Gemini may call several tools at once; leave it out.")
    if ask.service_tier not in (None, "auto", *_TIERS):
        unsupported("service_tier", _OTHER, f"One of auto, {', '.join(_TIERS)}.")
    if len(ask.stops) > _STOPS_MAX:
        unsupported(f"stop[{_STOPS_MAX}]", _OTHER, f"Gemini stops at up to {_STOPS_MAX} texts.")
    if ask.reasoning_effort not in (None, *_BUDGETS):
        unsupported("reasoning_effort", _OTHER, f"One of {', '.join(_BUDGETS)}.")


def _request(ask: Ask, model: str) -> dict[str, Any]:
    system, contents = conversation(ask.messages, model)
    members: dict[str, Any] = {
        "contents": contents,
        "systemInstruction": {"parts": system} if system else None,
        "tools": [{"functionDeclarations": [_tool(tool) for tool in ask.tools]}] if ask.tools else None,
        "toolConfig": _tool_config(ask),
        "generationConfig": _config(ask, model),
        "serviceTier": _TIERS.get(ask.service_tier or ""),
    }
    return _without_empty(members.items())


def _without_empty(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in members if value is not None and value not in ([], {})}


def _config(ask: Ask, model: str) -> dict[str, Any]:
    members: dict[str, Any] = {
        "maxOutputTokens": ask.cap,
        "candidateCount": None if ask.n == 1 else ask.n,
        "stopSequences": ask.stops,
        "temperature": ask.temperature,
        "topP": ask.top_p,
        "seed": ask.seed,
        "presencePenalty": ask.presence_penalty or None,
        "frequencyPenalty": ask.frequency_penalty or None,
        "responseLogprobs": ask.logprobs or None,
        "logprobs": ask.top_logprobs or None,
        "thinkingConfig": _thinking(ask.reasoning_effort, model),
    }
    if ask.response_format is not None and ask.response_format.type != "text":
        members["responseMimeType"] = "application/json"
        members["responseJsonSchema"] = ask.schema
    return _without_empty(members.items())


def _thinking(effort: str | None, model: str) -> dict[str, Any] | None:
    """How hard the model thinks; who asks for an effort is shown a summary of the thoughts."""
    if effort is None:
        return None
    if effort == "none" and _ALWAYS_THINKS.match(model):
        unsupported("reasoning_effort", _OTHER, "This model always thinks; `low` is its least.")
    shown = {} if effort == "none" else {"includeThoughts": True}
    if _BUDGETED.match(model):
        return {"thinkingBudget": _BUDGETS[effort], **shown}
    level = _LEVELS[effort]
    if _ALWAYS_THINKS.match(model) and level == "MINIMAL":
        level = "LOW"
    if _TWO_LEVELS.match(model) and level == "MEDIUM":
        level = "HIGH"
    return {"thinkingLevel": level, **shown}


def _tool(tool: Tool) -> dict[str, Any]:
    assert tool.function is not None, "read_ask refuses tools without a function"
    members = {
        "name": tool.function.name,
        "description": tool.function.description,
        "parametersJsonSchema": tool.function.parameters,
    }
    return {name: value for name, value in members.items() if is_set(value)}


def _tool_config(ask: Ask) -> dict[str, Any] | None:
    """`VALIDATED` is how Gemini keeps to the schemas of strict tools where it may also just talk."""
    if not ask.tools:
        return None
    is_strict = any(tool.function is not None and tool.function.strict for tool in ask.tools)
    if ask.named_tool is not None:
        calling: dict[str, Any] = {"mode": "ANY", "allowedFunctionNames": [ask.named_tool]}
    elif ask.tool_choice == "required":
        calling = {"mode": "ANY"}
    elif ask.tool_choice == "none":
        calling = {"mode": "NONE"}
    elif is_strict:
        calling = {"mode": "VALIDATED"}
    else:
        return None
    return {"functionCallingConfig": calling}
