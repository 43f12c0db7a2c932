"""What an OpenAI-shaped stream has said so far: kept raw while nobody asks, read when somebody does.

Most streams are never counted: their usage arrives in the end. So events are kept as the bytes they came
in, and only a cap that might be reached, a missing usage or a cut has them decoded (0.6 us each) and
counted.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any, Final

import msgspec

from gateway.formats.base import Counter
from gateway.formats.sse import read_event, split_events
from gateway.formats.tally import Tally

__all__ = ["Transcript", "reply_texts"]

# What may wait undecoded or decoded but uncounted, per stream.
_WAITING_BYTES_MAX: Final = 64 * 1024
_UNCOUNTED_BYTES_MAX: Final = 64 * 1024

# More texts than that are counted as one.
_TEXTS_MAX: Final = 1024

# The start of an event up to where its text begins. It holds quotes that no string can hold unescaped,
# so wherever it occurs in a stream it is frame, not text.
_FRAME: Final = re.compile(
    rb'data: \{[^\n]*?"delta":\{(?:"content":null,)?(?:"(?:content|reasoning_content|reasoning|refusal)":"'
    rb'|"tool_calls":\[\{"index":\d+,"function":\{"arguments":")'
)


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    function: _Function | None = None
    custom: dict[str, Any] | None = None


class _Audio(msgspec.Struct, gc=False):
    transcript: str | None = None


class _Said(msgspec.Struct, gc=False):
    """A delta of a stream or a message of a reply: everything generated that is text."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: _Audio | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


