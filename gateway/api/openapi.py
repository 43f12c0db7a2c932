"""`/openapi.json`: OpenAPI 3.1, made from the very values that routes and checks are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from gateway.api.admin.operations import Operation
from gateway.api.admin.reading import KEY_MAX_CHARACTERS
from gateway.api.admin.roles import ROLES
from gateway.api.problems import TITLES, Problem

__all__ = ["document"]

_REF: Final = "#/components/schemas/{name}"
_PATH_ID: Final = re.compile(r"\{(\w+)\}")
# Any operation can meet these; one with a body some more.
_ALWAYS: Final = (400, 401, 403, 503)
_WITH_BODY: Final = (413, 415)


def document(operations: Sequence[Operation]) -> Mapping[str, Any]:
    """The whole document."""
    kinds = list(dict.fromkeys(_kinds(operations)))
    shapes, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schemas = dict(zip(kinds, shapes, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        entry = _operation(operation, schemas, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate admin plane",
            "version": _version(),
            "description": "Accounts, virtual keys, budgets, grants, prices, leases and the audit log.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"admin_key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"admin_key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _version() -> str:
    try:
        return version("tollgate-gateway")
    except PackageNotFoundError:
        # Run from a checkout that was never installed.
        return "0"


def _kinds(operations: Iterable[Operation]) -> Iterable[Any]:
    yield Problem
    for operation in operations:
        yield from (kind for kind in (operation.body, operation.answer, operation.query) if kind is not None)


def _operation(
    operation: Operation, schemas: Mapping[Any, Any], components: Mapping[str, Any]
) -> Mapping[str, Any]:
    group = operation.name.partition(".")[0]
    entry: dict[str, Any] = {
        "operationId": operation.name.replace(".", "_"),
        "summary": operation.summary,
        "description": f"Roles: {', '.join(ROLES[operation.name])}.",
        "tags": [group],
        "parameters": [*_parameters(operation, schemas, components)],
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        entry["requestBody"] = {
            "required": not operation.may_be_empty,
            "content": {"application/json": {"schema": schemas[operation.body]}},
        }
    return entry


def _parameters(
    operation: Operation, schemas: Mapping[Any, Any], components: Mapping[str, Any]
) -> Iterable[Mapping[str, Any]]:
    for name in _PATH_ID.findall(operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "maxLength": 64}}
    if operation.query is not None:
        shape = components[schemas[operation.query]["$ref"].rpartition("/")[2]]
        for name, schema in shape["properties"].items():
            yield _query_parameter(name, schema, required=name in shape["required"])
    if operation.method == "POST":
        bounds = {"minLength": 1, "maxLength": KEY_MAX_CHARACTERS}
        yield _header("Idempotency-Key", "A repeat with the same key and body changes nothing.", bounds)
    if operation.method == "PATCH":
        yield _header("If-Match", "The ETag you read; 412 when it was changed since.", {})


def _query_parameter(name: str, schema: Mapping[str, Any], *, required: bool) -> Mapping[str, Any]:
    """A query has no null: what may be null is what may be left out."""
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    plain = choices[0] if len(choices) == 1 else dict(schema)
    kept = {key: value for key, value in {**schema, **plain}.items() if key not in ("anyOf", "description")}
    if kept.get("default", 0) is None:
        del kept["default"]
    words = schema.get("description") or plain.get("description") or ""
    return {"name": name, "in": "query", "required": required, "description": words, "schema": kept}


def _header(name: str, description: str, bounds: Mapping[str, int]) -> Mapping[str, Any]:
    schema = {"type": "string", **bounds}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _responses(operation: Operation, schemas: Mapping[Any, Any]) -> Mapping[str, Any]:
    responses: dict[str, Any] = {}
    for status in (operation.status, *operation.also):
        if operation.answer is None:
            responses[str(status)] = {"description": "Done"}
        else:
            content = {"application/json": {"schema": schemas[operation.answer]}}
            responses[str(status)] = {"description": "Done", "content": content}
    problem = {"application/problem+json": {"schema": schemas[Problem]}}
    for status in sorted(_problem_statuses(operation)):
        responses[str(status)] = {"description": TITLES[status], "content": problem}
    return responses


def _problem_statuses(operation: Operation) -> set[int]:
    found = {*_ALWAYS, *operation.problems}
    if operation.body is not None:
        found.update(_WITH_BODY)
    if operation.method == "POST":
        # An Idempotency-Key that belongs to another request.
        found.add(422)
    if "{" in operation.path:
        found.add(404)
    return found
