"""Writes answers as chat completions: one JSON body, or chunks that end in ``[DONE]``.

OpenAI, Azure and DeepSeek differ in a few habits, which `Habits` names. The shapes are those of recorded
traffic; a chunk is put together from constant bytes, for a simulator that feeds a benchmark must be cheap.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.simulators.answers import Answer, ToolCall
from gateway.simulators.behaviour import UsageReport
from gateway.simulators.bill import BilledCall
from gateway.simulators.delivery import Body, Call, Event, SseFraming, Stream
from gateway.simulators.reports import reported
from gateway.simulators.wire import Headers

__all__ = ["FAILURE", "Habits", "Reply"]

_DONE: Final = Event(b"[DONE]")
_PADDING: Final = "mbRezgIrEH6PfkJQFAwNJwRWoooWcpRZdMG9"
FAILURE: Final = {
    "error": {
        "message": "The server experienced an error while processing your request. We apologize for the "
        "inconvenience!",
        "type": "server_error",
        "param": None,
        "code": None,
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What sets one provider's chat completions apart from another's."""

    id_form: str = "chatcmpl-sim{:024x}"
    call_id_form: str = "call_sim{:020x}"
    fingerprint: str | None = "fp_simulated"
    service_tier: bool = True
    obfuscates: bool = True
    shows_thoughts: bool = False  # reasoning_content
    usage_with_finish: bool = False  # in the chunk that carries finish_reason, asked for or not
    cache_split: bool = False  # prompt_cache_hit_tokens and _miss_tokens
    filters: bool = False  # prompt_filter_results and content_filter_results
    indent: int | None = 2


