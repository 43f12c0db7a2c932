"""Composes what a simulated model answers, in no provider's words: thoughts, text, calls, why it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.simulators.behaviour import Behaviour
from gateway.simulators.bill import BilledCall
from gateway.simulators.schemas import sample
from gateway.simulators.tokens import pieces
from gateway.simulators.words import REFUSAL, answer_words, thought_words

__all__ = ["Answer", "Ask", "Tool", "ToolCall", "compose", "open_bill"]

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call: its name and the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a request asks for. `calls` says whether it allows, demands or rules out tool calls."""

    model: str
    prompt: str  # text of the last user message
    input_tokens: int
    cap: int | None = None
    choices: int = 1
    tools: tuple[Tool, ...] = ()
    calls: Literal["auto", "must", "never"] = "auto"
    parallel: bool = True
    users_turn: bool = True  # the last message is the user's, not a tool's result
    schema: Mapping[str, Any] | None = None
    reasoning: int = 0  # what the model would think unless told otherwise
    stops: tuple[str, ...] = ()  # texts at which the answer ends


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool; its arguments are JSON in tokens. The name is billed too."""

    name: str
    arguments: list[str]

    @property
    def tokens(self) -> int:
        """What it bills."""
        return len(pieces(self.name)) + len(self.arguments)


@dataclass(slots=True)
class Answer:
    """One choice: tokens of thought and of text, tool calls, and why it stopped."""

    thoughts: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    refused: bool = False
    stopped_at: str | None = None  # the stop sequence that ended it
    finish: Finish = "stop"

    @property
    def output(self) -> int:
        """Billed tokens without the thoughts."""
        return len(self.text) + sum(call.tokens for call in self.calls)


def compose(ask: Ask, chosen: Behaviour) -> list[Answer]:
    """One answer for each choice asked for, each within the cap unless told to ignore it."""
    return [_one(ask, chosen, chosen.seed + index) for index in range(ask.choices)]


def _one(ask: Ask, chosen: Behaviour, seed: int) -> Answer:
    room = _room(ask, chosen)
    wanted = ask.reasoning if chosen.reasoning is None else chosen.reasoning
    answer = Answer(thoughts=thought_words(ask.prompt, wanted if room is None else min(wanted, room)))
    if room is not None:
        room -= len(answer.thoughts)
    count = _calls_wanted(ask, chosen)
    if count:
        answer.calls, full = _within(_tool_calls(ask, count), room)
        answer.finish = "tool_calls" if full else "length"
        return answer
    answer.refused = chosen.refusal
    full_text, answer.stopped_at = _stopped(_text(ask, chosen, seed, room), ask.stops)
    answer.text = full_text if room is None else full_text[:room]
    answer.finish = "stop" if len(answer.text) == len(full_text) else "length"
    return answer


def _room(ask: Ask, chosen: Behaviour) -> int | None:
    """How many tokens may be generated; None without bound."""
    if ask.cap is None or chosen.ignore_cap:
        return None
    return ask.cap + chosen.over


def _calls_wanted(ask: Ask, chosen: Behaviour) -> int:
    if not ask.tools or ask.calls == "never" or chosen.refusal:
        return 0
    if ask.calls == "auto" and not ask.users_turn:
        return 0
    count = 1 if chosen.tools is None else chosen.tools
    return count if ask.parallel else min(count, 1)


def _tool_calls(ask: Ask, count: int) -> list[ToolCall]:
    called = [ask.tools[index % len(ask.tools)] for index in range(count)]
    return [
        ToolCall(tool.name, pieces(json.dumps(sample(tool.schema) or {}, separators=(",", ":"))))
        for tool in called
    ]


def _within(calls: list[ToolCall], room: int | None) -> tuple[list[ToolCall], bool]:
    """As many of the calls as fit, the last perhaps cut short; whether all fitted whole."""
    if room is None:
        return calls, True
    kept: list[ToolCall] = []
    for call in calls:
        name = call.tokens - len(call.arguments)
        if room < name:
            return kept, False
        kept.append(ToolCall(call.name, call.arguments[: room - name]))
        if kept[-1].tokens < call.tokens:
            return kept, False
        room -= call.tokens
    return kept, True


def _text(ask: Ask, chosen: Behaviour, seed: int, room: int | None) -> list[str]:
    """The whole text, or one token more than there is room for."""
    if chosen.refusal:
        return pieces(REFUSAL)
    if chosen.say is not None:
        return pieces(chosen.say)
    if ask.schema is not None:
        return pieces(json.dumps(sample(ask.schema), separators=(",", ":"), ensure_ascii=False))
    words = chosen.words
    if words is not None and room is not None:
        words = min(words, room + 1)
    return answer_words(ask.prompt, seed, words)


def _stopped(tokens: list[str], stops: tuple[str, ...]) -> tuple[list[str], str | None]:
    """The tokens before the first stop sequence, and which it was."""
    text = "".join(tokens)
    met = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    if not met:
        return tokens, None
    place, stop = min(met)
    return pieces(text[:place]), stop


def open_bill(billed: BilledCall, ask: Ask, chosen: Behaviour, model: str) -> None:
    """Bill the input of an accepted call. Caches named by the behaviour are part of the input."""
    special = chosen.cached + chosen.cache_write + chosen.cache_write_1h
    total = max(ask.input_tokens if chosen.prompt is None else chosen.prompt, special)
    billed.cap = ask.cap
    billed.served_model = chosen.served or model
    billed.input = total - special
    billed.cache_read = chosen.cached
    billed.cache_write_5m = chosen.cache_write
    billed.cache_write_1h = chosen.cache_write_1h
    billed.web_search = chosen.web_search
