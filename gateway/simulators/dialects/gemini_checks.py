"""Reads a generateContent request as strictly as Gemini does, and says what it asks for.

Field names are accepted in camelCase and in snake_case, as SDKs send both. Contents must alternate, and a
turn of function calls must be followed by as many responses.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from gateway.simulators.answers import Ask, Tool
from gateway.simulators.dialects.gemini_errors import invalid
from gateway.simulators.models import Model
from gateway.simulators.tokens import count, count_json

__all__ = ["camel", "contents_tokens", "last_text", "read_ask", "read_document"]

_KNOWN = """
    contents systemInstruction tools toolConfig safetySettings generationConfig cachedContent serviceTier
    model labels store
"""
_FIELDS: Final = frozenset(_KNOWN.split())
_CONFIG = """
    maxOutputTokens candidateCount stopSequences temperature topP topK seed responseMimeType
    responseSchema responseJsonSchema _responseJsonSchema responseModalities mediaResolution
    thinkingConfig responseLogprobs logprobs speechConfig presencePenalty frequencyPenalty imageConfig
    enableEnhancedCivicAnswers
"""
_CONFIG_FIELDS: Final = frozenset(_CONFIG.split())
# What is the caller's own and keeps its names.
_OPAQUE: Final = frozenset(
    {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"}
)
_SNAKE: Final = re.compile(r"(?<=[a-z0-9])_([a-z])")
_THINKS: Final = 32
_MOST_CANDIDATES: Final = 8
_MEDIA: Final = 258  # tokens of an image, as the API documents them


def read_document(body: bytes) -> dict[str, Any]:
    """The request body as a JSON object, its own field names in camelCase."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("Invalid JSON payload received. Unable to parse the body.") from None
    if not isinstance(document, dict):
        raise invalid('Invalid JSON payload received. Unknown name "": Root element must be a message.')
    renamed: dict[str, Any] = camel(document)
    return renamed


def camel(value: Any) -> Any:
    """The same with snake_case names made camelCase, but for what belongs to the caller."""
    if isinstance(value, list):
        return [camel(part) for part in value]
    if not isinstance(value, dict):
        return value
    named = {_SNAKE.sub(lambda found: found.group(1).upper(), name): part for name, part in value.items()}
    return {name: part if name in _OPAQUE else camel(part) for name, part in named.items()}


def read_ask(document: Mapping[str, Any], model: Model, requested: str) -> Ask:
    """What a request asks for. Raises the refusal."""
    _check_names(document)
    config = document.get("generationConfig") or {}
    _check_config(config)
    contents = _contents(document)
    _check_turns(contents, model)
    tokens = input_tokens(document)
    if tokens > model.context:
        raise invalid(
            f"The input token count ({tokens}) exceeds the maximum number of tokens allowed "
            f"({model.context})."
        )
    calling = (document.get("toolConfig") or {}).get("functionCallingConfig") or {}
    return Ask(
        model=requested,
        prompt=last_text(contents),
        input_tokens=tokens,
        cap=config.get("maxOutputTokens"),
        choices=config.get("candidateCount") or 1,
        tools=_tools(document, calling.get("allowedFunctionNames")),
        calls=_calls(calling.get("mode")),
        users_turn=not any("functionResponse" in part for part in _parts(contents[-1])),
        schema=_schema(config),
        reasoning=_thinking(config, model),
        stops=tuple(config.get("stopSequences") or ()),
    )


def _check_names(document: Mapping[str, Any]) -> None:
    for name in document:
        if name not in _FIELDS:
            raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    for name in document.get("generationConfig") or {}:
        if name not in _CONFIG_FIELDS:
            raise invalid(
                f"Invalid JSON payload received. Unknown name \"{name}\" at 'generation_config': Cannot find "
                "field."
            )


def _check_config(config: Mapping[str, Any]) -> None:
    cap = config.get("maxOutputTokens")
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        raise invalid("* GenerateContentRequest.generation_config.max_output_tokens: must be positive.\n")
    warmth = config.get("temperature")
    if warmth is not None and not (isinstance(warmth, (int, float)) and 0 <= warmth <= 2):
        where = "* GenerateContentRequest.generation_config.temperature"
        raise invalid(f"{where}: temperature must be in the range [0.0, 2.0].\n")
    if not 1 <= (config.get("candidateCount") or 1) <= _MOST_CANDIDATES:
        where = "* GenerateContentRequest.generation_config.candidate_count"
        raise invalid(f"{where}: must be in the range [1, {_MOST_CANDIDATES}].\n")
    if len(config.get("stopSequences") or []) > 5:
        raise invalid("* GenerateContentRequest.generation_config.stop_sequences: at most 5 are allowed.\n")