@dataclass(slots=True)
class Reply:
    """The answers of one call, ready to be written. `document` is the request."""

    call: Call
    document: Mapping[str, Any]
    answers: Sequence[Answer]
    habits: Habits
    headers: Headers = field(default_factory=list)
    _head: bytes = b""
    _tail: bytes = b""

    def __post_init__(self) -> None:
        billed = self.call.billed
        billed.response_id = self.habits.id_form.format(billed.id)
        billed.stream = bool(self.document.get("stream"))

    def render(self) -> Body | Stream:
        """The answer in the form the request asks for."""
        return self.as_stream() if self.call.billed.stream else self.as_body()

    # One body

    def as_body(self) -> Body:
        """``chat.completion``."""
        billed, chosen = self.call.billed, self.call.behaviour
        document = self._envelope("chat.completion")
        document["choices"] = [self._choice(index, answer) for index, answer in enumerate(self.answers)]
        if chosen.usage is not UsageReport.NONE:
            document["usage"] = billed.reported = reported(self.usage(), chosen.usage)
        if self.habits.filters:
            document["prompt_filter_results"] = [_PROMPT_FILTERS]
        separators = None if self.habits.indent else (",", ":")
        text = json.dumps(document, indent=self.habits.indent, separators=separators, ensure_ascii=False)
        return Body(
            text.encode(),
            headers=self.headers,
            output=sum(answer.output for answer in self.answers),
            reasoning=sum(len(answer.thoughts) for answer in self.answers),
        )

    def _envelope(self, kind: str) -> dict[str, Any]:
        billed = self.call.billed
        head: dict[str, Any] = {
            "id": billed.response_id,
            "object": kind,
            "created": int(time.time()),
            "model": billed.served_model,
        }
        if self.habits.service_tier:
            head["service_tier"] = billed.tier
        return head | {"system_fingerprint": self.habits.fingerprint}

    def _choice(self, index: int, answer: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if answer.calls else "".join(answer.text),
        }
        if answer.refused:
            message |= {"content": None, "refusal": "".join(answer.text)}
        elif not self.habits.shows_thoughts:
            message["refusal"] = None
        if answer.thoughts and self.habits.shows_thoughts:
            message["reasoning_content"] = "".join(answer.thoughts)
        if answer.calls:
            message["tool_calls"] = [
                self._tool_call(index, number, call) for number, call in enumerate(answer.calls)
            ]
        choice = {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(answer.text),
            "finish_reason": self._finish_reason(answer),
        }
        return choice | ({"content_filter_results": _FILTERS} if self.habits.filters else {})

    def _finish_reason(self, answer: Answer) -> str:
        return self.call.behaviour.finish or answer.finish

    def _tool_call(self, index: int, number: int, call: ToolCall) -> dict[str, Any]:
        return {
            "id": self._call_id(index, number),
            "type": "function",
            "function": {"name": call.name, "arguments": "".join(call.arguments)},
        }

    def _call_id(self, index: int, number: int) -> str:
        return self.habits.call_id_form.format(self.call.billed.id * 65_536 + index * 256 + number)

    def usage(self) -> dict[str, Any]:
        """The usage object of the whole answer."""
        output = sum(answer.output for answer in self.answers)
        reasoning = sum(len(answer.thoughts) for answer in self.answers)
        return chat_usage(self.call.billed, output, reasoning, self.habits)

    def _logprobs(self, tokens: Sequence[str]) -> dict[str, Any] | None:
        if not self.document.get("logprobs"):
            return None
        top = int(self.document.get("top_logprobs") or 0)
        return {"content": [_logprob(token, top) for token in tokens], "refusal": None}

    # Chunks

    def as_stream(self) -> Stream:
        """``chat.completion.chunk`` events."""
        envelope = json.dumps(
            self._envelope("chat.completion.chunk"), separators=(",", ":"), ensure_ascii=False
        )
        self._head = envelope.encode()[:-1] + b',"choices":['
        self._tail = b'],"usage":null' if self._tells_usage() or self.habits.usage_with_finish else b"]"
        framing = SseFraming(crlf=self.call.behaviour.crlf)
        failure = framing.frame(Event(json.dumps(FAILURE).encode())) + framing.frame(_DONE)
        return Stream(self._events(), framing, lambda: failure, self.headers, _DONE)

    def _tells_usage(self) -> bool:
        return bool((self.document.get("stream_options") or {}).get("include_usage"))

    def _events(self) -> Iterator[Event]:
        if self.habits.filters:
            yield Event(_dumps(_PROMPT_FILTER_CHUNK))
        for index, answer in enumerate(self.answers):
            yield self._opening(index, answer)
        turns = (self._tokens(index, answer) for index, answer in enumerate(self.answers))
        for turn in itertools.zip_longest(*turns):
            yield from (event for event in turn if event is not None)
        for index, answer in enumerate(self.answers):
            yield self._finish(index, answer)
        if self._tells_usage() and not self.habits.usage_with_finish:
            yield from self._usage_chunk()

    def _opening(self, index: int, answer: Answer) -> Event:
        """The role; hidden thoughts have been generated by now."""
        delta: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
        if answer.refused:
            delta |= {"content": None, "refusal": ""}
        elif answer.calls and not self.habits.shows_thoughts:
            delta = {"role": "assistant", "content": None}
        if not self.habits.shows_thoughts:
            return self._chunk(index, delta, reasoning=len(answer.thoughts))
        del delta["refusal"]
        if answer.thoughts:
            delta |= {"content": None, "reasoning_content": ""}
        return self._chunk(index, delta)

    def _tokens(self, index: int, answer: Answer) -> Iterator[Event]:
        if self.habits.shows_thoughts:
            for group in self._grouped(answer.thoughts):
                delta = {"content": None, "reasoning_content": "".join(group)}
                yield self._chunk(index, delta, reasoning=len(group), paced=True)
        for number, call in enumerate(answer.calls):
            yield from self._call_chunks(index, number, call)
        key = "refusal" if answer.refused else "content"
        blank = {"reasoning_content": None} if answer.thoughts and self.habits.shows_thoughts else {}
        for group in self._grouped(answer.text):
            said = f"t{time.monotonic_ns()} " if self.call.behaviour.stamp else "".join(group)
            yield self._chunk(index, {key: said, **blank}, group, output=len(group), paced=True)

    def _grouped(self, tokens: Sequence[str]) -> Iterator[Sequence[str]]:
        size = self.call.behaviour.group or 1
        return (tokens[start : start + size] for start in range(0, len(tokens), size))

    def _call_chunks(self, index: int, number: int, call: ToolCall) -> Iterator[Event]:
        named = call.tokens - len(call.arguments)
        first = {
            "index": number,
            "id": self._call_id(index, number),
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield self._chunk(index, {"tool_calls": [first]}, output=named, paced=True)
        for group in self._grouped(call.arguments):
            part = {"index": number, "function": {"arguments": "".join(group)}}
            yield self._chunk(index, {"tool_calls": [part]}, output=len(group), paced=True)

    def _finish(self, index: int, answer: Answer) -> Event:
        if not self.habits.usage_with_finish:
            return self._chunk(index, {}, finish=self._finish_reason(answer))
        delta = {"content": ""} | ({"reasoning_content": None} if answer.thoughts else {})
        mode = self.call.behaviour.usage
        plain = self._chunk(index, delta, finish=self._finish_reason(answer))
        if mode is UsageReport.NULL:
            return plain
        if mode is UsageReport.NONE:
            return Event(plain.data.replace(b',"usage":null', b""))
        self.call.billed.reported = reported(self.usage(), mode)
        return Event(plain.data.replace(b'"usage":null', b'"usage":' + _dumps(self.call.billed.reported)))

    def _usage_chunk(self) -> Iterator[Event]:
        mode = self.call.behaviour.usage
        if mode is not UsageReport.NONE:
            self.call.billed.reported = reported(self.usage(), mode)
            usage = b'],"usage":' + _dumps(self.call.billed.reported)
            checkpoint = b',"latency_checkpoint":' + _dumps(_LATENCY) if self.habits.filters else b""
            yield Event(self._head + usage + checkpoint + self._obfuscation(5) + b"}")

    def _chunk(
        self,
        index: int,
        delta: Mapping[str, Any],
        tokens: Sequence[str] = (),
        *,
        finish: str | None = None,
        output: int = 0,
        reasoning: int = 0,
        paced: bool = False,
    ) -> Event:
        probs = self._logprobs(tokens) if finish is None else None
        choice = b'{"index":%d,"delta":%s,"logprobs":%s,"finish_reason":%s}' % (
            index,
            _dumps(delta),
            _dumps(probs) if probs else b"null",
            b"null" if finish is None else _dumps(finish),
        )
        if self.habits.filters:
            choice = b'{"content_filter_results":%s,' % (_dumps(_FILTERS) if paced else b"{}") + choice[1:]
        data = self._head + choice + self._tail + self._obfuscation(len(choice)) + b"}"
        return Event(data, output=output, reasoning=reasoning, paced=paced)

    def _obfuscation(self, length: int) -> bytes:
        """Padding against guessing words by the length of chunks; this one is not random."""
        options = self.document.get("stream_options") or {}
        if not self.habits.obfuscates or options.get("include_obfuscation") is False:
            return b""
        return b',"obfuscation":"%s"' % _PADDING[length % 16 : length % 16 + 6 + length % 10].encode()


def chat_usage(billed: BilledCall, output: int, reasoning: int, habits: Habits) -> dict[str, Any]:
    """The usage object of a chat completion whose input is that of the bill."""
    prompt = billed.input_total
    written = billed.cache_write_5m + billed.cache_write_1h
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output + reasoning,
        "total_tokens": prompt + output + reasoning,
        "prompt_tokens_details": {"cached_tokens": billed.cache_read},
    }
    if habits.cache_split:
        if reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        missed = prompt - billed.cache_read
        return usage | {"prompt_cache_hit_tokens": billed.cache_read, "prompt_cache_miss_tokens": missed}
    usage["prompt_tokens_details"]["audio_tokens"] = 0
    if written:
        usage["prompt_tokens_details"]["cache_write_tokens"] = written
    usage["completion_tokens_details"] = {
        "reasoning_tokens": reasoning,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    return usage


def _logprob(token: str, top: int) -> dict[str, Any]:
    shown = {"token": token, "logprob": -0.02, "bytes": list(token.encode())}
    return shown | {"top_logprobs": [shown][:top]}


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


_SAFE: Final = {"filtered": False, "severity": "safe"}
_FILTERS: Final = {"hate": _SAFE, "self_harm": _SAFE, "sexual": _SAFE, "violence": _SAFE}
_PROMPT_FILTERS: Final = {
    "prompt_index": 0,
    "content_filter_results": {**_FILTERS, "jailbreak": {"detected": False, "filtered": False}},
}
_LATENCY: Final = {
    "engine_ttft_ms": 30,
    "engine_ttlt_ms": 700,
    "pre_inference_ms": 12,
    "total_duration_ms": 712,
}
# Azure's first chunk names nothing: no id, no model, no choices.
_PROMPT_FILTER_CHUNK: Final = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [_PROMPT_FILTERS],
}
