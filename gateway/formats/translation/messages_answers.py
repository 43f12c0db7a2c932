"""Answers of chat completions in the words of Anthropic's Messages, whole and streamed.

A stream of chunks says what it is by what it holds; Anthropic opens and closes blocks. The usage comes last
here and is told last there: what a message begins with has no figures yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.domain.usage import Usage, input_total, output_total
from gateway.formats.translation.errors import anthropic_error, read_fault
from gateway.formats.translation.events import Events
from gateway.formats.translation.refusing import unreadable

__all__ = ["OWN_SIGNATURE", "ChatWriter", "read_completion"]

# Signs thoughts that came as `reasoning_content`, so that they go back as such and nowhere else.
OWN_SIGNATURE: Final = "reasoning_content"
_STOPS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
# What Anthropic's documentation has such a call put in ("Fine-grained tool streaming").
_INVALID: Final = "INVALID_JSON"
_NULL: Final = b"null"
_ENCODER: Final = msgspec.json.Encoder()


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct, gc=False):
    """A message, or what a chunk adds to one."""

    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct, gc=False):
    """A completion, or a chunk of one."""

    id: str | None = None
    object: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    error: msgspec.Raw = msgspec.Raw()


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def _open(body: bytes) -> _Answer:
    try:
        return _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise unreadable(broken) from broken


def _usage(usage: Usage | None) -> dict[str, int]:
    usage = usage or {}
    read = usage.get("cache_read", 0)
    written = usage.get("cache_write_5m", 0) + usage.get("cache_write_1h", 0)
    return {
        "input_tokens": input_total(usage) - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": output_total(usage),
    }


def _message(answer: _Answer, content: list[Any], stop: str | None, usage: Usage | None) -> dict[str, Any]:
    id_ = answer.id or ""
    return {
        "id": id_ if id_.startswith("msg_") else f"msg_{id_}",
        "type": "message",
        "role": "assistant",
        "model": answer.model or "",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": _usage(usage),
    }


def _thought(text: str) -> dict[str, str]:
    return {"type": "thinking", "thinking": text, "signature": OWN_SIGNATURE}


def read_completion(body: bytes, usage: Usage | None) -> bytes:
    """A completion as a message. Raises UpstreamFailed for what is no completion."""
    answer = _open(body)
    if not answer.choices or answer.choices[0].message is None:
        raise unreadable()
    choice, said = answer.choices[0], answer.choices[0].message
    stop = "refusal" if said.refusal else _STOPS.get(choice.finish_reason or "", "end_turn")
    return _ENCODER.encode(_message(answer, list(_blocks(said)), stop, usage))


def _blocks(said: _Said) -> Iterator[dict[str, Any]]:
    if said.reasoning_content:
        yield _thought(said.reasoning_content)
    if text := (said.content or "") + (said.refusal or ""):
        yield {"type": "text", "text": text}
    for call in said.tool_calls or ():
        function = call.function or _Function()
        yield {
            "type": "tool_use",
            "id": call.id or "",
            "name": function.name or "",
            "input": _input(function.arguments or ""),
        }


def _input(text: str) -> Any:
    """The arguments as an object; what the model wrote may be none."""
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        value = None
    return value if isinstance(value, dict) else {_INVALID: text}


def _event(name: bytes, members: bytes) -> bytes:
    return b'event: %b\ndata: {"type":"%b"%b}\n\n' % (name, name, members)


class ChatWriter:
    """See `gateway.formats.translation.base.Writer`."""

    def __init__(self) -> None:
        self._events = Events()
        self._has_begun = False
        self._has_failed = False
        self._stop: str | None = None
        self._is_refusal = False
        self._index = -1  # of the last block
        self._open = ""  # what kind of block is open; a call by its number
        self._places: dict[int, int] = {}  # of calls, by their numbers

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._read(raw, data) for raw, data in self._events.feed(data)])

    def finish(self, usage: Usage | None) -> bytes:
        last = [self._read(raw, data) for raw, data in self._events.close()]
        if self._has_failed or self._stop is None:
            return b"".join(last)
        stop = "refusal" if self._is_refusal else self._stop
        delta = {"stop_reason": stop, "stop_sequence": None}
        members = b',"delta":%b,"usage":%b' % (_ENCODER.encode(delta), _ENCODER.encode(_usage(usage)))
        ending = _event(b"message_delta", members) + _event(b"message_stop", b"")
        return b"".join((*last, self._close(), ending))

    def _read(self, raw: bytes, data: bytes | None) -> bytes:
        """An event, or what came in the place of one: a comment, bare JSON."""
        if data is None:
            if raw.startswith(b":"):
                return raw
            data = raw
        data = data.strip()
        if self._has_failed or not data.startswith(b"{"):
            return b""
        return b"".join(self._write(data))

    def _write(self, data: bytes) -> Iterator[bytes]:
        answer = _open(data)
        if answer.object == "error" or bytes(answer.error) not in (b"", _NULL):
            self._has_failed = True
            yield b"event: error\ndata: %b\n\n" % anthropic_error(read_fault(data))[1]
            return
        for choice in answer.choices or ():
            if choice.index == 0:
                break
        else:
            return
        if not self._has_begun:
            self._has_begun = True
            yield _event(b"message_start", b',"message":' + _ENCODER.encode(_message(answer, [], None, None)))
        yield from self._add(choice.delta or choice.message or _Said())
        if choice.finish_reason:
            self._stop = _STOPS.get(choice.finish_reason, "end_turn")

    def _add(self, said: _Said) -> Iterator[bytes]:
        if said.reasoning_content:
            yield self._text("thinking", said.reasoning_content)
        if said.content:
            yield self._text("text", said.content)
        if said.refusal:
            self._is_refusal = True
            yield self._text("text", said.refusal)
        for call in said.tool_calls or ():
            yield from self._call(call)

    def _text(self, kind: str, text: str) -> bytes:
        opened = b""
        if self._open != kind:
            empty = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
            opened = self._begin(kind, empty)
        return opened + (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"%b_delta","%b":%b}}\n\n'
            % (self._index, kind.encode(), kind.encode(), _ENCODER.encode(text))
        )

    def _call(self, call: _Call) -> Iterator[bytes]:
        function = call.function or _Function()
        if call.index not in self._places:
            empty = {"type": "tool_use", "id": call.id or "", "name": function.name or "", "input": {}}
            yield self._begin(f"call {call.index}", empty)
            self._places[call.index] = self._index
        if function.arguments:
            delta = {"type": "input_json_delta", "partial_json": function.arguments}
            yield self._delta(self._places[call.index], delta)

    def _delta(self, index: int, delta: dict[str, str]) -> bytes:
        return _event(b"content_block_delta", b',"index":%d,"delta":%b' % (index, _ENCODER.encode(delta)))

    def _begin(self, kind: str, block: dict[str, Any]) -> bytes:
        closed = self._close()
        self._open = kind
        self._index += 1
        members = b',"index":%d,"content_block":%b' % (self._index, _ENCODER.encode(block))
        return closed + _event(b"content_block_start", members)

    def _close(self) -> bytes:
        kind, self._open = self._open, ""
        if not kind:
            return b""
        signed = b""
        if kind == "thinking":
            signed = self._delta(self._index, {"type": "signature_delta", "signature": OWN_SIGNATURE})
        return signed + _event(b"content_block_stop", b',"index":%d' % self._index)
