"""The description of the admin plane says what there is, and nothing in it leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.api.admin.routes import OPERATIONS, admin_routes
from gateway.api.openapi import document
from tests.api.admin.conftest import Plane

DOCUMENT = document(OPERATIONS)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from nodes(inner)
    elif isinstance(node, (list, tuple)):
        for inner in node:
            yield from nodes(inner)


def test_every_operation_is_described_once() -> None:
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(operation.method, operation.path) for operation in OPERATIONS}
    ids = [each["operationId"] for methods in DOCUMENT["paths"].values() for each in methods.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS)


def test_no_reference_leads_nowhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for node in nodes(DOCUMENT):
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/components/schemas/") in schemas
    for name in schemas:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)


def test_paths_and_parameters_agree() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for entry in methods.values():
            named = {each["name"] for each in entry["parameters"] if each["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_bodies_take_no_unknown_field_and_queries_no_null() -> None:
    for methods in DOCUMENT["paths"].values():
        for entry in methods.values():
            if "requestBody" in entry:
                reference = entry["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                body = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
                assert body["additionalProperties"] is False
            for parameter in entry["parameters"]:
                assert "null" not in str(parameter["schema"])


def test_it_is_served_to_everybody(plane: Plane) -> None:
    answer = plane.raw("GET", "/openapi.json")
    assert (answer.status, answer.json["openapi"]) == (200, "3.1.0")
    assert answer.json["paths"].keys() == DOCUMENT["paths"].keys()
    assert admin_routes.__doc__
