"""Reads what a Responses answer cost: its usage object, and what the tools that OpenAI ran for it cost.

The usage is that of the chat dialect under other names (openai-python, `types/responses/response_usage.py`).
Uses of tools are not in it: they are items of the output, and newer answers count the searches themselves
(`tool_usage`). Images are made by a model of their own, whose tokens are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.domain.usage import Usage
from gateway.formats.base import Report
from gateway.formats.openai_usage import read_usage as read_chat_usage
from gateway.formats.responses_tools import IMAGE_MODEL, UNITS

__all__ = ["Used", "read_usage"]

_NAMES: Final = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}
_BACK: Final = {name: own for own, name in _NAMES.items()}
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# No answer has that many of anything.
_COUNT_MAX: Final = 10**6


class _Search(msgspec.Struct, gc=False):
    num_requests: int | None = None


class _Images(msgspec.Struct, gc=False):
    input_tokens: int = 0
    input_tokens_details: dict[str, int] | None = None
    output_tokens: int = 0
    output_tokens_details: dict[str, int] | None = None


class _ToolUsage(msgspec.Struct, gc=False):
    web_search: _Search | None = None
    image_gen: _Images | None = None


class _Place(msgspec.Struct, gc=False):
    container_id: str | None = None
    memory_limit: str | None = None


class _Tool(msgspec.Struct, gc=False):
    type: str = ""
    model: str | None = None
    container: str | _Place | None = None
    environment: _Place | None = None


class _Action(msgspec.Struct, gc=False):
    type: str | None = None


class _Item(msgspec.Struct, gc=False):
    type: str = ""
    id: str | None = None
    action: _Action | None = None
    container_id: str | None = None
    environment: _Place | None = None


_TOOL_USAGE: Final = msgspec.json.Decoder(_ToolUsage)
_TOOLS: Final = msgspec.json.Decoder(list[_Tool])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ITEM: Final = msgspec.json.Decoder(_Item)


class Used:
    """The tools that OpenAI ran for one answer, added up item by item."""

    def __init__(self) -> None:
        self.containers: set[str] = set()
        self._seen: set[str] = set()
        self._uses: dict[str, int] = {}

    def take_all(self, output: msgspec.Raw) -> None:
        """Take in the output of an answer."""
        try:
            items = _ITEMS.decode(output)
        except _DECODE_ERRORS:
            return
        for item in items:
            self.take(item)

    def take(self, raw: msgspec.Raw) -> None:
        """Take in an item that is done; the same one again changes nothing."""
        try:
            item = _ITEM.decode(raw)
        except _DECODE_ERRORS:
            return
        if item.id is not None:
            if item.id in self._seen:
                return
            self._seen.add(item.id)
        where = item.container_id or (item.environment.container_id if item.environment is not None else None)
        if where is not None:
            self.containers.add(where)
        # A search opens pages and looks for things in them; only searching costs a fee.
        if item.type == "web_search_call" and (item.action is None or item.action.type in (None, "search")):
            self._count("web_search")
        elif item.type == "file_search_call":
            self._count("file_search")
        elif item.type == "image_generation_call":
            self._count("image_generation")

    def _count(self, meter: str) -> None:
        self._uses[meter] = self._uses.get(meter, 0) + 1

    def fees(self, tools: msgspec.Raw, tool_usage: msgspec.Raw) -> dict[str, int]:
        """The uses that cost a fee. `tools` and `tool_usage` are the answer's own members."""
        fees = {meter: uses for meter, uses in self._uses.items() if meter != "image_generation"}
        told = _decoded(_TOOL_USAGE, tool_usage)
        if told is not None and told.web_search is not None and told.web_search.num_requests is not None:
            fees["web_search"] = min(max(told.web_search.num_requests, 0), _COUNT_MAX)
        if self.containers:
            fees["code_interpreter"] = len(self.containers) * _gigabytes(_decoded(_TOOLS, tools) or ())
        return {meter: uses for meter, uses in fees.items() if uses}

    def images(
        self, tools: msgspec.Raw, tool_usage: msgspec.Raw
    ) -> tuple[tuple[tuple[str, Usage], ...], tuple[str, ...]]:
        """What the model of images consumed, by its name; and what is to be noted where that is not told."""
        told = _decoded(_TOOL_USAGE, tool_usage)
        used = _image_meters(told.image_gen) if told is not None and told.image_gen is not None else {}
        if not used:
            return (), ("tokens of images",) if "image_generation" in self._uses else ()
        makers = [tool.model for tool in _decoded(_TOOLS, tools) or () if tool.type == "image_generation"]
        return (((makers and makers[0]) or IMAGE_MODEL, used),), ()


def read_usage(
    raw: bytes,
    *,
    has_output: Callable[[], bool],
    model: str | None,
    service_tier: str | None,
    used: Used,
    tools: msgspec.Raw,
    tool_usage: msgspec.Raw,
) -> Report | None:
    """The report of one usage object, given as its verbatim JSON; None where it tells nothing."""
    report = read_chat_usage(
        _renamed(raw),
        has_output=has_output,
        model=model,
        service_tier=service_tier,
        fees=used.fees(tools, tool_usage),
    )
    if report is None:
        return None
    others, notes = used.images(tools, tool_usage)
    unknown = (*(_in_own_words(each) for each in report.unknown), *notes)
    return msgspec.structs.replace(report, raw=raw, unknown=unknown, others=others)


def _renamed(raw: bytes) -> bytes:
    """The same usage in the chat dialect's names."""
    try:
        told = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except _DECODE_ERRORS:
        return raw
    return msgspec.json.encode({_NAMES.get(name, name): value for name, value in told.items()})


def _in_own_words(note: str) -> str:
    for theirs, own in _BACK.items():
        note = note.replace(theirs, own)
    return note


def _gigabytes(tools: Iterable[_Tool]) -> int:
    """The memory of a container: that of the largest that the answer says was asked for."""
    sizes = [1]
    for tool in tools:
        for place in (tool.container, tool.environment):
            if isinstance(place, _Place) and place.memory_limit is not None:
                sizes.append(UNITS.get(place.memory_limit, max(UNITS.values())))
    return max(sizes)


def _image_meters(told: _Images) -> dict[str, int]:
    ins, outs = told.input_tokens_details or {}, told.output_tokens_details or {}
    seen = min(max(ins.get("image_tokens", 0), 0), max(told.input_tokens, 0))
    # What a model of images writes is images, where nothing else is said.
    written = min(max(outs.get("text_tokens", 0), 0), max(told.output_tokens, 0))
    meters: Mapping[str, int] = {
        "input": told.input_tokens - seen,
        "image_input": seen,
        "output": written,
        "image_output": told.output_tokens - written,
    }
    return {meter: quantity for meter, quantity in meters.items() if quantity > 0}


def _decoded(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw) -> Any:
    try:
        return decoder.decode(raw) if bytes(raw) not in (b"", b"null") else None
    except _DECODE_ERRORS:
        return None
