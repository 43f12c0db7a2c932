"""What a chat completions request asks for, once it is found to be in order; shared by those who speak it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from gateway.simulators.answers import Ask, Tool
from gateway.simulators.models import Model
from gateway.simulators.tokens import count, count_json

__all__ = ["DEFAULT_REASONING", "ask_of", "input_tokens", "last_user_text", "text_of"]

DEFAULT_REASONING: Final = 64
# What an image costs a model of the gpt-4o family: 85 when low, and usually four tiles of 170 more.
_LOW_IMAGE: Final = 85
_IMAGE: Final = 765
_MESSAGE: Final = 4
_ANSWER_HEAD: Final = 3
_JSON_OBJECT: Final = {"type": "object", "properties": {"answer": {"type": "string"}}}

_Message = Mapping[str, Any]


def ask_of(document: Mapping[str, Any], model: Model, cap: int | None) -> Ask:
    """The request in no dialect's words."""
    messages = document["messages"]
    choice = document.get("tool_choice")
    return Ask(
        model=document["model"],
        prompt=last_user_text(messages),
        input_tokens=input_tokens(document),
        cap=cap,
        choices=document.get("n") or 1,
        tools=_tools(document, choice),
        calls=_calls(choice),
        parallel=document.get("parallel_tool_calls") is not False,
        users_turn=messages[-1]["role"] not in ("tool", "function"),
        schema=_schema(document),
        reasoning=_reasoning(document, model),
        stops=_stops(document.get("stop")),
    )


def last_user_text(messages: Sequence[_Message]) -> str:
    """What the user said last: the prompt that may carry directives."""
    return next((text_of(message) for message in reversed(messages) if message["role"] == "user"), "")


def text_of(message: _Message) -> str:
    """The text of a message, whether it is a string or parts."""
    return "\n".join(_texts(message))


def _texts(message: _Message) -> list[str]:
    content = message.get("content")
    if isinstance(content, list):
        return [str(part["text"]) for part in content if isinstance(part, dict) and "text" in part]
    return [content] if isinstance(content, str) else []


def _tools(document: Mapping[str, Any], choice: Any) -> tuple[Tool, ...]:
    functions = [tool["function"] for tool in document.get("tools") or []]
    offered = [Tool(function["name"], function.get("parameters") or {}) for function in functions]
    if isinstance(choice, dict):
        named = (choice.get("function") or {}).get("name")
        offered = [tool for tool in offered if tool.name == named]
    return tuple(offered)


def _calls(choice: Any) -> Literal["auto", "must", "never"]:
    if choice == "none":
        return "never"
    return "must" if isinstance(choice, dict) or choice == "required" else "auto"


def _stops(asked: Any) -> tuple[str, ...]:
    return (asked,) if isinstance(asked, str) else tuple(asked or ())


def _reasoning(document: Mapping[str, Any], model: Model) -> int:
    quiet = document.get("reasoning_effort") in ("none", "minimal")
    return DEFAULT_REASONING if model.reasons and not quiet else 0


def _schema(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = document.get("response_format") or {"type": "text"}
    match wanted.get("type"):
        case "json_object":
            return _JSON_OBJECT
        case "json_schema":
            schema: Mapping[str, Any] = wanted["json_schema"]["schema"]
            return schema
        case _:
            return None


def input_tokens(document: Mapping[str, Any]) -> int:
    """Four tokens a message and three for the answer's head, as recorded prompts of a few words have them."""
    total = _ANSWER_HEAD + sum(_MESSAGE + _message_tokens(message) for message in document["messages"])
    return total + sum(count_json(document[key]) for key in ("tools", "response_format") if document.get(key))


def _message_tokens(message: _Message) -> int:
    total = sum(count(text) for text in _texts(message))
    if isinstance(message.get("content"), list):
        total += sum(_image_tokens(part) for part in message["content"])
    return total + (count_json(message["tool_calls"]) if message.get("tool_calls") else 0)


def _image_tokens(part: Any) -> int:
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return 0
    image = part.get("image_url")
    low = isinstance(image, dict) and image.get("detail") == "low"
    return _LOW_IMAGE if low else _IMAGE
