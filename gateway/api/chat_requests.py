"""What a client's frame asks for on the chat socket. Pure: bytes in, a wish or a refusal out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw

from gateway.domain.errors import BadRequest

__all__ = ["Ask", "Cancel", "Ping", "Resume", "read_frame"]

MOST_REQUEST_ID: Final = 128
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_TRUE: Final = Raw(b"true")
# Ours, and no part of what goes to the provider.
_OURS: Final = ("request_id", "idempotency_key", "type")


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this call."""

    call: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with this call from behind this frame."""

    call: str
    after: int
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Ask:
    """A chat completion to make; `body` is what goes to the provider, a stream in any case."""

    body: bytes
    request_id: str | None
    idempotency_key: str | None


def read_frame(text: str) -> Ping | Cancel | Resume | Ask:
    """What a text frame asks for; raise BadRequest."""
    try:
        frame = _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise BadRequest(
            "invalid_json", f"The frame is no JSON object: {error}.", hint="Send one JSON object a frame."
        ) from None
    kind = _text(frame, "type")
    if kind == "ping":
        return Ping()
    if kind == "cancel":
        return Cancel(_required(frame, "call"))
    if kind == "resume":
        return Resume(_required(frame, "call"), _after(frame), _text(frame, "request_id"))
    if kind is not None:
        raise BadRequest(
            "invalid_value", f"There is no frame of type {kind[:64]!r}.", hint=_KINDS, param="type"
        )
    return _ask(frame)


_KINDS: Final = "Send a chat completion without `type`, or `ping`, `cancel` or `resume`."


def _ask(frame: dict[str, Raw]) -> Ask:
    if bytes(frame.get("stream", _TRUE)) not in (b"true", b"null"):
        raise BadRequest(
            "invalid_value",
            "Answers on a socket are streamed; `stream` is false.",
            hint="Leave `stream` out, or ask over HTTP.",
            param="stream",
        )
    if bytes(frame.get("n", Raw(b"1"))) not in (b"1", b"null"):
        raise BadRequest(
            "invalid_value",
            "A socket carries one choice; `n` is more.",
            hint="Send as many requests, each with its `request_id`.",
            param="n",
        )
    request_id, key = _text(frame, "request_id"), _text(frame, "idempotency_key")
    body = {name: value for name, value in frame.items() if name not in _OURS}
    return Ask(msgspec.json.encode({**body, "stream": _TRUE}), request_id, key)


def _text(frame: Mapping[str, Raw], name: str) -> str | None:
    if name not in frame:
        return None
    try:
        text = msgspec.json.decode(frame[name], type=str | None)
    except msgspec.MsgspecError:
        text = ""
    if text == "" or (text is not None and len(text) > MOST_REQUEST_ID):
        raise BadRequest(
            "invalid_value",
            f"`{name}` is no text of 1 to {MOST_REQUEST_ID} characters.",
            hint="Give a short text.",
            param=name,
        )
    return text


def _required(frame: Mapping[str, Raw], name: str) -> str:
    text = _text(frame, name)
    if text is None:
        raise BadRequest(
            "invalid_value",
            f"`{name}` is missing.",
            hint="The first frame of an answer has its `call`.",
            param=name,
        )
    return text


def _after(frame: Mapping[str, Raw]) -> int:
    try:
        after = msgspec.json.decode(frame.get("after", Raw(b"0")), type=int)
    except msgspec.MsgspecError:
        after = -1
    if after < 0:
        raise BadRequest(
            "invalid_value",
            "`after` is no number of a frame.",
            hint="Give the `seq` of the last frame that came; 0 for all of them.",
            param="after",
        )
    return after
