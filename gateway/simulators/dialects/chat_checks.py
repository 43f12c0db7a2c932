"""Reads a chat completions request as strictly as OpenAI does.

The checks and their messages are those of recorded refusals where there are any; the order (parameters the
model does not know, then values, then messages) is that of the recorded request that was wrong in three ways.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.simulators.answers import Ask
from gateway.simulators.dialects.chat_asks import ask_of
from gateway.simulators.dialects.openai_errors import invalid, no_model, openai_error, unparsable
from gateway.simulators.models import Model, find_model

__all__ = ["check_range", "expect", "find_openai_model", "read_ask", "read_document"]

_KNOWN = """
    messages model audio frequency_penalty function_call functions logit_bias logprobs
    max_completion_tokens max_tokens metadata modalities n parallel_tool_calls prediction
    presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort
    response_format safety_identifier seed service_tier stop store stream stream_options temperature
    tool_choice tools top_logprobs top_p user verbosity web_search_options moderation
"""
_FIELDS: Final = frozenset(_KNOWN.split())
_ROLES: Final = ("system", "assistant", "user", "function", "tool", "developer")
# What o-series and gpt-5 models do not take (recorded: max_tokens, stop).
_NOT_FOR_REASONING: Final = (
    "stop",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
)
_RANGES: Final = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
_INTEGERS: Final = {
    "max_tokens": (1, None),
    "max_completion_tokens": (1, None),
    "n": (1, 128),
    "top_logprobs": (0, 20),
}


def read_document(body: bytes) -> dict[str, Any]:
    """The request body as a JSON object."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise unparsable() from None
    if not isinstance(document, dict):
        raise invalid(
            f"Invalid type for body: expected an object, but got {_called(document)} instead.",
            None,
            "invalid_type",
        )
    return document


def read_ask(document: Mapping[str, Any], model: Model) -> Ask:
    """What a chat request asks for. Raises the provider's refusal."""
    if model.reasons:
        _check_reasoning_model(document)
    _check_numbers(document, model)
    _check_options(document)
    _check_messages(document)
    check_pairing(document["messages"])
    _check_tools(document)
    _check_format(document)
    cap = document.get("max_completion_tokens")
    ask = ask_of(document, model, document.get("max_tokens") if cap is None else cap)
    _check_context(ask, model)
    return ask


def find_openai_model(document: Mapping[str, Any], kind: str) -> Model:
    """The model a request names. Raises the 404 of one that does not exist or is of another kind."""
    name = document.get("model")
    if name is None:
        raise invalid("you must provide a model parameter", None)
    expect(name, str, "model", "a string")
    model = find_model("openai", name)
    if model is None or model.kind != kind:
        raise no_model(name)
    return model


def _check_reasoning_model(document: Mapping[str, Any]) -> None:
    if document.get("max_tokens") is not None:
        raise invalid(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    for name in _NOT_FOR_REASONING:
        if document.get(name):
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            raise invalid(message, name, "unsupported_parameter")
    for name in ("temperature", "top_p"):
        if document.get(name) not in (None, 1):
            message = (
                f"Unsupported value: '{name}' does not support {document[name]} with this model. Only the "
                "default (1) value is supported."
            )
            raise invalid(message, name, "unsupported_value")


def _check_numbers(document: Mapping[str, Any], model: Model) -> None:
    for name, (low, high) in _RANGES.items():
        check_range(document, name, low, high, "decimal")
    for name, (least, most) in _INTEGERS.items():
        value = document.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            expect(value, int, name, "an integer")
        check_range(document, name, least, most, "integer")
    for name in ("max_tokens", "max_completion_tokens"):
        value = document.get(name) or 0
        if value > model.max_output:
            raise invalid(
                f"{name} is too large: {value}. This model supports at most {model.max_output} completion "
                f"tokens, whereas you provided {value}.",
                name,
                "invalid_value",
            )


def check_range(document: Mapping[str, Any], name: str, low: int, high: int | None, kind: str) -> None:
    """Raise the 400 for a number out of its range; `kind` is decimal or integer."""
    value = document.get(name)
    if value is None:
        return
    expect(value, (int, float), name, f"a {kind}")
    if value < low:
        message = f"{kind} below minimum value. Expected a value >= {low}, but got {value} instead."
        raise invalid(f"Invalid '{name}': {message}", name, f"{kind}_below_min_value")
    if high is not None and value > high:
        message = f"{kind} above maximum value. Expected a value <= {high}, but got {value} instead."
        raise invalid(f"Invalid '{name}': {message}", name, f"{kind}_above_max_value")


def _check_options(document: Mapping[str, Any]) -> None:
    unknown = [name for name in document if name not in _FIELDS]
    if unknown:
        raise openai_error(400, f"Unrecognized request argument supplied: {unknown[0]}")
    if document.get("stream_options") is not None and not document.get("stream"):
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    if document.get("max_tokens") is not None and document.get("max_completion_tokens") is not None:
        raise invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    for name in ("stream", "logprobs", "parallel_tool_calls", "store"):
        if document.get(name) is not None:
            expect(document[name], bool, name, "a boolean")
    if document.get("top_logprobs") is not None and not document.get("logprobs"):
        raise invalid(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs"
        )
    if document.get("tools") is None and document.get("tool_choice") not in (None, "none"):
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise invalid(message, "tool_choice")


def _check_messages(document: Mapping[str, Any]) -> None:
    messages = document.get("messages")
    if messages is None:
        raise invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    expect(messages, list, "messages", "an array of objects")
    if not messages:
        raise invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
            "array instead.",
            "messages",
            "empty_array",
        )
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")


