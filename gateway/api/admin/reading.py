"""Reading what a request says: its key, its query, its body. What cannot be understood is named."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from gateway.domain.errors import BadRequest, GatewayError, NotFound, TooLarge, Unauthenticated

__all__ = ["KEY_MAX_CHARACTERS", "bearer", "decode", "idempotency_key", "path_ids", "read_body", "read_query"]

_UNKNOWN: Final = re.compile(r"unknown field `(.*?)`", re.DOTALL)
_MISSING: Final = re.compile(r"missing required field `(.*?)`")
_WHERE: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_ID: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}", re.ASCII)
KEY_MAX_CHARACTERS: Final = 255


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The query of an operation that takes none."""


def bearer(request: Request) -> str:
    """The admin key of the Authorization header; Unauthenticated when there is none."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Unauthenticated(
            "invalid_api_key",
            "The request carries no admin key.",
            hint="Send it as `Authorization: Bearer <admin key>`.",
        )
    return text.strip()


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key header; BadRequest for one that cannot be kept."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= KEY_MAX_CHARACTERS or not key.isascii() or not key.isprintable():
        raise BadRequest(
            "invalid_value",
            "The Idempotency-Key cannot be kept.",
            hint=f"Give 1 to {KEY_MAX_CHARACTERS} printable ASCII characters, such as a UUID.",
            param="Idempotency-Key",
        )
    return key


def path_ids(request: Request) -> Mapping[str, str]:
    """The ids in the path; NotFound for a text that can be nobody's id, which no database need be asked."""
    for text in request.path_params.values():
        if _ID.fullmatch(text) is None:
            raise NotFound("not_found", f"{text[:40]!a} is no id.", hint="Ids look like acct_4kT9...")
    return request.path_params


async def read_body(request: Request, most: int, *, may_be_empty: bool) -> bytes:
    """The body, of `most` bytes at most; only JSON is taken. None at all counts as `{}` where it may."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge("request_too_large", "The body is too large.", hint=f"Send {most} bytes at most.")
        parts.append(part)
    if may_be_empty and not size:
        return b"{}"
    _require_json(request.headers.get("content-type", ""))
    return b"".join(parts)


def _require_json(given: str) -> None:
    kind = given.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest(
            "invalid_value",
            f"The body is {kind[:100]!a}, not application/json." if kind else "The body's type is not given.",
            hint="Send JSON, and `content-type: application/json`.",
            param="Content-Type",
        )


def decode(body: bytes, kind: Any) -> Any:
    """The body as `kind`; BadRequest names the field that is unknown, missing or of the wrong type."""
    try:
        read = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _not_valid(str(error), kind, "field") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec says "truncated" of an unfinished escape as well, where there is more to read.
        raise BadRequest(
            "invalid_json", f"The body is not JSON: {error}.", hint="Send one JSON object, as UTF-8."
        ) from None
    _refuse_nul(msgspec.to_builtins(read), "")
    return read


def read_query(request: Request, kind: Any) -> Any:
    """The query string as `kind`; BadRequest names the parameter."""
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise BadRequest(
                "invalid_value", f"{name[:100]} is given twice.", hint="Give it once.", param=name[:100]
            )
        given[name] = value
    try:
        read = msgspec.convert(given, kind or Nothing, strict=False)
    except msgspec.ValidationError as error:
        raise _not_valid(str(error), kind, "parameter") from None
    _refuse_nul(given, "")
    return read


def _not_valid(message: str, kind: Any, what: str) -> GatewayError:
    if unknown := _UNKNOWN.search(message):
        return _unknown(unknown[1], kind, what)
    if missing := _MISSING.search(message):
        where = _where(message)
        name = f"{where}.{missing[1]}" if where else missing[1]
        return BadRequest("invalid_value", f"{name} is missing.", hint=f"Give {name}.", param=name)
    where = _where(message)
    problem = _WHERE.sub("", message)
    return BadRequest(
        "invalid_value", f"{where or 'The body'}: {problem}.", hint=_choices(kind, where), param=where or None
    )


def _unknown(name: str, kind: Any, what: str) -> BadRequest:
    known = [] if kind is None else list(kind.__struct_encode_fields__)
    meant = difflib.get_close_matches(name[:100], known, n=1)
    offered = f"Did you mean {meant[0]}? " if meant else ""
    listed = f"There are {', '.join(known)}." if known else "There are none here."
    return BadRequest(
        "unsupported_field",
        f"{name[:100]!a} is no {what} of this.",
        hint=offered + listed,
        param=name[:100],
    )


def _where(message: str) -> str:
    found = _WHERE.search(message)
    return found[1] if found else ""


def _choices(kind: Any, where: str) -> str:
    """The values that a field with few of them can have."""
    for field in [] if kind is None else msgspec.structs.fields(kind):
        if field.encode_name == where:
            schema = msgspec.json.schema(field.type)
            values = _enumerated(schema)
            return f"Use one of {', '.join(values)}." if values else "See /openapi.json for what it may be."
    return "See /openapi.json for what it may be."


def _enumerated(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        if "enum" in schema:
            return [str(value) for value in schema["enum"]]
        return [value for each in schema.get("anyOf", ()) for value in _enumerated(each)]
    return []


def _refuse_nul(value: Any, where: str) -> None:
    """No text that is kept may hold a NUL: PostgreSQL cannot store it, and nobody means it."""
    if isinstance(value, str):
        if "\0" in value:
            raise BadRequest(
                "invalid_value", f"{where} contains a NUL character.", hint="Leave it out.", param=where
            )
    elif isinstance(value, dict):
        for name, inner in value.items():
            _refuse_nul(name, where)
            _refuse_nul(inner, f"{where}.{name}" if where else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_nul(inner, f"{where}[{number}]")
