"""OpenAI: chat completions and the list of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.simulators.delivery import Call
from gateway.simulators.dialects.chat_answers import Reply
from gateway.simulators.dialects.chat_checks import find_openai_model, read_ask, read_document
from gateway.simulators.dialects.chat_chunks import render
from gateway.simulators.dialects.chat_habits import Habits
from gateway.simulators.dialects.openai_errors import no_key, no_model, told_status, wrong_key
from gateway.simulators.events import Body, Stream
from gateway.simulators.exchange import Request, accept
from gateway.simulators.json_bytes import readable
from gateway.simulators.models import listed_models
from gateway.simulators.wire import Headers

__all__ = ["answer_headers", "chat", "check_key", "list_models", "served_tier", "show_model"]

_HABITS: Final = Habits()
_TIERS: Final = {"flex": "flex", "priority": "priority", "fast": "priority", "scale": "scale"}


def chat(request: Request, call: Call) -> Body | Stream:
    """``POST /v1/chat/completions``."""
    check_key(request, call)
    document = read_document(request.body)
    model = find_openai_model(document, "chat")
    answers = accept(call, read_ask(document, model), model.served, told_status)
    call.billed.tier = served_tier(document, call)
    return render(Reply(call, document, answers, _HABITS, answer_headers(call)))


def check_key(request: Request, call: Call) -> str:
    """The caller's key. Raises the 401 of a missing key or of one that is not among the configured."""
    key = request.bearer()
    if key is None:
        raise no_key()
    known = call.stage.keys.get(call.billed.provider)
    if known is not None and key not in known:
        raise wrong_key(key)
    return key


def served_tier(document: Mapping[str, Any], call: Call) -> str:
    """The tier the call is served on: the one asked for, where it is not left to the provider."""
    return call.behaviour.tier or _TIERS.get(str(document.get("service_tier")), "default")


def answer_headers(call: Call) -> Headers:
    """Headers of an answer, with those of the account's own limits that a gateway should keep to itself."""
    number = call.billed.id
    return [
        (b"x-request-id", b"req_simulated%020x" % number),
        (b"openai-organization", b"org-simulated"),
        (b"openai-project", b"proj_simulated"),
        (b"openai-processing-ms", b"12"),
        (b"openai-version", b"2020-10-01"),
        (b"x-ratelimit-limit-requests", b"10000"),
        (b"x-ratelimit-limit-tokens", b"30000000"),
        (b"x-ratelimit-remaining-requests", b"9999"),
        (b"x-ratelimit-remaining-tokens", b"29999976"),
        (b"x-ratelimit-reset-requests", b"6ms"),
        (b"x-ratelimit-reset-tokens", b"0s"),
        (b"set-cookie", b"__cf_bm=simulated; path=/; HttpOnly; Secure; SameSite=None"),
    ]


def list_models(request: Request, call: Call) -> Body:
    """``GET /v1/models``."""
    check_key(request, call)
    listed = [_shown(name) for name in listed_models(call.billed.provider)]
    return Body(readable({"object": "list", "data": listed}))


def show_model(request: Request, call: Call) -> Body:
    """``GET /v1/models/{model}``."""
    check_key(request, call)
    name = request.params["model"]
    if name not in listed_models(call.billed.provider):
        raise no_model(name)
    return Body(readable(_shown(name)))


def _shown(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "system"}
