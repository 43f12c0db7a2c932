"""A small value that a JSON schema accepts: what a simulated model answers when it must answer in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["sample"]

_DEPTH: Final = 12
# A schema can ask for more than anybody wants to wait for.
_MOST_ITEMS: Final = 100
_LONGEST_TEXT: Final = 10_000
_FORMATS: Final = {
    "date-time": "2025-01-01T12:00:00Z",
    "date": "2025-01-01",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: Mapping[str, Any]) -> Any:
    """A value for a schema of the kind that tools and structured output use; every property is filled.

    Gemini's upper-case type names are understood. A schema that refers to itself ends in null or empty.
    """
    return _sample(schema, schema, _DEPTH)


def _sample(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    if "$ref" in schema:
        return _sample(_referred(str(schema["$ref"]), root), root, depth - 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _sample(_simplest(schema[key]), root, depth - 1)
    if schema.get("allOf"):
        merged = {key: value for part in schema["allOf"] for key, value in part.items()}
        return _sample(merged, root, depth - 1)
    return _of_type(_type_of(schema), schema, root, depth)


def _type_of(schema: Mapping[str, Any]) -> str:
    named = schema.get("type")
    if isinstance(named, list):
        named = next((one for one in named if one != "null"), "null")
    if named is None:
        return "object" if "properties" in schema else "string"
    return str(named).lower()


def _of_type(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            return {name: _sample(part, root, depth - 1) for name, part in properties.items()}
        case "array":
            count = min(max(int(schema.get("minItems", 1)), 0), _MOST_ITEMS) if depth > 1 else 0
            return [_sample(schema.get("items", {}), root, depth - 1) for _ in range(count)]
        case "integer":
            return int(_number(schema, 7))
        case "number":
            return _number(schema, 0.5)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(schema)


def _number(schema: Mapping[str, Any], usual: float) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - 1)
    return float(min(max(usual, low), high))


def _text(schema: Mapping[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "a short answer")
    shortest, longest = int(schema.get("minLength", 0)), schema.get("maxLength")
    text = text.ljust(min(shortest, _LONGEST_TEXT), ".")
    return text if longest is None else text[: int(longest)]


def _simplest(options: Any) -> Any:
    """The first option that is not null, for a null would say nothing."""
    return next((option for option in options if option.get("type") != "null"), options[0])


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """What a local pointer such as ``#/$defs/Step`` points to (RFC 6901)."""
    found: Any = root
    for step in reference.lstrip("#/").split("/"):
        if step:
            found = (
                found.get(step.replace("~1", "/").replace("~0", "~"), {})
                if isinstance(found, Mapping)
                else {}
            )
    return found
