"""Gemini: generateContent, its two ways of streaming, the free count of tokens, and embeddings.

Every event of a stream carries the usage so far. Server-sent events are framed with CRLF and nothing ends
them but the end of the body; without ``alt=sse`` the stream is one JSON array.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.simulators.answers import Answer
from gateway.simulators.behaviour import Fault, UsageReport
from gateway.simulators.delivery import Call
from gateway.simulators.dialects.gemini_checks import contents_tokens, read_ask, read_document
from gateway.simulators.dialects.gemini_embeddings import embed
from gateway.simulators.dialects.gemini_errors import (
    bad_key,
    gemini_error,
    invalid,
    no_key,
    no_model,
    told_status,
)
from gateway.simulators.events import ArrayFraming, Body, Event, Framing, SseFraming, Stream
from gateway.simulators.exchange import Rejection, Request, accept
from gateway.simulators.json_bytes import compact, readable
from gateway.simulators.models import Model, find_model
from gateway.simulators.reports import reported
from gateway.simulators.wire import Headers

__all__ = ["act"]

_JSON: Final = b"application/json; charset=UTF-8"
_STOPS: Final = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_GROUP: Final = 8
_SIGNATURE: Final = "c2ltdWxhdGVk"
_OVERLOADED: Final = gemini_error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")


def act(request: Request, call: Call) -> Body | Stream:
    """``POST /v1beta/models/{model}:{verb}``. A refused stream is refused in the stream's content type."""
    name, _, verb = request.params["action"].removeprefix("models/").rpartition(":")
    try:
        _check_key(request, call)
        match verb:
            case "generateContent" | "streamGenerateContent":
                return _generate(request, call, name, verb)
            case "countTokens":
                return _count(request, call, name)
            case "embedContent" | "batchEmbedContents":
                return embed(request, call, name, verb)
            case _:
                raise no_model(name, verb)
    except Rejection as rejection:
        raise _in_kind(rejection, request, verb) from None


def _in_kind(rejection: Rejection, request: Request, verb: str) -> Rejection:
    if verb == "streamGenerateContent":
        if request.query.get("alt") == "sse":
            rejection.content_type = b"text/event-stream"
        else:
            rejection.document = [rejection.document]
    return rejection


def _check_key(request: Request, call: Call) -> None:
    key = request.headers.get("x-goog-api-key") or request.query.get("key") or request.bearer()
    if key is None:
        raise no_key()
    known = call.stage.keys.get("gemini")
    if known is not None and key not in known:
        raise bad_key()


def _model(name: str, verb: str) -> Model:
    model = find_model("gemini", name)
    if model is None or model.kind != "chat":
        raise no_model(name, verb)
    return model


def _generate(request: Request, call: Call, name: str, verb: str) -> Body | Stream:
    model = _model(name, verb)
    document = read_document(request.body)
    answers = accept(call, read_ask(document, model, name), model.served, told_status)
    billed = call.billed
    billed.stream = verb == "streamGenerateContent"
    billed.response_id = f"sim{billed.id:020x}"
    asked = str(document.get("serviceTier") or "standard").lower()
    billed.tier = call.behaviour.tier or asked.removeprefix("service_tier_").replace(
        "unspecified", "standard"
    )
    thinking = (document.get("generationConfig") or {}).get("thinkingConfig") or {}
    reply = _Reply(call, answers, shows_thoughts=bool(thinking.get("includeThoughts")))
    if call.behaviour.fault is Fault.PROMPT_BLOCKED:
        billed.forget_input()
        reply.answers = []
    return reply.stream(sse=request.query.get("alt") == "sse") if billed.stream else reply.body()


def _count(request: Request, call: Call, name: str) -> Body:
    """``countTokens``: billed at nothing."""
    _model(name, "countTokens")
    document = read_document(request.body)
    counted = document.get("generateContentRequest") or document
    if not counted.get("contents"):
        raise invalid("* CountTokensRequest.contents: contents is not specified\n")
    call.billed.model = name
    tokens = max(contents_tokens(counted["contents"]), 1)
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    return Body(readable({"totalTokens": tokens, "promptTokensDetails": details}), content_type=_JSON)