def _check_message(message: Any, where: str) -> None:
    expect(message, dict, where, "an object")
    role = message.get("role")
    if role is None:
        raise invalid(
            f"Missing required parameter: '{where}.role'.", f"{where}.role", "missing_required_parameter"
        )
    if role not in _ROLES:
        listed = ", ".join(f"'{known}'" for known in _ROLES[:-1])
        raise invalid(
            f"Invalid value: '{role}'. Supported values are: {listed}, and '{_ROLES[-1]}'.",
            f"{where}.role",
            "invalid_value",
        )
    content = message.get("content")
    if content is None and role != "assistant":
        raise invalid("Invalid value for 'content': expected a string, got null.", f"{where}.content", None)
    if content is not None:
        expect(content, (str, list), f"{where}.content", "one of a string or array of objects")


def check_pairing(messages: Sequence[Mapping[str, Any]]) -> None:
    """Every tool call has its results right after it, and every result its call right before it."""
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise invalid(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                    "message with 'tool_calls'.",
                    f"messages.[{index}].role",
                )
            open_calls.remove(str(message["tool_call_id"]))
            continue
        if open_calls:
            break
        open_calls = [str(call.get("id")) for call in message.get("tool_calls") or []]
    if open_calls:
        raise invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: "
            f"{', '.join(open_calls)}",
            "messages",
        )


def _check_tools(document: Mapping[str, Any]) -> None:
    offered = document.get("tools") or []
    expect(offered, list, "tools", "an array of objects")
    names = []
    for index, tool in enumerate(offered):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            where = f"tools[{index}].function"
            raise invalid(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
        names.append(function["name"])
    choice = document.get("tool_choice")
    if isinstance(choice, dict):
        named = (choice.get("function") or {}).get("name")
        if named not in names:
            message = f"Tool choice '{named}' not found in 'tools' parameter."
            raise invalid(message, "tool_choice", "invalid_value")


def _check_format(document: Mapping[str, Any]) -> None:
    wanted = document.get("response_format") or {"type": "text"}
    expect(wanted, dict, "response_format", "an object")
    if wanted.get("type") != "json_schema":
        return
    described = wanted.get("json_schema")
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        where = "response_format.json_schema"
        raise invalid(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    schema = described["schema"]
    closed = schema.get("type") != "object" or schema.get("additionalProperties") is False
    if described.get("strict") and not closed:
        raise invalid(
            f"Invalid schema for response_format '{described.get('name')}': In context=(), "
            "'additionalProperties' is required to be supplied and to be false.",
            "response_format",
        )


def _check_context(ask: Ask, model: Model) -> None:
    if ask.input_tokens > model.context:
        raise invalid(
            f"This model's maximum context length is {model.context} tokens. However, your messages "
            f"resulted in {ask.input_tokens} tokens. Please reduce the length of the messages.",
            "messages",
            "context_length_exceeded",
        )


def _called(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer"}
    return names.get(type(value), "null" if value is None else "a decimal")


def expect(value: Any, kind: type | tuple[type, ...], name: str, called: str) -> None:
    """Raise the 400 for a value of another type; `called` is the type in OpenAI's words."""
    if not isinstance(value, kind):
        message = f"Invalid type for '{name}': expected {called}, but got {_called(value)} instead."
        raise invalid(message, name, "invalid_type")
