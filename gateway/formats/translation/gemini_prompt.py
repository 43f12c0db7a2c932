"""A conversation of chat completions in Gemini's words.

Contents alternate between `user` and `model`. A function's response names the function, not the call, so the
call is looked up by its id; a turn of several calls is answered by one content with as many responses, in
the order of the calls (ai.google.dev/gemini-api/docs/function-calling).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from gateway.formats.translation.chat_asks import Message, Part, ToolCall, arguments_of, data_of, parts_of
from gateway.formats.translation.refusing import invalid, unsupported

__all__ = ["conversation"]

_OTHER: Final = "Gemini"
_SIGNATURE: Final = "thought_signature"
# From Gemini 3 on, the first call of a turn has to carry its signature. This stands in for one that the
# client did not keep (ai.google.dev/gemini-api/docs/thought-signatures).
_UNSIGNED: Final = "skip_thought_signature_validator"
_NEEDS_NONE: Final = re.compile(r"gemini-[12]\b")
_KINDS: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "pdf": "application/pdf",
}

Piece = dict[str, Any]


def conversation(messages: Sequence[Message], model: str) -> tuple[list[Piece], list[dict[str, Any]]]:
    """The system instruction's parts, and the contents. Later instructions are put to the first ones."""
    system: list[Piece] = []
    contents: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    results: list[tuple[int, Piece]] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if message.role != "tool" and results:
            _add(contents, "user", [piece for _, piece in sorted(results, key=_first)])
            results = []
        if message.role in ("system", "developer"):
            system += [_text(part, f"{where}.content") for part in parts_of(message) if part.text]
        elif message.role == "tool":
            results.append(_result(message, calls, where))
        elif message.role == "user":
            _add(contents, "user", _user(message, where))
        else:
            calls = message.tool_calls or []
            _add(contents, "model", _model(message, where, model))
    _add(contents, "user", [piece for _, piece in sorted(results, key=_first)])
    return system, contents


def _first(numbered: tuple[int, Piece]) -> int:
    return numbered[0]


def _add(contents: list[dict[str, Any]], role: str, pieces: list[Piece]) -> None:
    if not pieces:
        return
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += pieces
    else:
        contents.append({"role": role, "parts": pieces})


def _result(message: Message, calls: Sequence[ToolCall], where: str) -> tuple[int, Piece]:
    """A function's response, and which of the calls it answers."""
    for number, call in enumerate(calls):
        if call.id == message.tool_call_id:
            texts = [_text(part, f"{where}.content")["text"] for part in parts_of(message)]
            response = {"name": call.function.name, "response": {"output": "".join(texts)}}
            return number, {"functionResponse": response}
    invalid(
        f"{where}.tool_call_id",
        "the assistant message before has no call of this id",
        "Send the message with its `tool_calls` back before their results.",
    )


def _user(message: Message, where: str) -> list[Piece]:
    return [
        _piece(part, f"{where}.content[{number}]")
        for number, part in enumerate(parts_of(message))
        if part.type != "text" or part.text
    ]


def _model(message: Message, where: str, model: str) -> list[Piece]:
    pieces: list[Piece] = []
    for number, part in enumerate(parts_of(message)):
        if part.type not in ("text", "refusal"):
            unsupported(f"{where}.content[{number}].type", _OTHER)
        text = part.refusal if part.type == "refusal" else part.text
        if text:
            pieces.append({"text": text})
    if message.refusal:
        pieces.append({"text": message.refusal})
    signature = _signature_in(message.extra_content)
    if signature and pieces:
        pieces[-1]["thoughtSignature"] = signature
    for number, call in enumerate(message.tool_calls or ()):
        arguments = arguments_of(call, f"{where}.tool_calls[{number}]")
        piece: Piece = {"functionCall": {"name": call.function.name, "args": arguments}}
        signature = _signature_in(call.extra_content)
        if signature or (number == 0 and not _NEEDS_NONE.match(model)):
            piece["thoughtSignature"] = signature or _UNSIGNED
        pieces.append(piece)
    return pieces


def _signature_in(extra: dict[str, Any] | None) -> str | None:
    """What Gemini wants back, where Google's own compatibility layer puts it, too."""
    google = (extra or {}).get("google")
    signature = google.get(_SIGNATURE) if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else None


def _text(part: Part, where: str) -> Piece:
    if part.type != "text" or part.text is None:
        unsupported(f"{where}.type", _OTHER)
    return {"text": part.text}


def _piece(part: Part, where: str) -> Piece:
    if part.type == "image_url" and part.image_url is not None:
        if part.image_url.detail == "low":
            unsupported(f"{where}.image_url.detail", _OTHER, "Send a smaller image.")
        return _media(part.image_url.url, f"{where}.image_url.url")
    if part.type == "input_audio" and part.input_audio is not None:
        kind = f"audio/{part.input_audio.format}"
        return {"inlineData": {"mimeType": kind, "data": part.input_audio.data}}
    if part.type == "file" and part.file is not None:
        if part.file.file_data is None:
            unsupported(f"{where}.file.file_id", _OTHER, "Send the file itself, as `file_data`.")
        return _media(part.file.file_data, f"{where}.file.file_data")
    return _text(part, where)


def _media(url: str, where: str) -> Piece:
    """Media in the body, or where Google finds them by itself."""
    data = data_of(url, where)
    if data is not None:
        return {"inlineData": {"mimeType": data[0], "data": data[1]}}
    if "://" not in url:
        invalid(where, "it is no URL", "Send `https://...` or `data:image/png;base64,...`.")
    kind = _KINDS.get(url.partition("?")[0].rpartition(".")[2].lower())
    return {"fileData": {"fileUri": url} if kind is None else {"fileUri": url, "mimeType": kind}}
