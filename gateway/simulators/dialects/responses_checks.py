"""Reads a Responses request as strictly as OpenAI does, and says what it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.simulators.answers import Ask, Tool
from gateway.simulators.dialects.chat_asks import DEFAULT_REASONING
from gateway.simulators.dialects.chat_checks import check_range, expect
from gateway.simulators.dialects.openai_errors import invalid, openai_error
from gateway.simulators.models import Model, find_model
from gateway.simulators.tokens import count, count_json

__all__ = ["read_ask", "read_model"]

_KNOWN = """
    model input instructions background conversation context_management include max_output_tokens
    max_tool_calls metadata parallel_tool_calls previous_response_id prompt prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream
    stream_options temperature text tool_choice tools top_logprobs top_p truncation user moderation
"""
_FIELDS: Final = frozenset(_KNOWN.split())
_LEAST_CAP: Final = 16
_MESSAGE: Final = 4
_ANSWER_HEAD: Final = 3
_IMAGE: Final = 765

_Item = Mapping[str, Any]


def read_model(document: Mapping[str, Any]) -> Model:
    """The model a request names; one that does not exist is a 400 here (recorded), not a 404."""
    name = document.get("model")
    if name is None:
        raise invalid("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    expect(name, str, "model", "a string")
    model = find_model("openai", name)
    if model is None or model.kind != "chat":
        raise invalid(f"The requested model '{name}' does not exist.", "model", "model_not_found")
    return model


def read_ask(document: Mapping[str, Any], model: Model, earlier: int) -> Ask:
    """What a request asks for; `earlier` are the tokens of the conversation it goes on with."""
    for name in document:
        if name not in _FIELDS:
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    cap = document.get("max_output_tokens")
    check_range(document, "max_output_tokens", _LEAST_CAP, None, "integer")
    check_range(document, "temperature", 0, 2, "decimal")
    if model.reasons and document.get("temperature") not in (None, 1):
        message = "Unsupported parameter: 'temperature' is not supported with this model."
        raise invalid(message, "temperature")
    items = _items(document)
    _check_pairing(items, goes_on=bool(document.get("previous_response_id")))
    choice = document.get("tool_choice")
    effort = (document.get("reasoning") or {}).get("effort")
    return Ask(
        model=document["model"],
        prompt=_prompt(items),
        input_tokens=_input_tokens(document, items) + earlier,
        cap=cap,
        tools=_tools(document, choice),
        calls="never" if choice == "none" else "must" if _demands(choice) else "auto",
        parallel=document.get("parallel_tool_calls") is not False,
        users_turn=bool(items) and items[-1].get("type") != "function_call_output",
        schema=_schema(document),
        reasoning=DEFAULT_REASONING if model.reasons and effort not in ("none", "minimal") else 0,
    )


def _items(document: Mapping[str, Any]) -> list[_Item]:
    given = document.get("input")
    if given is None:
        if document.get("previous_response_id") or document.get("prompt") or document.get("conversation"):
            return []
        raise openai_error(
            400,
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
            param="input",
            code="missing_required_parameter",
        )
    expect(given, (str, list), "input", "one of a string or array of objects")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    for index, item in enumerate(given):
        expect(item, dict, f"input[{index}]", "an object")
    return list(given)


def _check_pairing(items: Sequence[_Item], *, goes_on: bool) -> None:
    """Every call has its output, and every output its call, unless that came in an earlier response."""
    called = {str(item.get("call_id")) for item in items if item.get("type") == "function_call"}
    answered = {str(item.get("call_id")) for item in items if item.get("type") == "function_call_output"}
    for call_id in sorted(called - answered):
        raise invalid(f"No tool output found for function call {call_id}.", "input")
    for call_id in sorted(answered - called):
        if not goes_on:
            raise invalid(f"No tool call found for function call output with call_id {call_id}.", "input")


def _texts(item: _Item) -> list[str]:
    content = item.get("content")
    if isinstance(content, str):
        return [content]
    return [str(part["text"]) for part in content or [] if isinstance(part, dict) and "text" in part]


def _prompt(items: Sequence[_Item]) -> str:
    return next(("\n".join(_texts(item)) for item in reversed(items) if item.get("role") == "user"), "")


def _input_tokens(document: Mapping[str, Any], items: Sequence[_Item]) -> int:
    total = _ANSWER_HEAD + sum(_MESSAGE + _item_tokens(item) for item in items)
    if isinstance(document.get("instructions"), str):
        total += _MESSAGE + count(document["instructions"])
    return total + (count_json(document["tools"]) if document.get("tools") else 0)


def _item_tokens(item: _Item) -> int:
    if item.get("type") in ("function_call", "function_call_output"):
        return count_json({name: item[name] for name in ("name", "arguments", "output") if name in item})
    content = item.get("content")
    images = sum(part.get("type") == "input_image" for part in content) if isinstance(content, list) else 0
    return sum(count(text) for text in _texts(item)) + images * _IMAGE


def _tools(document: Mapping[str, Any], choice: Any) -> tuple[Tool, ...]:
    """The caller's functions; other kinds run at the provider."""
    functions = [tool for tool in document.get("tools") or [] if tool.get("type") == "function"]
    if isinstance(choice, dict) and choice.get("type") == "function":
        functions = [tool for tool in functions if tool.get("name") == choice.get("name")]
    return tuple(Tool(str(tool.get("name")), tool.get("parameters") or {}) for tool in functions)


def _demands(choice: Any) -> bool:
    return choice == "required" or (isinstance(choice, dict) and choice.get("type") == "function")


def _schema(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = (document.get("text") or {}).get("format") or {}
    match wanted.get("type"):
        case "json_schema":
            schema: Mapping[str, Any] = wanted.get("schema") or {}
            return schema
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
        case _:
            return None