class Transcript:
    """The text of every choice of one stream, counted only when asked for."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._frame = b""
        # How many of the waiting blocks are measured, and the bytes of frame found in them.
        self._measured = 0
        self._frame_bytes = 0
        self._tallies: dict[tuple[int, str], Tally] = {}
        self._finished: set[int] = set()
        self._seen: set[int] = set()

    def keep(self, block: bytes) -> None:
        """Take in whole events that were relayed."""
        self._waiting.append(block)
        self._waiting_bytes += len(block)
        if self._waiting_bytes > _WAITING_BYTES_MAX:
            self._decode_all()

    @property
    def tokens(self) -> int:
        """The tokens of all that was counted."""
        return sum(tally.tokens for tally in self._tallies.values())

    def has_text(self) -> bool:
        """Whether anything was generated at all."""
        self._decode_all()
        return bool(self._tallies)

    def open_choices(self, choices: int) -> list[int]:
        """The choices that have not ended, of those seen and the first `choices`."""
        self._decode_all()
        return sorted((self._seen | set(range(choices))) - self._finished)

    def may_exceed(self, cap: int) -> bool:
        """Whether the text may be more than `cap` tokens, or waits in such bulk that it should be counted.

        No token is shorter than a byte, and no text shorter in JSON than in UTF-8.
        """
        room = cap - self.tokens
        uncounted = self._uncounted_bytes()
        if uncounted > _UNCOUNTED_BYTES_MAX:
            return True
        if self._waiting_bytes + uncounted <= room:
            return False
        if self._waiting_bytes - self._measure() + uncounted <= room:
            return False
        self._decode_all()
        return self._uncounted_bytes() > room

    def count(self, counter: Counter, budget_chars: int) -> bool:
        """Count at most so many characters; True once nothing is left."""
        while budget_chars > 0:
            for tally in self._tallies.values():
                budget_chars -= tally.count(counter, budget_chars)
            if self._waiting:
                if budget_chars > 0:
                    self._decode_one()
            elif not self._uncounted_bytes():
                return True
        return not self._waiting and not self._uncounted_bytes()

    def _uncounted_bytes(self) -> int:
        return sum(tally.uncounted_bytes for tally in self._tallies.values())

    def _measure(self) -> int:
        """The bytes of the waiting blocks that are surely frame: found at the speed of a search."""
        if not self._frame:
            found = next((match for block in self._waiting if (match := _FRAME.search(block))), None)
            if found is None:
                return 0
            self._frame = found[0]
        for at in range(self._measured, len(self._waiting)):
            self._frame_bytes += self._waiting[at].count(self._frame) * len(self._frame)
        self._measured = len(self._waiting)
        return self._frame_bytes

    def _decode_all(self) -> None:
        while self._waiting:
            self._decode_one()
        # Reasoning gives way to content, and choices take turns: the next frame may be another.
        self._frame = b""

    def _decode_one(self) -> None:
        block = self._waiting.popleft()
        self._waiting_bytes -= len(block)
        self._measured, self._frame_bytes = 0, 0
        for raw in split_events(block):
            event = read_event(raw)
            if event is not None:
                self.read(event.data)

    def read(self, data: bytes) -> None:
        """Take in one chunk, or a whole reply, given as its JSON."""
        for choice in _choices(data):
            self._seen.add(choice.index)
            if choice.finish_reason is not None:
                self._finished.add(choice.index)
            for kind, text in _texts(choice):
                self._tally(choice.index, kind).add(text)

    def _tally(self, index: int, kind: str) -> Tally:
        tally = self._tallies.get((index, kind))
        if tally is None:
            if len(self._tallies) >= _TEXTS_MAX:
                index, kind = -1, "more"
            tally = self._tallies.setdefault((index, kind), Tally())
        return tally


def _choices(data: bytes) -> list[_Choice]:
    """The choices of one chunk; what is not a chunk has none."""
    try:
        return _CHUNK.decode(data).choices or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _choices_leniently(data)


def _choices_leniently(data: bytes) -> list[_Choice]:
    """The same for a chunk with broken UTF-8, lone surrogates or a field of an unexpected type."""
    try:
        chunk = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return []
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    found = []
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict):
            index, reason = choice.get("index"), choice.get("finish_reason")
            said = choice.get("delta") or choice.get("message")
            found.append(
                _Choice(
                    index=index if isinstance(index, int) else 0,
                    text="".join(_strings(said)) or _string(choice.get("text")),
                    finish_reason=str(reason) if reason is not None else None,
                )
            )
    return found


def _strings(value: Any) -> list[str]:
    """Every string inside a delta but the ones that are no output."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [
            text
            for key, each in value.items()
            if key not in ("role", "id", "type")
            for text in _strings(each)
        ]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return []


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(choice: _Choice) -> list[tuple[str, str]]:
    """Every text a choice adds, with the name of the text it continues."""
    found: list[tuple[str, str]] = []
    if choice.text:
        found.append(("text", choice.text))
    said = choice.delta or choice.message
    if said is None:
        return found
    if said.content:
        found.append(("content", said.content))
    if said.reasoning_content or said.reasoning:
        found.append(("reasoning", said.reasoning_content or said.reasoning or ""))
    if said.refusal:
        found.append(("refusal", said.refusal))
    if said.audio is not None and said.audio.transcript:
        found.append(("audio", said.audio.transcript))
    if said.function_call is not None:
        found += _called("function", said.function_call)
    for at, call in enumerate(said.tool_calls or ()):
        place = f"tool {at if call.index is None else call.index}"
        if call.function is not None:
            found += _called(place, call.function)
        if call.custom is not None:
            found += [(place, text) for text in _strings(call.custom)]
    return found


def _called(place: str, function: _Function) -> list[tuple[str, str]]:
    return [
        (f"{place} {part}", text)
        for part, text in (("name", function.name), ("arguments", function.arguments))
        if text
    ]


def reply_texts(body: bytes) -> list[str]:
    """The generated texts of a reply that was not streamed, of one cut off in its midst too."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [_unescaped(text) for text in _TEXT_MEMBER.findall(body)]
    return [text for choice in _choices(body) for _, text in _texts(choice)]


# A text member of a message, its string perhaps never closed.
_TEXT_MEMBER: Final = re.compile(
    rb'"(?:content|reasoning_content|refusal|arguments|text)"\s*:\s*"((?:[^"\\]++|\\.)*+)', re.DOTALL
)


def _unescaped(text: bytes) -> str:
    plain = text.decode("utf-8", "replace")
    try:
        return str(json.loads(f'"{plain}"', strict=False))
    except ValueError:
        return plain