@dataclass(slots=True)
class _Reply:
    """The candidates of one call, ready to be written; none when the prompt was blocked."""

    call: Call
    answers: Sequence[Answer]
    shows_thoughts: bool

    def body(self) -> Body:
        """One response with every candidate."""
        candidates = [
            self._candidate(index, self._parts(answer), self._stop(answer))
            for index, answer in enumerate(self.answers)
        ]
        output = sum(answer.output for answer in self.answers)
        thoughts = sum(len(answer.thoughts) for answer in self.answers)
        response = self._response(candidates, output, thoughts, last=True)
        return Body(
            readable(response), headers=self._headers(), content_type=_JSON, output=output, reasoning=thoughts
        )

    def _headers(self) -> Headers:
        tier = (self.call.billed.tier or "standard").encode()
        return [(b"x-gemini-service-tier", tier), (b"server-timing", b"gfet4t7; dur=12")]

    def _response(
        self, candidates: Sequence[Any], output: int, thoughts: int, *, last: bool = False
    ) -> dict[str, Any]:
        """A response, whole or one of a stream, with the usage so far."""
        response: dict[str, Any] = (
            {"candidates": candidates} if self.answers else {"promptFeedback": _BLOCKED}
        )
        chosen = self.call.behaviour
        if chosen.usage is not UsageReport.NONE and self.answers:
            usage = self._usage(output, thoughts)
            if last and chosen.fault is Fault.SHRINKING_USAGE:
                usage["promptTokenCount"] -= 1
                usage.pop("candidatesTokenCount", None)
                usage["totalTokenCount"] = usage["promptTokenCount"] + thoughts
            response["usageMetadata"] = self.call.billed.reported = reported(usage, chosen.usage)
        served = {"modelVersion": self.call.billed.served_model, "responseId": self.call.billed.response_id}
        return response | served

    def _usage(self, output: int, thoughts: int) -> dict[str, Any]:
        """Counts of zero are left out (recorded)."""
        billed = self.call.billed
        prompt = billed.input_total
        counts = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": output,
            "totalTokenCount": prompt + output + thoughts,
            "cachedContentTokenCount": billed.cache_read,
        }
        usage: dict[str, Any] = {name: tokens for name, tokens in counts.items() if tokens}
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt}]
        if billed.cache_read:
            usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": billed.cache_read}]
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        return usage | {"serviceTier": billed.tier}

    def _candidate(self, index: int, parts: Sequence[Any], stop: str | None) -> dict[str, Any]:
        content: dict[str, Any] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        finish = {} if stop is None else {"finishReason": stop}
        called = any("functionCall" in part for part in parts)
        message = {"finishMessage": "Model generated function call(s)."} if called and stop else {}
        return {"content": content, **finish, "index": index, **message}

    def _stop(self, answer: Answer) -> str:
        if self.call.behaviour.finish is not None:
            return self.call.behaviour.finish
        return "SAFETY" if answer.refused else _STOPS[answer.finish]

    def _parts(self, answer: Answer) -> list[dict[str, Any]]:
        parts = self._thought_parts(answer)
        if answer.text:
            parts.append({"text": "".join(answer.text)})
        return parts + self._call_parts(answer)

    def _thought_parts(self, answer: Answer) -> list[dict[str, Any]]:
        shown = answer.thoughts and self.shows_thoughts
        return [{"text": "".join(answer.thoughts), "thought": True}] if shown else []

    def _call_parts(self, answer: Answer) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for made in answer.calls:
            called: dict[str, Any] = {"name": made.name, "args": _parsed(made.arguments)}
            parts.append({"functionCall": called})
        if parts:
            parts[0]["thoughtSignature"] = _SIGNATURE
        return parts

    def stream(self, *, sse: bool) -> Stream:
        """Responses one after the other; nothing says which is the last."""
        framing: Framing = SseFraming(crlf=True, content_type=b"text/event-stream") if sse else ArrayFraming()
        # Written bare even among server-sent events (recorded); inside an array it is one more element.
        failure = (b"" if sse else b",\n") + _OVERLOADED.body().data + (b"\r\n" if sse else b"\n]")
        return Stream(self._events(indent=not sse), framing, lambda: failure, self._headers())

    def _events(self, *, indent: bool) -> Iterator[Event]:
        def write(response: Any) -> bytes:
            # An event is one line, with blanks after colons.
            return readable(response) if indent else compact(response, ": ")

        if not self.answers:
            yield Event(write(self._response([], 0, 0)))
            return
        turns = itertools.zip_longest(
            *(self._steps(index, answer) for index, answer in enumerate(self.answers))
        )
        steps = [step for turn in turns for step in turn if step is not None]
        output = thoughts = 0
        for number, step in enumerate(steps, 1):
            output, thoughts = output + step.output, thoughts + step.thoughts
            candidate = self._candidate(step.index, self._stamped(step.parts), step.stop)
            response = self._response([candidate], output, thoughts, last=number == len(steps))
            yield Event(write(response), output=step.output, reasoning=step.thoughts, paced=True)

    def _steps(self, index: int, answer: Answer) -> list[_Step]:
        """The events of one candidate; thoughts that are not shown come with the first of them."""
        steps = [_Step(index, [part], thoughts=len(answer.thoughts)) for part in self._thought_parts(answer)]
        size = self.call.behaviour.group or _GROUP
        for start in range(0, len(answer.text), size):
            group = answer.text[start : start + size]
            steps.append(_Step(index, [{"text": "".join(group)}], output=len(group)))
        for made, part in zip(answer.calls, self._call_parts(answer), strict=True):
            steps.append(_Step(index, [part], output=made.tokens))
        steps = steps or [_Step(index, [])]
        if not self.shows_thoughts:
            steps[0].thoughts = len(answer.thoughts)
        if self.call.behaviour.fault is Fault.TWO_STOPS:
            steps[len(steps) // 2].stop = "STOP"
        steps[-1].stop = self._stop(answer)
        return steps

    def _stamped(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        stamped = self.call.behaviour.stamp and any("text" in part for part in parts)
        return [{"text": f"t{time.monotonic_ns()} "}] if stamped else parts


@dataclass(slots=True)
class _Step:
    """One event of a candidate: its parts, and the tokens generated to make them."""

    index: int
    parts: list[dict[str, Any]]
    output: int = 0
    thoughts: int = 0
    stop: str | None = None


_BLOCKED: Final = {
    "blockReason": "SAFETY",
    "safetyRatings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "HIGH"}],
}


def _parsed(arguments: Sequence[str]) -> Any:
    """The arguments of a call, or none when the cap cut them short."""
    try:
        return json.loads("".join(arguments))
    except ValueError:
        return {}
