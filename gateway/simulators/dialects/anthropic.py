"""Anthropic: messages, streamed as named events or not, and the free count of tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.simulators.answers import Answer, ToolCall
from gateway.simulators.behaviour import UsageReport
from gateway.simulators.delivery import Call
from gateway.simulators.dialects.anthropic_checks import read_ask, read_document, read_model
from gateway.simulators.dialects.anthropic_errors import anthropic_error, invalid, told_status
from gateway.simulators.events import Body, Event, SseFraming, Stream
from gateway.simulators.exchange import Request, accept
from gateway.simulators.json_bytes import compact
from gateway.simulators.reports import reported
from gateway.simulators.wire import Headers

__all__ = ["count_tokens", "messages"]

_STOPS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_SEARCH_INPUT: Final = 2_000  # tokens that the results of one search add to the input
_GROUP: Final = 3
_OVERLOADED: Final = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
_SIGNATURE: Final = "c2ltdWxhdGVk"


def messages(request: Request, call: Call) -> Body | Stream:
    """``POST /v1/messages``."""
    _check_access(request, call)
    document = read_document(request.body)
    model = read_model(document)
    [answer] = accept(call, read_ask(document, model), model.served, told_status)
    billed = call.billed
    billed.response_id = f"msg_sim{billed.id:021x}"
    billed.stream = bool(document.get("stream"))
    billed.tier = call.behaviour.tier or "standard"
    reply = _Reply(call, answer, started=billed.input)
    billed.input += billed.web_search * _SEARCH_INPUT
    return reply.stream() if billed.stream else reply.body()


def count_tokens(request: Request, call: Call) -> Body:
    """``POST /v1/messages/count_tokens``: billed at nothing."""
    _check_access(request, call)
    document = read_document(request.body)
    ask = read_ask(document, read_model(document), needs_cap=False)
    call.billed.model = ask.model
    return Body(compact({"input_tokens": ask.input_tokens}))


def _check_access(request: Request, call: Call) -> None:
    key = request.headers.get("x-api-key") or request.bearer()
    if key is None:
        raise anthropic_error(401, "authentication_error", "x-api-key header is required", retry=False)
    known = call.stage.keys.get("anthropic")
    if known is not None and key not in known:
        raise anthropic_error(401, "authentication_error", "invalid x-api-key", retry=False)
    if not request.headers.get("anthropic-version"):
        raise invalid("anthropic-version: header is required")


def _headers(call: Call) -> Headers:
    """Headers of an answer, with those of the account's own limits that a gateway should keep to itself."""
    return [
        (b"request-id", b"req_sim%020x" % call.billed.id),
        (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
        (b"anthropic-ratelimit-requests-limit", b"20000"),
        (b"anthropic-ratelimit-requests-remaining", b"19999"),
        (b"anthropic-ratelimit-requests-reset", b"2026-01-01T00:00:00Z"),
        (b"anthropic-ratelimit-tokens-limit", b"4800000"),
        (b"anthropic-ratelimit-tokens-remaining", b"4800000"),
        (b"anthropic-ratelimit-tokens-reset", b"2026-01-01T00:00:00Z"),
    ]


@dataclass(frozen=True, slots=True)
class _Delta:
    """One delta of a content block, and the tokens it carries."""

    document: dict[str, Any]
    output: int = 0
    reasoning: int = 0


@dataclass(slots=True)
class _Reply:
    """One answer, ready to be written. `started` is the uncached input before any search of its own."""

    call: Call
    answer: Answer
    started: int

    def body(self) -> Body:
        """``message``, with every block."""
        message = self._message(self._blocks(), self._stop(), self._stop_sequence())
        if self.call.behaviour.usage is not UsageReport.NONE:
            usage = self._usage(self.call.billed.input, self.answer.output + len(self.answer.thoughts))
            message["usage"] = self.call.billed.reported = reported(usage, self.call.behaviour.usage)
        return Body(
            compact(message),
            headers=_headers(self.call),
            output=self.answer.output,
            reasoning=len(self.answer.thoughts),
        )

    def _message(self, content: Sequence[Any], stop: str | None, sequence: str | None) -> dict[str, Any]:
        return {
            "model": self.call.billed.served_model,
            "id": self.call.billed.response_id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": stop,
            "stop_sequence": sequence,
            "stop_details": None,
        }

    def _stop(self) -> str:
        if self.call.behaviour.finish is not None:
            return self.call.behaviour.finish
        if self.answer.refused:
            return "refusal"
        return "stop_sequence" if self.answer.stopped_at else _STOPS[self.answer.finish]

    def _stop_sequence(self) -> str | None:
        return self.answer.stopped_at

    def _usage(self, uncached: int, output: int) -> dict[str, Any]:
        billed = self.call.billed
        usage: dict[str, Any] = {
            "input_tokens": uncached,
            "cache_creation_input_tokens": billed.cache_write_5m + billed.cache_write_1h,
            "cache_read_input_tokens": billed.cache_read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": billed.cache_write_5m,
                "ephemeral_1h_input_tokens": billed.cache_write_1h,
            },
            "output_tokens": output,
            "service_tier": billed.tier,
            "inference_geo": "not_available",
        }
        if billed.web_search:
            usage["server_tool_use"] = {"web_search_requests": billed.web_search, "web_fetch_requests": 0}
        return usage

    def _blocks(self) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        if self.answer.thoughts:
            thought = "".join(self.answer.thoughts)
            blocks.append({"type": "thinking", "thinking": thought, "signature": _SIGNATURE})
        for number in range(self.call.billed.web_search):
            blocks += self._search(number)
        if self.answer.text:
            blocks.append({"type": "text", "text": "".join(self.answer.text)})
        for number, made in enumerate(self.answer.calls):
            blocks.append(
                self._tool_use(number, made) | {"input": json.loads("".join(made.arguments) or "{}")}
            )
        return blocks

    def _search(self, number: int) -> list[dict[str, Any]]:
        name = f"srvtoolu_sim{self.call.billed.id:016x}{number:02x}"
        used = {"type": "server_tool_use", "id": name, "name": "web_search", "input": {"query": "tides"}}
        found = {"type": "web_search_tool_result", "tool_use_id": name, "content": []}
        return [used, found]

    def _tool_use(self, number: int, made: ToolCall) -> dict[str, Any]:
        return {
            "type": "tool_use",
            "id": f"toolu_sim{self.call.billed.id:018x}{number:02x}",
            "name": made.name,
            "input": {},
        }

    def stream(self) -> Stream:
        """The named events, from ``message_start`` to ``message_stop``."""
        framing = SseFraming(crlf=self.call.behaviour.crlf)
        failure = framing.frame(Event(compact(_OVERLOADED), "error"))
        terminator = Event(b'{"type":"message_stop"    }', "message_stop")
        return Stream(self._events(), framing, lambda: failure, _headers(self.call), terminator)

    def _events(self) -> Iterator[Event]:
        yield self._start()
        ping: tuple[Event, ...] = (Event(b'{"type": "ping"}', "ping"),)
        for index, (opening, deltas) in enumerate(self._streamed_blocks()):
            yield _named("content_block_start", {"index": index, "content_block": opening})
            yield from ping
            ping = ()
            yield from (_delta_event(index, delta) for delta in deltas)
            yield _named("content_block_stop", {"index": index})
        yield self._delta()

    def _start(self) -> Event:
        """The input as known before anything was generated, and one token of output."""
        message = self._message([], None, None)
        report = self.call.behaviour.usage
        if report is not UsageReport.NONE:
            usage = self._usage(self.started, 1)
            usage.pop("server_tool_use", None)
            message["usage"] = reported(usage, report)
        return _named("message_start", {"message": message})

    def _streamed_blocks(self) -> Iterator[tuple[dict[str, Any], Iterator[_Delta]]]:
        """For each block its opening and its deltas."""
        if self.answer.thoughts:
            yield {"type": "thinking", "thinking": "", "signature": ""}, self._thinking_deltas()
        for number in range(self.call.billed.web_search):
            used, found = self._search(number)
            query = _Delta({"type": "input_json_delta", "partial_json": json.dumps(used["input"])})
            yield used | {"input": {}}, iter((query,))
            yield found, iter(())
        if self.answer.text:
            yield {"type": "text", "text": ""}, self._text_deltas()
        for number, made in enumerate(self.answer.calls):
            yield self._tool_use(number, made), self._argument_deltas(made)

    def _thinking_deltas(self) -> Iterator[_Delta]:
        for text, tokens in self._grouped(self.answer.thoughts):
            yield _Delta({"type": "thinking_delta", "thinking": text}, reasoning=tokens)
        yield _Delta({"type": "signature_delta", "signature": _SIGNATURE})

    def _text_deltas(self) -> Iterator[_Delta]:
        for text, tokens in self._grouped(self.answer.text):
            said = f"t{time.monotonic_ns()} " if self.call.behaviour.stamp else text
            yield _Delta({"type": "text_delta", "text": said}, tokens)

    def _argument_deltas(self, made: ToolCall) -> Iterator[_Delta]:
        """An empty fragment first, and for a call without arguments nothing else (recorded)."""
        empty = "".join(made.arguments) == "{}"
        told = made.tokens if empty else made.tokens - len(made.arguments)
        yield _Delta({"type": "input_json_delta", "partial_json": ""}, told)
        for text, tokens in self._grouped([] if empty else made.arguments):
            yield _Delta({"type": "input_json_delta", "partial_json": text}, tokens)

    def _grouped(self, tokens: Sequence[str]) -> Iterator[tuple[str, int]]:
        size = self.call.behaviour.group or _GROUP
        for start in range(0, len(tokens), size):
            group = tokens[start : start + size]
            yield "".join(group), len(group)

    def _delta(self) -> Event:
        """Why it stopped, and the usage that replaces the first one."""
        document: dict[str, Any] = {
            "delta": {
                "stop_reason": self._stop(),
                "stop_sequence": self._stop_sequence(),
                "stop_details": None,
            }
        }
        report = self.call.behaviour.usage
        if report is not UsageReport.NONE:
            document["usage"] = self.call.billed.reported = reported(self._final_usage(), report)
        return _named("message_delta", document)

    def _final_usage(self) -> dict[str, Any]:
        output = self.answer.output + len(self.answer.thoughts)
        if self.call.behaviour.usage is UsageReport.OUTPUT_ONLY:
            return {"output_tokens": output}
        usage = self._usage(self.call.billed.input, output)
        for name in ("cache_creation", "service_tier", "inference_geo"):
            del usage[name]
        if self.answer.thoughts:
            usage["output_tokens_details"] = {"thinking_tokens": len(self.answer.thoughts)}
        return usage


def _delta_event(index: int, delta: _Delta) -> Event:
    document = {"index": index, "delta": delta.document}
    return _named("content_block_delta", document, delta.output, delta.reasoning, paced=True)


def _parsed(arguments: Sequence[str]) -> Any:
    """The arguments of a call, or none when the cap cut them short."""
    try:
        return json.loads("".join(arguments))
    except ValueError:
        return {}


def _named(
    name: str, document: Mapping[str, Any], output: int = 0, reasoning: int = 0, *, paced: bool = False
) -> Event:
    """An event whose JSON ends in blanks, as the real ones do."""
    data = compact({"type": name, **document})
    return Event(data[:-1] + b" " * (len(data) % 13) + b"}", name, output, reasoning, paced)
