"""Small values that a JSON schema accepts."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.simulators.schemas import sample


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "a short answer"),
        ({"type": "STRING", "maxLength": 3}, "a s"),
        ({"type": "string", "minLength": 16}, "a short answer.."),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "integer", "minimum": 10}, 10),
        ({"type": "integer", "maximum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 7}, 8),
        ({"type": "number"}, 0.5),
        ({"type": "null"}, None),
        ({"const": 4}, 4),
        ({"enum": ["b", "a"]}, "b"),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 7),
        ({"allOf": [{"type": "object"}, {"properties": {"a": {"type": "integer"}}}]}, {"a": 7}),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [7, 7]),
        ({"properties": {"a": {"type": "boolean"}}}, {"a": True}),
        ({"$ref": "#/$defs/Step", "$defs": {"Step": {"type": "integer"}}}, 7),
        ({}, "a short answer"),
    ],
)
def test_samples(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema) == value


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}
    assert "next" in sample({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
