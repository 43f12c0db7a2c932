"""DeepSeek: chat completions with visible thoughts, a split of cached input, and usage beside the finish.

Models of the fourth generation think unless told not to (``thinking``). A cap is read from ``max_tokens``
alone; ``max_completion_tokens``, like every field it does not know, is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from gateway.simulators.behaviour import Behaviour
from gateway.simulators.delivery import Call
from gateway.simulators.dialects.chat_answers import Reply
from gateway.simulators.dialects.chat_asks import DEFAULT_REASONING, ask_of
from gateway.simulators.dialects.chat_chunks import render
from gateway.simulators.dialects.chat_habits import Habits
from gateway.simulators.events import Body, Stream
from gateway.simulators.exchange import Rejection, Request, accept
from gateway.simulators.json_bytes import compact
from gateway.simulators.models import Model, find_model
from gateway.simulators.wire import Headers

__all__ = ["chat", "list_models", "malformed"]

_HABITS: Final = Habits(
    id_form="00000000-0000-4000-8000-{:012x}",
    call_id_form="call_00_sim{:020x}",
    fingerprint="fp_simulated_prod0820_fp8_kvcache",
    service_tier=False,
    obfuscates=False,
    shows_thoughts=True,
    usage_with_finish=True,
    cache_split=True,
    readable=False,
)
_ROLES: Final = ("system", "user", "assistant", "tool")
_STATUSES: Final = {
    401: ("authentication_error", "Authentication Fails, Your api key: ****0000 is invalid"),
    402: ("unknown_error", "Insufficient Balance"),
    422: ("invalid_request_error", "Invalid parameters"),
    429: ("rate_limit_error", "Rate limit reached for requests"),
    500: ("server_error", "Internal Server Error"),
    503: ("service_unavailable_error", "Service is too busy. Please retry later."),
}
# What it sends the refusals of its own as (recorded).
_OCTETS: Final = b"application/octet-stream"


def chat(request: Request, call: Call) -> Body | Stream:
    """``POST /chat/completions``."""
    _check_key(request, call)
    document = _document(request.body)
    model = _model(document)
    thinks = _thinks(document, model)
    _check_values(document)
    _check_messages(document["messages"], request.body)
    if thinks and document.get("tool_choice") not in (None, "auto", "none"):
        raise _refusal("Thinking mode does not support this tool_choice", content_type=_OCTETS)
    ask = ask_of(document, model, document.get("max_tokens"))
    if ask.input_tokens > model.context:
        raise _too_long(ask.input_tokens, document.get("max_tokens") or 0, model)
    ask = replace(ask, reasoning=DEFAULT_REASONING if thinks else 0, choices=1)
    answers = accept(call, ask, model.served, _told_status)
    return render(Reply(call, document, answers, _HABITS, _headers(call)))


def list_models(request: Request, call: Call) -> Body:
    """``GET /models``."""
    _check_key(request, call)
    listed = [{"id": name, "object": "model", "owned_by": "deepseek"} for name in _LISTED]
    return Body(compact({"object": "list", "data": listed}))


_LISTED: Final = ("deepseek-v4-flash", "deepseek-v4-pro")


def _check_key(request: Request, call: Call) -> None:
    key = request.bearer()
    if key is None:
        raise _refusal(
            "Authentication Fails (auth header format should be Bearer sk-...)", 401, "authentication_error"
        )
    known = call.stage.keys.get("deepseek")
    if known is not None and key not in known:
        message = f"Authentication Fails, Your api key: ****{key[-4:]} is invalid"
        raise _refusal(message, 401, "authentication_error")


def malformed(message: str) -> Rejection:
    """A 400 about no parameter in particular."""
    return _refusal(message)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"Failed to parse the request body as JSON: {error}") from None
    if not isinstance(document, dict):
        raise _unreadable("invalid type: expected struct ChatCompletionRequest", 1)
    for name in ("messages", "model"):
        if document.get(name) is None:
            raise _unreadable(f"missing field `{name}`", len(body))
    if not isinstance(document["messages"], list):
        raise _unreadable("messages: invalid type: expected a sequence", body.find(b'"messages"') + 12)
    return document


def _model(document: Mapping[str, Any]) -> Model:
    model = find_model("deepseek", str(document["model"]))
    if model is None:
        raise _refusal("Model Not Exist")
    return model


def _thinks(document: Mapping[str, Any], model: Model) -> bool:
    asked = document.get("thinking")
    if isinstance(asked, dict):
        return asked.get("type") == "enabled"
    return model.reasons


def _check_values(document: Mapping[str, Any]) -> None:
    cap = document.get("max_tokens")
    if cap is not None and not (isinstance(cap, int) and 1 <= cap <= 393_216):
        raise _refusal("Invalid max_tokens value, the valid range of max_tokens is [1, 393216]")
    warmth = document.get("temperature")
    if warmth is not None and not (isinstance(warmth, (int, float)) and 0 <= warmth <= 2):
        raise _refusal("Invalid temperature value, the valid range of temperature is [0, 2.0]")
    top = document.get("top_logprobs")
    if top is not None and not (isinstance(top, int) and 0 <= top <= 20):
        raise _refusal("Invalid top_logprobs value, the valid range of top_logprobs is [0, 20]")
    if document.get("n") not in (None, 1):
        raise _refusal("Invalid n value (currently only n = 1 is supported)")
    if not document["messages"]:
        raise _refusal("Empty input messages")


def _check_messages(messages: Sequence[Any], body: bytes) -> None:
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or "role" not in message:
            raise _unreadable(f"messages[{index}]: missing field `role`", len(body))
        if message["role"] not in _ROLES:
            listed = ", ".join(f"`{role}`" for role in _ROLES)
            what = f"messages[{index}].role: unknown variant `{message['role']}`, expected one of {listed}"
            raise _unreadable(what, body.find(b'"role"') + 1)
        _check_parts(message.get("content"), index, body)
    _check_pairing(messages)


def _check_parts(content: Any, index: int, body: bytes) -> None:
    """Text alone: an image or audio part is refused (recorded)."""
    for part in content if isinstance(content, list) else []:
        kind = str(part.get("type")) if isinstance(part, dict) else "null"
        if kind != "text":
            column = body.find(f'"{kind}"'.encode()) + len(kind) + 2
            raise _unreadable(f"messages[{index}]: unknown variant `{kind}`, expected `text`", column)


def _check_pairing(messages: Sequence[Mapping[str, Any]]) -> None:
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise _refusal(
                    "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
                )
            waiting.remove(str(message["tool_call_id"]))
        elif waiting:
            break
        else:
            waiting = [str(call.get("id")) for call in message.get("tool_calls") or []]
    if waiting:
        raise _refusal(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. (insufficient tool messages following tool_calls message)"
        )


def _headers(call: Call) -> Headers:
    return [(b"x-ds-trace-id", b"%032x" % call.billed.id)]


def _told_status(chosen: Behaviour, model: str) -> Rejection:
    kind, message = _STATUSES.get(chosen.status or 500, ("server_error", f"Status {chosen.status}."))
    return _refusal(message, chosen.status or 500, kind)


def _too_long(input_tokens: int, cap: int, model: Model) -> Rejection:
    return _refusal(
        f"This model's maximum context length is {model.context} tokens. However, you requested "
        f"{input_tokens + cap} tokens ({input_tokens} in the messages, {cap} in the completion). Please "
        "reduce the length of the messages or completion.",
        content_type=_OCTETS,
    )


def _unreadable(what: str, column: int) -> Rejection:
    return _refusal(
        f"Failed to deserialize the JSON body into the target type: {what} at line 1 column {column}"
    )


def _refusal(
    message: str,
    status: int = 400,
    kind: str = "invalid_request_error",
    content_type: bytes = b"application/json",
) -> Rejection:
    error = {"message": message, "type": kind, "param": None, "code": "invalid_request_error"}
    return Rejection(status, {"error": error}, content_type=content_type, indent=None)
