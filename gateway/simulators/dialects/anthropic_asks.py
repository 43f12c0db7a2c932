"""What a Messages request asks for, once it is found to be in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from gateway.simulators.answers import Ask, Tool
from gateway.simulators.tokens import count, count_json

__all__ = ["ask_of", "blocks_of", "is_result", "texts_of"]

_REQUEST: Final = 7  # tokens of a prompt of one message beside its text, as recorded
_MESSAGE: Final = 3
_IMAGE: Final = 1_334


def ask_of(document: Mapping[str, Any], reasoning: int) -> Ask:
    """The request in no dialect's words."""
    messages = document["messages"]
    choice = document.get("tool_choice") or {}
    return Ask(
        model=document["model"],
        prompt="\n".join(texts_of(_last_user(messages))),
        input_tokens=_input_tokens(document),
        cap=document.get("max_tokens"),
        tools=_tools(document),
        calls=_calls(choice),
        parallel=not choice.get("disable_parallel_tool_use"),
        users_turn=not any(is_result(block) for block in blocks_of(messages[-1])),
        schema=_schema(document),
        reasoning=reasoning,
        stops=tuple(document.get("stop_sequences") or ()),
    )


def is_result(block: Mapping[str, Any]) -> bool:
    """Whether a block is a tool's result."""
    return block.get("type") == "tool_result"


def _tools(document: Mapping[str, Any]) -> tuple[Tool, ...]:
    """The caller's own tools; the provider's run on its side."""
    offered = [tool for tool in document.get("tools") or [] if tool.get("type") in (None, "custom")]
    choice = document.get("tool_choice") or {}
    if choice.get("type") == "tool":
        offered = [tool for tool in offered if tool["name"] == choice.get("name")]
    return tuple(Tool(tool["name"], tool["input_schema"]) for tool in offered)


def _calls(choice: Any) -> Literal["auto", "must", "never"]:
    match (choice or {}).get("type"):
        case "any" | "tool":
            return "must"
        case "none":
            return "never"
        case _:
            return "auto"


def _schema(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = (document.get("output_config") or {}).get("format") or {}
    return wanted.get("schema") if wanted.get("type") == "json_schema" else None


def blocks_of(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The content of a message as blocks, also when it is a string."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content or []


def _last_user(messages: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The last message in which the user says something, for tool results say nothing."""
    speaking = [message for message in messages if message["role"] == "user" and any(texts_of(message))]
    return speaking[-1] if speaking else messages[0]


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """The texts of a message."""
    return [str(block["text"]) for block in blocks_of(message) if block.get("type") == "text"]


def _input_tokens(document: Mapping[str, Any]) -> int:
    """What the prompt bills: its texts and its JSON, and a little for every message."""
    messages = document["messages"]
    total = _REQUEST + _MESSAGE * (len(messages) - 1)
    for message in messages:
        total += sum(_block_tokens(block) for block in blocks_of(message))
    system = document.get("system") or []
    total += count(system) if isinstance(system, str) else sum(_block_tokens(block) for block in system)
    if document.get("tools"):
        total += count_json(document["tools"])
    return total


def _block_tokens(block: Mapping[str, Any]) -> int:
    match block.get("type"):
        case "text":
            return count(str(block["text"]))
        case "image" | "document":
            return _IMAGE
        case "tool_use":
            return count_json({"name": block.get("name"), "input": block.get("input")})
        case "tool_result":
            return sum(_nested_tokens(block.get("content")))
        case _:
            return 0


def _nested_tokens(content: Any) -> Iterator[int]:
    if isinstance(content, str):
        yield count(content)
    for block in content if isinstance(content, list) else []:
        yield _block_tokens(block)
