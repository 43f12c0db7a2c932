"""What the gateway changes in a Responses request: the model's name, the output cap, the cap on tool calls.

Three places of the client's own bytes, and no other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.formats.base import Intent
from gateway.formats.responses_tools import TOOL_CALLS_MAX, Tooling
from gateway.formats.splice import Edit, Member, apply, insert_first

__all__ = ["places_of", "upstream_body"]

_MODEL: Final = "model"
_CAP: Final = "max_output_tokens"
_CALLS: Final = "max_tool_calls"


def places_of(body: bytes, members: list[Member], tooling: Tooling) -> tuple[Member, ...]:
    """Where stands what may have to be replaced; of no length: where it has to be put.

    Tools that the provider runs are bounded by the gateway where the request does not bound them.
    """
    places = [member for member in members if member.key in (_MODEL, _CAP)]
    if tooling.runs:
        given = [member for member in members if member.key == _CALLS]
        places += given or [Member(_CALLS, 0, 0, 0, 0)]
    return tuple(places)


def upstream_body(body: bytes, intent: Intent, model: str, output_cap: int) -> bytes:
    """See `Format.upstream_body`; the places are those that `places_of` found."""
    edits: list[Edit] = []
    front: list[bytes] = []
    found = {member.key: member for member in intent.places or ()}
    if model != intent.model:
        place = found[_MODEL]
        edits.append((place.start, place.end, msgspec.json.encode(model)))
    if intent.output_cap is None or intent.output_cap > output_cap:
        _put(body, _CAP, found.get(_CAP), output_cap, edits, front)
    calls = found.get(_CALLS)
    if calls is not None and (not calls.end or body.startswith(b"null", calls.start)):
        _put(body, _CALLS, calls, TOOL_CALLS_MAX, edits, front)
    if front:
        edits.append(insert_first(body.index(b"{"), b",".join(front)))
    return apply(body, edits) if edits else body


def _put(
    body: bytes, key: str, place: Member | None, number: int, edits: list[Edit], front: list[bytes]
) -> None:
    if place is None or not place.end:
        front.append(b'"%b":%d' % (key.encode(), number))
    else:
        edits.append((place.start, place.end, b"%d" % number))
