"""Gemini's answers in the words of chat completions, whole and streamed.

Nothing says which event of a stream is its last, and one that finishes a candidate may be followed by more:
so a finish is told at the end. Calls of functions come whole, and without an id: they are given one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from gateway.domain.usage import Usage
from gateway.formats.gemini_meter import EVENT_BYTES_MAX
from gateway.formats.translation.chat_answers import DONE, Chunks, completion, error_event
from gateway.formats.translation.errors import chat_error, read_fault
from gateway.formats.translation.events import Events
from gateway.formats.translation.refusing import unreadable

__all__ = ["GeminiWriter", "Identity", "read_responses"]

_BLOCKED: Final = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "NO_IMAGE",
        "IMAGE_OTHER",
    )
)
# Early recordings have the numbers of the enumeration.
_NUMBERED: Final = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}


class Identity(NamedTuple):
    """What an answer is known by: when its call was admitted, in microseconds."""

    at_us: int

    def call_id(self, choice: int, number: int) -> str:
        """The id of a call: no other answer of the conversation has it."""
        return f"call_{self.at_us:x}_{choice}_{number}"


class _FunctionCall(msgspec.Struct, gc=False):
    name: str = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _Blob(msgspec.Struct, gc=False, rename="camel"):
    mime_type: str = ""
    data: str = ""


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: _FunctionCall | None = None
    inline_data: _Blob | None = None
    thought_signature: str | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Token(msgspec.Struct, gc=False, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class _Top(msgspec.Struct, gc=False):
    candidates: list[_Token] | None = None


class _Logprobs(msgspec.Struct, gc=False, rename="camel"):
    chosen_candidates: list[_Token] | None = None
    top_candidates: list[_Top] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: _Content | None = None
    index: int = 0
    finish_reason: str | int | None = None
    logprobs_result: _Logprobs | None = None

    @property
    def parts(self) -> list[_Part]:
        return (self.content.parts if self.content is not None else None) or []


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class _Response(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = msgspec.Raw()

    @property
    def is_blocked(self) -> bool:
        return self.prompt_feedback is not None and self.prompt_feedback.block_reason is not None


_RESPONSE: Final = msgspec.json.Decoder(_Response)


def _open(body: bytes) -> _Response:
    try:
        return _RESPONSE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise unreadable(broken) from broken


class _Choice:
    """One candidate, as far as it was told."""

    def __init__(self, index: int, identity: Identity) -> None:
        self.index = index
        self.signature: str | None = None
        self.reason: str | None = None
        self._calls = 0
        self._identity = identity

    def take(self, candidate: _Candidate) -> Iterator[dict[str, Any]]:
        """What the parts of a candidate add, as deltas."""
        for part in candidate.parts:
            if part.function_call is not None:
                yield {"tool_calls": [self._call(part.function_call, part.thought_signature)]}
                continue
            self.signature = part.thought_signature or self.signature
            if part.text:
                yield {"reasoning_content" if part.thought else "content": part.text}
            elif part.inline_data is not None:
                url = f"data:{part.inline_data.mime_type};base64,{part.inline_data.data}"
                yield {"images": [{"index": 0, "type": "image_url", "image_url": {"url": url}}]}
        reason = candidate.finish_reason
        if reason is not None:
            self.reason = _NUMBERED.get(reason, "OTHER") if isinstance(reason, int) else reason

    def _call(self, called: _FunctionCall, signature: str | None) -> dict[str, Any]:
        number = self._calls
        self._calls += 1
        arguments = msgspec.json.format(bytes(called.args), indent=-1).decode()
        call: dict[str, Any] = {
            "index": number,
            "id": self._identity.call_id(self.index, number),
            "type": "function",
            "function": {"name": called.name, "arguments": "{}" if arguments == "null" else arguments},
        }
        if signature is not None:
            call["extra_content"] = {"google": {"thought_signature": signature}}
        return call

    @property
    def finish(self) -> str:
        """Why it ended; that functions were called Gemini does not say by itself."""
        if self.reason == "MAX_TOKENS":
            return "length"
        if self.reason in _BLOCKED:
            return "content_filter"
        return "tool_calls" if self._calls else "stop"

    @property
    def extra(self) -> dict[str, Any]:
        """What of the text has to be sent back."""
        return {"extra_content": {"google": {"thought_signature": self.signature}}} if self.signature else {}


def _logprobs(result: _Logprobs | None) -> dict[str, Any] | None:
    if result is None or not result.chosen_candidates:
        return None
    tops = result.top_candidates or []
    content = []
    for place, chosen in enumerate(result.chosen_candidates):
        top = tops[place].candidates or () if place < len(tops) else ()
        content.append({**_token(chosen), "top_logprobs": [_token(each) for each in top]})
    return {"content": content, "refusal": None}


def _token(token: _Token) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.log_probability, "bytes": list(token.token.encode())}


def read_responses(body: bytes, identity: Identity, usage: Usage | None) -> bytes:
    """A response as a completion. Raises UpstreamFailed for what is none."""
    response = _open(body)
    choices = [_whole(candidate, identity) for candidate in response.candidates or ()]
    if not choices:
        if not response.is_blocked:
            raise unreadable()
        told = {"role": "assistant", "content": "", "refusal": None}
        choices = [{"index": 0, "message": told, "logprobs": None, "finish_reason": "content_filter"}]
    return completion(
        response.response_id or "", identity.at_us // 1_000_000, response.model_version or "", choices, usage
    )


def _whole(candidate: _Candidate, identity: Identity) -> dict[str, Any]:
    choice = _Choice(candidate.index, identity)
    texts: dict[str, str] = {}
    lists: dict[str, list[Any]] = {}
    for delta in choice.take(candidate):
        for name, value in delta.items():
            if isinstance(value, str):
                texts[name] = texts.get(name, "") + value
            else:
                lists.setdefault(name, []).extend(_without_index(each) for each in value)
    content = texts.pop("content", None if "tool_calls" in lists else "")
    message = {"role": "assistant", "content": content, "refusal": None, **texts, **lists, **choice.extra}
    return {
        "index": choice.index,
        "message": message,
        "logprobs": _logprobs(candidate.logprobs_result),
        "finish_reason": choice.finish,
    }


def _without_index(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "index"}


class GeminiWriter:
    """See `gateway.formats.translation.base.Writer`."""

    def __init__(self, identity: Identity, *, wants_usage: bool) -> None:
        self._identity = identity
        self._events = Events(EVENT_BYTES_MAX)
        self._chunks = Chunks(identity.at_us // 1_000_000)
        self._wants_usage = wants_usage
        self._choices: dict[int, _Choice] = {}
        self._has_begun = False
        self._has_failed = False

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._read(raw, data) for raw, data in self._events.feed(data)])

    def finish(self, usage: Usage | None) -> bytes:
        last = [self._read(raw, data) for raw, data in self._events.close()]
        ended = [choice for choice in self._choices.values() if choice.reason is not None]
        if self._has_failed or not ended:
            return b"".join(last)
        for choice in ended:
            last.append(self._chunks.delta(choice.index, choice.extra, choice.finish))
        if usage is not None and self._wants_usage:
            last.append(self._chunks.usage(usage))
        return b"".join((*last, DONE))

    def _read(self, raw: bytes, data: bytes | None) -> bytes:
        """An event, or what came in the place of one: a comment, bare JSON."""
        if data is not None:
            return self._write(data)
        if raw.startswith(b":"):
            return raw
        return self._write(raw) if raw.lstrip().startswith((b"{", b"[")) else b""

    def _write(self, data: bytes) -> bytes:
        if self._has_failed:
            return b""
        if not data.startswith(b"{") and data.lstrip().startswith(b"["):
            # An error that was asked for as an array.
            data = b"".join(map(bytes, msgspec.json.decode(data, type=list[msgspec.Raw])[:1]))
        response = _open(data)
        if bytes(response.error):
            self._has_failed = True
            return error_event(chat_error(read_fault(data))[1])
        if not self._has_begun:
            self._has_begun = True
            self._chunks.begin(response.response_id or "", response.model_version or "")
        candidates = response.candidates
        if candidates is not None and len(candidates) == 1:
            return self._plain(candidates[0]) or b"".join(self._candidate(candidates[0]))
        if response.is_blocked and not candidates:
            blocked = _Candidate(finish_reason="PROHIBITED_CONTENT")
            return b"".join(self._candidate(blocked))
        return b"".join([text for each in candidates or () for text in self._candidate(each)])

    def _plain(self, candidate: _Candidate) -> bytes:
        """What nearly every event is: one more piece of a candidate's text; nothing for any other."""
        parts = candidate.parts
        if len(parts) != 1 or candidate.finish_reason is not None or candidate.logprobs_result is not None:
            return b""
        part = parts[0]
        is_bare = part.function_call is None and part.thought_signature is None
        if not (part.text and is_bare and candidate.index in self._choices):
            return b""
        return self._chunks.text(
            candidate.index, b"reasoning_content" if part.thought else b"content", part.text
        )

    def _candidate(self, candidate: _Candidate) -> Iterator[bytes]:
        choice = self._choices.get(candidate.index)
        if choice is None:
            choice = self._choices[candidate.index] = _Choice(candidate.index, self._identity)
            yield self._chunks.delta(choice.index, {"role": "assistant", "content": "", "refusal": None})
        logprobs = _logprobs(candidate.logprobs_result)
        for delta in choice.take(candidate):
            field, value = next(iter(delta.items()))
            if isinstance(value, str) and logprobs is None:
                yield self._chunks.text(choice.index, field.encode(), value)
            else:
                yield self._chunks.delta(choice.index, delta, None, logprobs)
                logprobs = None
