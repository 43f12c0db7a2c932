"""Gemini's addresses: the model is in the path, the way of streaming in the query.

`POST /v1beta/{models|tunedModels}/{model}:{method}` (google.ai.generativelanguage.v1beta, the HTTP rules of
`GenerativeService`; python-genai `_transformers.t_model`). A gateway looks formats up by a fixed text, so
`template_of` turns what was asked for into the text that the format calls its own in `paths`.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from gateway.domain.errors import BadRequest
from gateway.formats.bodies import refuse_control

__all__ = [
    "MODEL_NAME_MAX",
    "SSE",
    "TEMPLATED",
    "key_of",
    "model_of",
    "paths_of",
    "resource_of",
    "template_of",
]

# What a path has where the model stands, in `Format.paths` and in a provider's.
_PLACEHOLDER: Final = "{model}"
_MODELS: Final = "models/"
_TUNED: Final = "tunedModels/"
SSE: Final = "?alt=sse"
# What every address begins with that has a model in it.
TEMPLATED: Final = (b"/v1beta/", b"/v1/models/", b"/v1/tunedModels/")
_STREAMING: Final = b"streamGenerateContent"

# The SDK asks for `v1` or `v1beta`; upstream it is always the latter, which has all of the former.
# Some HTTP clients encode the colon. Names may hold slashes: `models/{provider}/{model}`.
_CALL: Final = re.compile(rb"/v1(?:beta)?/(models|tunedModels)/(.+)(?::|%3[Aa])([A-Za-z]+)")

MODEL_NAME_MAX: Final = 256


def paths_of(method: str, query: str = "") -> tuple[str, ...]:
    """The templates of a method's addresses: of the provider's models, and of tuned ones."""
    return tuple(f"/v1beta/{kind}{_PLACEHOLDER}:{method}{query}" for kind in (_MODELS, _TUNED))


def template_of(target: bytes) -> bytes | None:
    """The template that a request's target (path and query) is an instance of; None where it is no call.

    Of the query only `alt` counts, and only where it chooses how a stream is framed. Nothing of it goes
    upstream as it came: `fields` would have the usage left out of the reply.
    """
    path, _, query = target.partition(b"?")
    found = _CALL.fullmatch(path)
    if found is None:
        return None
    kind, _, method = found.groups()
    streams_events = method == _STREAMING and _last(query, b"alt", b"$alt") == b"sse"
    return b"/v1beta/%b/{model}:%b%b" % (kind, method, SSE.encode() if streams_events else b"")


def key_of(query: bytes) -> bytes | None:
    """The key that a query carries as `key`, which Google also spells `$key`."""
    return _last(query, b"key", b"$key")


def _last(query: bytes, *names: bytes) -> bytes | None:
    """The last value of a query under one of these names."""
    found = None
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if unquote_to_bytes(name) in names:
            found = unquote_to_bytes(value)
    return found


def model_of(path: str, named: str | None) -> str:
    """The model a call is for: `gemini-2.5-flash`, `tunedModels/tides`.

    `named` is the body's `model`, which has to be the same. Where the path is a template still, the body
    alone names the model. Raises BadRequest.
    """
    of_body = None if named is None else _plain(named)
    found = _CALL.fullmatch(path.encode("utf-8", "replace"))
    if found is None or found[2] == _PLACEHOLDER.encode():
        model = of_body
    else:
        name = unquote(found[2].decode("utf-8", "replace"))
        model = _TUNED + name if found[1] != b"models" else _plain(name)
    if not model or len(model) > MODEL_NAME_MAX:
        raise BadRequest(
            "invalid_value",
            "The address names no model." if not model else "The model's name is too long.",
            param="model",
            hint="POST /v1beta/models/{model}:generateContent names the model in the path.",
        )
    refuse_control(model, "model")
    if of_body is not None and of_body != model:
        raise BadRequest(
            "invalid_value",
            f"`model` is {named!r:.300}, but the address names {model!r}.",
            param="model",
            hint="Leave `model` out of the body, or name the same model in both.",
        )
    return model


def _plain(name: str) -> str:
    return name.removeprefix(_MODELS)


def resource_of(model: str) -> str:
    """A model's full name, as bodies have it: `models/gemini-2.5-flash`, `tunedModels/tides`."""
    return model if model.startswith(_TUNED) else _MODELS + model
