"""What one simulated call is told to do, and where: in control defaults, the model name and the prompt.

A gateway under test forwards only the headers it knows, so nothing here travels in a header. A directive is
a part of the last user message, ``[[sim: words=40 pace_ms=20 fault=cut_midstream after=10]]``; values with
spaces are quoted, ``say="two words"``. A model name may end in the knobs ``-d<ms>`` (delay), ``-n<tokens>``,
``-i<us>`` (pace), ``-e<status>``, ``-t`` (stamp), ``-x`` (cut half way): ``gpt-4o-mini-n100-i5000``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

__all__ = ["Behaviour", "BehaviourError", "Fault", "UsageReport", "directives_in", "split_knobs"]

_DIRECTIVE: Final = re.compile(r"\[\[sim:(.*?)\]\]", re.DOTALL)
_KNOBS: Final = re.compile(r"(?:-[dnie]\d+|-[tx](?=-|$))+$")
_KNOB: Final = re.compile(r"-([dnietx])(\d*)")


class BehaviourError(ValueError):
    """A directive that says something the simulator does not know; answered as 400 so that a typo is seen."""


class Fault(StrEnum):
    """How a call goes wrong. ``after`` counts the content events before it does."""

    REFUSE = "refuse"  # TCP reset instead of an answer
    HANG_UP = "hang_up"  # clean close instead of an answer
    STALL_HEADERS = "stall_headers"  # no answer until the client leaves
    SLOW_HEADERS = "slow_headers"  # the header block a byte at a time, `pace_ms` apart
    STALL = "stall"  # silence after `after` events, until the client leaves
    CUT_MIDSTREAM = "cut_midstream"  # TCP reset after `after` events
    CLOSE_MIDSTREAM = "close_midstream"  # connection closed after `after` events, HTTP body unfinished
    END_MIDSTREAM = "end_midstream"  # HTTP body ended properly after `after` events, dialect's end missing
    CUT_JSON = "cut_json"  # like CLOSE_MIDSTREAM, half way through the next event's JSON
    HALF_JSON = "half_json"  # like END_MIDSTREAM, half way through the next event's JSON
    ERROR_MIDSTREAM = "error_midstream"  # the dialect's error event after `after` events, then the end
    HTML = "html"  # 200 with a proxy's HTML page
    WRONG_TYPES = "wrong_types"  # 200 whose JSON has the wrong types everywhere
    BIG_LINE = "big_line"  # one event of `size` bytes (10 MB) on one line
    BAD_UTF8 = "bad_utf8"  # bytes inside a JSON string that are not UTF-8
    DOUBLE_DONE = "double_done"  # the terminator twice
    NO_DONE = "no_done"  # everything but the terminator
    TWO_STOPS = "two_stops"  # Gemini: a first STOP that is not the end
    SHRINKING_USAGE = "shrinking_usage"  # Gemini: usage whose counts fall in the last event
    PROMPT_BLOCKED = "prompt_blocked"  # Azure and Gemini: the content filter refuses the prompt


class UsageReport(StrEnum):
    """How usage is reported. The bill is the truth whatever the report says."""

    NORMAL = "normal"
    NONE = "none"  # the field is missing
    NULL = "null"
    ZERO = "zero"  # every count is 0
    WRONG = "wrong"  # counts are text
    OUTPUT_ONLY = "output_only"  # Anthropic before 2025: message_delta without input counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Everything that can be chosen for a call. Counts are tokens unless said otherwise."""

    words: int | None = None  # length of the answer; None: 30 to 60 chosen by the prompt
    say: str | None = None  # the answer itself
    seed: int = 0  # another answer to the same prompt
    pace_ms: float = 0.0  # between content events; not streaming, between tokens
    delay_ms: float = 0.0  # before the response headers
    group: int | None = None  # tokens per content event; None: as the provider does
    reasoning: int | None = None  # hidden tokens per choice; None: as the model does
    prompt: int | None = None  # billed input, instead of the count
    cached: int = 0  # of the input, read from a cache; raises the input if it is shorter
    cache_write: int = 0  # of the input, written to a cache for 5 minutes
    cache_write_1h: int = 0
    web_search: int = 0  # searches of the provider's own tool
    tools: int | None = None  # tool calls when tools are offered and the turn is the user's; None: one
    refusal: bool = False
    usage: UsageReport = UsageReport.NORMAL
    ignore_cap: bool = False
    over: int = 0  # tokens generated past the cap
    tier: str | None = None  # service tier served
    finish: str | None = None  # reason to stop, in the dialect's words, e.g. content_filter
    served: str | None = None  # model named in the answer
    fault: Fault | None = None
    after: int = 1  # content events before `fault` or `hold`; of a body not streamed, tokens before `hold`
    status: int | None = None  # answer with this error
    error: str | None = None  # which of the provider's errors of that status, e.g. insufficient_quota
    retry_after: float | None = None  # seconds, in the provider's way of saying it
    size: int = 10_000_000  # bytes of a big line
    hold: str | None = None  # wait at `after` content events until this name is released
    hold_headers: str | None = None  # wait before the response headers
    chunk: int | None = None  # bytes per write to the socket
    crlf: bool = False
    comments: int = 0  # a keep-alive comment before every Nth event
    blank: int = 0  # blank lines before the body
    gzip: bool = False
    close: bool = False  # the connection is closed after the answer, and the answer says so
    stamp: bool = False  # each content event carries the sending time, CLOCK_MONOTONIC ns
    times: int | None = None  # `fault` and `status` apply only to the first so many calls of this directive
    only: str | None = None  # `fault` and `status` apply only to this provider or model

    def with_values(self, values: Mapping[str, Any]) -> Behaviour:
        """The same with these fields set, from text too. Raises BehaviourError for what it does not know."""
        return replace(self, **{name: _convert(name, value) for name, value in values.items()})

    def without_failure(self) -> Behaviour:
        """The same call going well."""
        return replace(self, fault=None, status=None)


