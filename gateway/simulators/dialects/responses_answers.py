"""Writes answers as responses: one object, or named and numbered events that end in one.

Usage is in the terminal event alone, and nothing follows it. The object repeats the request's settings, as
the real one does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.simulators.answers import Answer, ToolCall
from gateway.simulators.behaviour import UsageReport
from gateway.simulators.delivery import Call
from gateway.simulators.events import Body, Event, SseFraming, Stream
from gateway.simulators.json_bytes import compact, readable
from gateway.simulators.reports import reported
from gateway.simulators.wire import Headers

__all__ = ["ResponsesReply"]

_LIMITED: Final = {
    "type": "tokens",
    "code": "rate_limit_exceeded",
    "message": "Request too large on tokens per min (TPM): Limit 1, Requested 30. The input or output tokens "
    "must be reduced in order to run successfully.",
    "param": None,
}
_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
_PADDING: Final = "RuAYgmiJC8wtPFvBruCppln6lBu9cYMp86sf"


@dataclass(slots=True)
class ResponsesReply:
    """The answer of one call, ready to be written. `document` is the request."""

    call: Call
    document: Mapping[str, Any]
    answer: Answer
    headers: Headers = field(default_factory=list)
    created: int = field(default_factory=lambda: int(time.time()))
    _sequence: int = 0

    @property
    def background(self) -> bool:
        """Whether the request was to be answered later."""
        return bool(self.document.get("background"))

    def body(self) -> Body:
        """The finished response."""
        return Body(
            readable(self.finished()),
            headers=self.headers,
            output=self.answer.output,
            reasoning=len(self.answer.thoughts),
        )

    def finished(self) -> dict[str, Any]:
        """The response object at its end, with its usage."""
        billed, chosen = self.call.billed, self.call.behaviour
        full = self.answer.finish != "length"
        response = self.response("completed" if full else "incomplete", self._items())
        response["service_tier"] = billed.tier
        response["incomplete_details"] = None if full else {"reason": "max_output_tokens"}
        response["completed_at"] = int(time.time()) if full else None
        if chosen.usage is UsageReport.NONE:
            del response["usage"]
        else:
            response["usage"] = billed.reported = reported(self._usage(), chosen.usage)
        return response

    def response(self, status: str, output: Sequence[Any] = ()) -> dict[str, Any]:
        """The response object in a state in which it has no usage yet."""
        billed = self.call.billed
        told = {name: self.document.get(name) for name in _ECHOED if self.document.get(name) is not None}
        return {
            "id": billed.response_id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": self.background,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": billed.served_model,
            "output": list(output),
            **_ECHOED,
            **told,
            "service_tier": "auto",
            "usage": None,
        }

    def _usage(self) -> dict[str, Any]:
        billed = self.call.billed
        reasoning = len(self.answer.thoughts)
        output = self.answer.output + reasoning
        details = {"cached_tokens": billed.cache_read}
        if billed.cache_write_5m:
            details["cache_write_tokens"] = billed.cache_write_5m
        return {
            "input_tokens": billed.input_total,
            "input_tokens_details": details,
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": billed.input_total + output,
        }

    # The items of the output

    def _items(self) -> list[dict[str, Any]]:
        items = [self._reasoning()] if self.answer.thoughts else []
        items += [self._search(number) for number in range(self.call.billed.web_search)]
        if self.answer.text:
            items.append(self._message("completed", [self._part("".join(self.answer.text))]))
        return items + [self._called(number, made) for number, made in enumerate(self.answer.calls)]

    def _name(self, kind: str, number: int = 0) -> str:
        return f"{kind}_sim{self.call.billed.id:020x}{number:02x}"

    def _reasoning(self) -> dict[str, Any]:
        return {"id": self._name("rs"), "type": "reasoning", "summary": []}

    def _search(self, number: int) -> dict[str, Any]:
        return {
            "id": self._name("ws", number),
            "type": "web_search_call",
            "status": "completed",
            "action": {"type": "search", "query": "tides"},
        }

    def _message(self, status: str, content: Sequence[Any]) -> dict[str, Any]:
        return {
            "id": self._name("msg"),
            "type": "message",
            "status": status,
            "content": list(content),
            "role": "assistant",
        }

    def _part(self, text: str) -> dict[str, Any]:
        if self.answer.refused:
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def _called(self, number: int, made: ToolCall) -> dict[str, Any]:
        return {
            "id": self._name("fc", number),
            "type": "function_call",
            "status": "completed",
            "arguments": "".join(made.arguments),
            "call_id": self._name("call", number),
            "name": made.name,
        }

    # The events

    def stream(self, after: int = -1, *, billed: bool = True) -> Stream:
        """The events with a number above `after`; a replay is billed no second time."""
        framing = SseFraming(crlf=self.call.behaviour.crlf)
        events = ((number, event) for number, event in enumerate(self._events()) if number > after)
        played = (event if billed else Event(event.data, event.name) for _, event in events)

        def failure() -> bytes:
            error = {"code": _LIMITED["code"], "message": _LIMITED["message"]}
            failed = self.response("failed") | {"error": error}
            events = [self._event("error", error=_LIMITED), self._event("response.failed", response=failed)]
            return b"".join(framing.frame(event) for event in events)

        return Stream(played, framing, failure, self.headers)

    def _event(
        self, name: str, /, *, output: int = 0, reasoning: int = 0, paced: bool = False, **fields: Any
    ) -> Event:
        document = {"type": name, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return Event(compact(document), name, output, reasoning, paced)

    def _events(self) -> Iterator[Event]:
        self._sequence = 0
        waiting = "queued" if self.background else "in_progress"
        yield self._event("response.created", response=self.response(waiting))
        if self.background:
            yield self._event("response.queued", response=self.response(waiting))
        yield self._event("response.in_progress", response=self.response("in_progress"))
        for place, item in enumerate(self._items()):
            yield from self._item_events(place, item)
        finished = self.finished()
        yield self._event(f"response.{finished['status']}", response=finished)

    def _item_events(self, place: int, item: Mapping[str, Any]) -> Iterator[Event]:
        match item["type"]:
            case "message":
                yield from self._message_events(place, item)
            case "function_call":
                made = self.answer.calls[place - self._before_calls()]
                yield from self._call_events(place, item, made)
            case _:
                # Hidden thoughts have been generated by the time their item is announced.
                thought = len(self.answer.thoughts) if item["type"] == "reasoning" else 0
                yield self._event(
                    "response.output_item.added", reasoning=thought, output_index=place, item=item
                )
                yield self._event("response.output_item.done", output_index=place, item=item)

    def _before_calls(self) -> int:
        return len(self._items()) - len(self.answer.calls)

    def _message_events(self, place: int, item: Mapping[str, Any]) -> Iterator[Event]:
        part = item["content"][0]
        at = {"item_id": item["id"], "output_index": place, "content_index": 0}
        kind = "refusal" if self.answer.refused else "output_text"
        key = "refusal" if self.answer.refused else "text"
        empty = self._message("in_progress", [])
        yield self._event("response.output_item.added", output_index=place, item=empty)
        yield self._event("response.content_part.added", **at, part=self._part(""))
        for text, tokens in self._grouped(self.answer.text):
            said = f"t{time.monotonic_ns()} " if self.call.behaviour.stamp else text
            yield self._delta(f"response.{kind}.delta", tokens, **at, delta=said)
        yield self._event(f"response.{kind}.done", **at, **{key: part[key]})
        yield self._event("response.content_part.done", **at, part=part)
        yield self._event("response.output_item.done", output_index=place, item=item)

    def _call_events(self, place: int, item: Mapping[str, Any], made: ToolCall) -> Iterator[Event]:
        at = {"item_id": item["id"], "output_index": place}
        empty = {**item, "status": "in_progress", "arguments": ""}
        named = made.tokens - len(made.arguments)
        yield self._event("response.output_item.added", output=named, output_index=place, item=empty)
        for text, tokens in self._grouped(made.arguments):
            yield self._delta("response.function_call_arguments.delta", tokens, **at, delta=text)
        arguments = item["arguments"]
        yield self._event("response.function_call_arguments.done", **at, arguments=arguments)
        yield self._event("response.output_item.done", output_index=place, item=item)

    def _delta(self, name: str, tokens: int, **fields: Any) -> Event:
        """A delta with padding against guessing words by length, unless that is not wanted."""
        options = self.document.get("stream_options") or {}
        if options.get("include_obfuscation") is not False:
            fields["obfuscation"] = _PADDING[tokens : tokens + 10 + self._sequence % 5]
        return self._event(name, output=tokens, paced=True, **fields)

    def _grouped(self, tokens: Sequence[str]) -> Iterator[tuple[str, int]]:
        size = self.call.behaviour.group or 1
        for start in range(0, len(tokens), size):
            group = tokens[start : start + size]
            yield "".join(group), len(group)
