"""What the gateway changes in a Messages request: the model's name and the output caps.

Few places of the client's own bytes, and no other: `max_tokens`, the caps of fallbacks, and the thinking
budget, which has to stay below `max_tokens` and is part of it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.formats.anthropic_tools import CAP
from gateway.formats.base import Intent
from gateway.formats.bodies import refuse_repeated
from gateway.formats.splice import Edit, Member, apply, locate

__all__ = ["Fallback", "Thinking", "places_of", "upstream_body"]

_MODEL: Final = "model"
_CAP: Final = "max_tokens"
_BUDGET: Final = "budget_tokens"
# The least that `thinking` may be given.
_BUDGET_MIN: Final = 1_024

_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Thinking(msgspec.Struct, gc=False):
    """How many tokens the model may think, where the request says so."""

    budget_tokens: CAP | None = None


class Fallback(msgspec.Struct, gc=False):
    """A model that takes over where the one before it declines."""

    model: str
    max_tokens: CAP | None = None
    speed: str | None = None


def places_of(body: bytes, members: list[Member], thinking: Thinking | None) -> tuple[Member, ...]:
    """Where stands what may have to be replaced; the values are known to be numbers or null."""
    places = [member for member in members if member.key in (_MODEL, _CAP)]
    for outer in members:
        if outer.key == "thinking" and thinking is not None and thinking.budget_tokens is not None:
            places += _within(body, outer.start, outer.end, (_BUDGET,), "thinking.")
        elif outer.key == "fallbacks" and body.startswith(b"[", outer.start):
            at = outer.start
            for place, item in enumerate(_ITEMS.decode(body[outer.start : outer.end])):
                at = body.index(bytes(item), at)
                end = at + len(bytes(item))
                places += _within(body, at, end, (_CAP,), f"fallbacks[{place}].")
                at = end
    return tuple(places)


def _within(body: bytes, start: int, end: int, keys: tuple[str, ...], where: str) -> list[Member]:
    inner = locate(body[start:end])
    refuse_repeated(inner, keys, where)
    return [each.moved(start) for each in inner if each.key in keys]


def upstream_body(body: bytes, intent: Intent, model: str, output_cap: int) -> bytes:
    """See `Format.upstream_body`; the places are those that `places_of` found."""
    edits: list[Edit] = []
    for place in intent.places or ():
        if place.key == _MODEL:
            if model != intent.model:
                edits.append((place.start, place.end, msgspec.json.encode(model)))
        elif not body.startswith(b"null", place.start):
            given = int(body[place.start : place.end])
            most = output_cap if place.key == _CAP else _budget_below(output_cap, given)
            if given > most:
                edits.append((place.start, place.end, b"%d" % most))
    return apply(body, edits) if edits else body


def _budget_below(output_cap: int, given: int) -> int:
    """A budget that the cap has room for; where it has none for any, the provider has to say so."""
    return output_cap - 1 if output_cap > _BUDGET_MIN else given
