"""Anthropic's answers in the words of chat completions, whole and streamed.

What Anthropic's own tools did (`server_tool_use` and their results) is no call of the client's: nothing of it
is told but the text that came of it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.domain.usage import Usage
from gateway.formats.sse import read_event
from gateway.formats.translation.chat_answers import DONE, Chunks, completion, error_event
from gateway.formats.translation.errors import chat_error, read_fault
from gateway.formats.translation.events import Events
from gateway.formats.translation.refusing import unreadable

__all__ = ["AnthropicWriter", "read_message"]

_FINISHES: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_THOUGHTS: Final = ("thinking", "redacted_thinking")


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""


class _Message(msgspec.Struct, gc=False):
    id: str = ""
    model: str = ""
    content: list[_Block] = []
    stop_reason: str | None = None


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_EVENT: Final = msgspec.json.Decoder(_Event)


def _finish(reason: str | None) -> str:
    return _FINISHES.get(reason or "", "stop")


def _thought(block: _Block) -> dict[str, str]:
    """A block of reasoning as Anthropic wants it back."""
    if block.type == "redacted_thinking":
        return {"type": block.type, "data": block.data}
    return {"type": block.type, "thinking": block.thinking, "signature": block.signature}


def read_message(body: bytes, created_s: int, usage: Usage | None) -> bytes:
    """A message as a completion. Raises UpstreamFailed for what is no message."""
    try:
        message = _MESSAGE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise unreadable(broken) from broken
    texts = [block.text for block in message.content if block.type == "text"]
    thoughts = [block for block in message.content if block.type in _THOUGHTS]
    calls = [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": bytes(block.input).decode()},
        }
        for block in message.content
        if block.type == "tool_use"
    ]
    told: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": None,
    }
    if thoughts:
        told["reasoning_content"] = "".join(block.thinking for block in thoughts)
        told["thinking_blocks"] = [_thought(block) for block in thoughts]
    if calls:
        told["tool_calls"] = calls
    choice = {
        "index": 0,
        "message": told,
        "logprobs": None,
        "finish_reason": _finish(message.stop_reason),
    }
    return completion(message.id, created_s, message.model, [choice], usage)


class AnthropicWriter:
    """See `gateway.formats.translation.base.Writer`."""

    def __init__(self, created_s: int, *, wants_usage: bool) -> None:
        self._events = Events()
        self._chunks = Chunks(created_s)
        self._wants_usage = wants_usage
        self._block = _Block()
        self._number = -1  # of the last tool call
        self._thoughts = 0
        self._has_arguments = False
        self._has_stopped = False
        self._has_failed = False

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._read(raw, data) for raw, data in self._events.feed(data)])

    def finish(self, usage: Usage | None) -> bytes:
        last = b"".join([self._read(raw, data) for raw, data in self._events.close()])
        if self._has_failed or not self._has_stopped:
            return last
        if usage is not None and self._wants_usage:
            last += self._chunks.usage(usage)
        return last + DONE

    def _read(self, raw: bytes, data: bytes | None) -> bytes:
        """An event, or what came in the place of one: a comment, bare JSON."""
        if data is not None:
            return self._write(raw, data)
        if raw.startswith(b":"):
            # Comments go on, so that a stream which says nothing for long is seen to be alive.
            return raw
        return self._write(raw, raw) if raw.lstrip().startswith(b"{") else b""

    def _write(self, raw: bytes, data: bytes) -> bytes:
        if self._has_failed:
            return b""
        try:
            event = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as broken:
            raise unreadable(broken) from broken
        delta = event.delta
        if delta is not None and delta.type == "text_delta":
            return self._chunks.text(0, b"content", delta.text)
        match event.type or _name_of(raw):
            case "content_block_delta" if event.delta is not None:
                return self._more(event.delta)
            case "content_block_start" if event.content_block is not None:
                return self._open(event.content_block)
            case "content_block_stop":
                return self._close()
            case "message_start" if event.message is not None:
                self._chunks.begin(event.message.id, event.message.model)
                return self._chunks.delta(0, {"role": "assistant", "content": "", "refusal": None})
            case "message_delta" if event.delta is not None:
                return self._chunks.delta(0, {}, _finish(event.delta.stop_reason))
            case "message_stop":
                self._has_stopped = True
            case "message":
                return self._whole(data)
            case "error":
                self._has_failed = True
                return error_event(chat_error(read_fault(data))[1])
        return b""

    def _whole(self, data: bytes) -> bytes:
        """A message that came whole although a stream was asked for."""
        self._has_stopped = True
        reply = msgspec.json.decode(read_message(data, 0, None))
        self._chunks.begin(reply["id"], reply["model"])
        choice = reply["choices"][0]
        for number, call in enumerate(choice["message"].get("tool_calls", ())):
            call["index"] = number
        return self._chunks.delta(0, choice["message"], choice["finish_reason"])

    def _more(self, delta: _Delta) -> bytes:
        if delta.type == "thinking_delta":
            self._block.thinking += delta.thinking
            return self._chunks.text(0, b"reasoning_content", delta.thinking)
        if delta.type == "signature_delta":
            self._block.signature += delta.signature
        elif delta.type == "input_json_delta" and delta.partial_json and self._block.type == "tool_use":
            self._has_arguments = True
            return self._arguments(delta.partial_json)
        return b""

    def _arguments(self, text: str) -> bytes:
        call = {"index": self._number, "function": {"arguments": text}}
        return self._chunks.delta(0, {"tool_calls": [call]})

    def _open(self, block: _Block) -> bytes:
        self._block = block
        if block.type == "text" and block.text:
            return self._chunks.text(0, b"content", block.text)
        if block.type != "tool_use":
            return b""
        self._number += 1
        self._has_arguments = False
        function = {"name": block.name, "arguments": ""}
        call = {"index": self._number, "id": block.id, "type": "function", "function": function}
        return self._chunks.delta(0, {"tool_calls": [call]})

    def _close(self) -> bytes:
        block, self._block = self._block, _Block()
        if block.type in _THOUGHTS:
            thought = {"index": self._thoughts, **_thought(block)}
            self._thoughts += 1
            return self._chunks.delta(0, {"thinking_blocks": [thought]})
        if block.type == "tool_use" and not self._has_arguments:
            # A call without arguments streams none; the text of none is still an object's.
            return self._arguments(bytes(block.input).decode() or "{}")
        return b""


def _name_of(raw: bytes) -> str:
    """What an event is called outside its data."""
    event = read_event(raw)
    return "" if event is None else event.name