_TYPES: Final = {field.name: str(field.type) for field in fields(Behaviour)}


def _convert(name: str, value: Any) -> Any:
    kind = _TYPES.get(name)
    if kind is None:
        raise BehaviourError(f"unknown directive {name!r}; known: {', '.join(sorted(_TYPES))}")
    if value is None:
        return None
    try:
        return _of_kind(kind.removesuffix(" | None"), value)
    except ValueError as error:
        raise BehaviourError(f"directive {name}={value!r}: {error}") from error


def _of_kind(kind: str, value: Any) -> Any:
    match kind:
        case "bool":
            return str(value).lower() in ("1", "true", "yes")
        case "int":
            return int(value)
        case "float":
            return float(value)
        case "Fault":
            return Fault(str(value))
        case "UsageReport":
            return UsageReport(str(value))
        case _:
            return str(value)


def directives_in(text: str) -> dict[str, str]:
    """The ``key=value`` pairs of every ``[[sim: ...]]`` in a text; a key alone means 1, the last one wins."""
    found: dict[str, str] = {}
    for inner in _DIRECTIVE.findall(text):
        try:
            words = shlex.split(inner)
        except ValueError as error:
            raise BehaviourError(f"[[sim:{inner}]]: {error}") from error
        for word in words:
            key, _, value = word.partition("=")
            found[key] = value or "1"
    return found


def split_knobs(model: str) -> tuple[str, dict[str, Any]]:
    """A model name without its knobs, and what the knobs say.

    >>> split_knobs("gpt-4o-mini-d20-n100-i5000")
    ('gpt-4o-mini', {'delay_ms': 20, 'words': 100, 'pace_ms': 5.0})
    """
    tail = _KNOBS.search(model)
    if tail is None:
        return model, {}
    values: dict[str, Any] = {}
    for letter, number in _KNOB.findall(tail.group()):
        values.update(_knob(letter, int(number or 0)))
    if "fault" in values:
        # The rig's mock cuts half way through its tokens.
        values["after"] = values.get("words", 100) // 2
    return model[: tail.start()], values


def _knob(letter: str, number: int) -> dict[str, Any]:
    match letter:
        case "d":
            return {"delay_ms": number}
        case "n":
            return {"words": number}
        case "i":
            return {"pace_ms": number / 1000}
        case "e":
            return {"status": number}
        case "t":
            return {"stamp": True}
        case _:
            return {"fault": Fault.CUT_MIDSTREAM}
