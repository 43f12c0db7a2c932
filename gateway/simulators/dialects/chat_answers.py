"""Writes answers as chat completions in one body; `chat_chunks` writes them as a stream."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.simulators.answers import Answer, ToolCall
from gateway.simulators.behaviour import UsageReport
from gateway.simulators.delivery import Call
from gateway.simulators.dialects.chat_habits import FILTERS, PROMPT_FILTERS, Habits, chat_usage
from gateway.simulators.events import Body
from gateway.simulators.json_bytes import compact, readable
from gateway.simulators.reports import reported
from gateway.simulators.wire import Headers

__all__ = ["Reply"]


@dataclass(slots=True)
class Reply:
    """The answers of one call, ready to be written. `document` is the request."""

    call: Call
    document: Mapping[str, Any]
    answers: Sequence[Answer]
    habits: Habits
    headers: Headers = field(default_factory=list)

    def __post_init__(self) -> None:
        billed = self.call.billed
        billed.response_id = self.habits.id_form.format(billed.id)
        billed.stream = bool(self.document.get("stream"))

    def body(self) -> Body:
        """``chat.completion``."""
        billed, chosen = self.call.billed, self.call.behaviour
        document = self.envelope("chat.completion")
        document["choices"] = [self._choice(index, answer) for index, answer in enumerate(self.answers)]
        if chosen.usage is not UsageReport.NONE:
            document["usage"] = billed.reported = reported(self.usage(), chosen.usage)
        if self.habits.filters:
            document["prompt_filter_results"] = [PROMPT_FILTERS]
        return Body(
            readable(document) if self.habits.readable else compact(document),
            headers=self.headers,
            output=sum(answer.output for answer in self.answers),
            reasoning=sum(len(answer.thoughts) for answer in self.answers),
        )

    def envelope(self, kind: str) -> dict[str, Any]:
        """What stands at the head of a completion and of each of its chunks."""
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
        choice = {
            "index": index,
            "message": self._message(index, answer),
            "logprobs": self.logprobs(answer.text),
            "finish_reason": self.finish_reason(answer),
        }
        return choice | ({"content_filter_results": FILTERS} if self.habits.filters else {})

    def _message(self, index: int, answer: Answer) -> dict[str, Any]:
        text = "".join(answer.text)
        message: dict[str, Any] = {"role": "assistant", "content": None if answer.calls else text}
        if answer.refused:
            message |= {"content": None, "refusal": text}
        elif not self.habits.shows_thoughts:
            message |= {"refusal": None, "annotations": []}
        if answer.thoughts and self.habits.shows_thoughts:
            message["reasoning_content"] = "".join(answer.thoughts)
        if answer.calls:
            message["tool_calls"] = [
                self._tool_call(index, number, call) for number, call in enumerate(answer.calls)
            ]
        return message

    def _tool_call(self, index: int, number: int, call: ToolCall) -> dict[str, Any]:
        return {
            "id": self.call_id(index, number),
            "type": "function",
            "function": {"name": call.name, "arguments": "".join(call.arguments)},
        }

    def call_id(self, index: int, number: int) -> str:
        """The id of a tool call, another for each."""
        return self.habits.call_id_form.format(self.call.billed.id * 65_536 + index * 256 + number)

    def finish_reason(self, answer: Answer) -> str:
        """Why an answer stopped."""
        return self.call.behaviour.finish or answer.finish

    def usage(self) -> dict[str, Any]:
        """The usage object of the whole answer."""
        output = sum(answer.output for answer in self.answers)
        reasoning = sum(len(answer.thoughts) for answer in self.answers)
        return chat_usage(self.call.billed, output, reasoning, self.habits)

    def logprobs(self, tokens: Sequence[str]) -> dict[str, Any] | None:
        """How sure the model was of each token, if that was asked for."""
        if not self.document.get("logprobs"):
            return None
        top = int(self.document.get("top_logprobs") or 0)
        return {"content": [_logprob(token, top) for token in tokens], "refusal": None}


def _logprob(token: str, top: int) -> dict[str, Any]:
    shown = {"token": token, "logprob": -0.02, "bytes": list(token.encode("utf-8", "surrogatepass"))}
    return shown | {"top_logprobs": [shown][:top]}