def _contents(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    contents = document.get("contents")
    if not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified\n")
    if not isinstance(contents, list) or not all(isinstance(one, dict) for one in contents):
        raise invalid(
            "Invalid value at 'contents' (type.googleapis.com/google.ai.generativelanguage.Content)"
        )
    for index, content in enumerate(contents):
        if content.get("role", "user") not in ("user", "model"):
            raise invalid("Please use a valid role: user, model.")
        if not content.get("parts"):
            where = f"* GenerateContentRequest.contents[{index}].parts"
            raise invalid(f"{where}: contents.parts must not be empty.\n")
        for place, part in enumerate(_parts(content)):
            _check_part(part, f"contents[{index}].parts[{place}]")
    checked: Sequence[Mapping[str, Any]] = contents
    return checked


def _check_part(part: Mapping[str, Any], where: str) -> None:
    """A function's response names it and is an object; data in the body say what they are."""
    told = part.get("functionResponse")
    if told is not None and not told.get("name"):
        raise invalid(f"* GenerateContentRequest.{where}.function_response.name: Name cannot be empty.\n")
    if told is not None and not isinstance(told.get("response"), dict):
        raise invalid(f"Invalid value at '{where}.function_response.response' (type.googleapis.com/Struct)")
    if "inlineData" in part and not part["inlineData"].get("mimeType"):
        raise invalid(f"* GenerateContentRequest.{where}.inline_data.mime_type: must not be empty.\n")


def _check_turns(contents: Sequence[Mapping[str, Any]], model: Model) -> None:
    roles = [content.get("role", "user") for content in contents]
    if any(before == after for before, after in itertools.pairwise(roles)):
        raise invalid("Please ensure that multiturn requests alternate between user and model.")
    if roles[-1] != "user":
        raise invalid("Please ensure that multiturn requests end with a user role or a function response.")
    called = 0
    for content in contents:
        answered = sum("functionResponse" in part for part in _parts(content))
        if answered != called:
            raise invalid(
                "Please ensure that the number of function response parts is equal to the number of function "
                "call parts of the function call turn."
            )
        made = [part for part in _parts(content) if "functionCall" in part]
        called = len(made)
        if made and model.name.startswith("gemini-3") and not made[0].get("thoughtSignature"):
            name = made[0]["functionCall"].get("name")
            raise invalid(
                f"Function call `default_api:{name}` in the 1. content block is missing a "
                "`thought_signature`."
            )


def _tools(document: Mapping[str, Any], allowed: Any) -> tuple[Tool, ...]:
    declared = [one for tool in document.get("tools") or [] for one in tool.get("functionDeclarations") or []]
    if allowed:
        declared = [one for one in declared if one.get("name") in allowed]
    return tuple(
        Tool(str(one.get("name")), one.get("parameters") or one.get("parametersJsonSchema") or {})
        for one in declared
    )


def _calls(mode: Any) -> Literal["auto", "must", "never"]:
    match str(mode).upper():
        case "ANY":
            return "must"
        case "NONE":
            return "never" if mode else "auto"
        case _:
            return "auto"


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if config.get("responseMimeType") != "application/json":
        return None
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    return schema or {"type": "object", "properties": {"answer": {"type": "string"}}}


def _thinking(config: Mapping[str, Any], model: Model) -> int:
    asked = config.get("thinkingConfig") or {}
    return _THINKS if model.reasons and asked.get("thinkingBudget") != 0 else 0


def _parts(content: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [part for part in content.get("parts") or [] if isinstance(part, dict)]


def last_text(contents: Sequence[Mapping[str, Any]]) -> str:
    """What the user said last."""
    spoken = [
        "\n".join(texts)
        for content in contents
        if content.get("role", "user") == "user"
        if (texts := [str(part["text"]) for part in _parts(content) if "text" in part])
    ]
    return spoken[-1] if spoken else ""


def input_tokens(document: Mapping[str, Any]) -> int:
    """What the prompt bills: its contents, its system instruction, its tools. At least one."""
    total = contents_tokens(document["contents"])
    if isinstance(document.get("systemInstruction"), dict):
        total += contents_tokens([document["systemInstruction"]])
    if document.get("tools"):
        total += count_json(document["tools"])
    return max(total, 1)


def contents_tokens(contents: Sequence[Mapping[str, Any]]) -> int:
    """The tokens of every part."""
    return sum(tokens for content in contents for tokens in _each_part(content))


def _each_part(content: Mapping[str, Any]) -> Iterator[int]:
    for part in _parts(content):
        if "text" in part:
            yield count(str(part["text"]))
        elif "inlineData" in part or "fileData" in part:
            yield _MEDIA
        else:
            kept = {name: value for name, value in part.items() if name != "thoughtSignature"}
            yield count_json(kept)
