"""What the gateway changes in an OpenAI-shaped request: the model's name, the output cap, the wish for usage.

Three places of the client's own bytes, and no other.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gateway.formats.base import Intent
from gateway.formats.bodies import refuse_repeated
from gateway.formats.splice import Edit, Member, apply, insert_first, locate

__all__ = ["name_model", "places_of", "upstream_body"]

_CAPS: Final = ("max_completion_tokens", "max_tokens")
_SPLICED: Final = ("model", "stream_options")
_INCLUDE_USAGE: Final = "include_usage"
_CAP_KEYS: Final = {key: b'"%b"' % key.encode() for key in _CAPS}
_STREAM_OPTIONS: Final = b'"stream_options":{"include_usage":true}'
# Reasoning models refuse `max_tokens` ("Use 'max_completion_tokens' instead"): o-series and gpt-5 on.
_REFUSES_MAX_TOKENS: Final = re.compile(r"(?:o\d|gpt-[5-9])")


def places_of(body: bytes, members: list[Member], caps: tuple[str, ...] = _CAPS) -> tuple[Member, ...]:
    """Where stands what may have to be replaced, `include_usage` inside `stream_options` as well.

    `caps` are the endpoint's names for the output cap; their values are known to be whole numbers or null.
    """
    places = [member for member in members if member.key in caps or member.key in _SPLICED]
    for outer in places:
        if outer.key == "stream_options" and body.startswith(b"{", outer.start):
            inner = locate(body[outer.start : outer.end])
            refuse_repeated(inner, (_INCLUDE_USAGE,), "stream_options.")
            places += [each.moved(outer.start) for each in inner if each.key == _INCLUDE_USAGE]
            break
    return tuple(places)


def upstream_body(body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int) -> bytes:
    """See `Format.upstream_body`; the places are those that `places_of` found."""
    if intent.places is None:
        plain = _without_looking(body, intent, model, cap_field, output_cap)
        if plain is not None:
            return plain
    found = places_of(body, locate(body)) if intent.places is None else intent.places
    places = {member.key: member for member in found}
    edits: list[Edit] = []
    front: list[bytes] = []
    if model != intent.model:
        edits.append((places["model"].start, places["model"].end, msgspec.json.encode(model)))
    _cap(body, places, model, cap_field, output_cap, edits, front)
    if intent.stream and not intent.wants_usage:
        _ask_usage(body, places, edits, front)
    if front:
        edits.append(insert_first(body.index(b"{"), b",".join(front)))
    return apply(body, edits) if edits else body


def name_model(body: bytes, intent: Intent, model: str) -> bytes:
    """The body with the model's name alone changed, for endpoints whose output nothing caps."""
    if model == intent.model:
        return body
    edits = [(each.start, each.end, msgspec.json.encode(model)) for each in intent.places or ()]
    return apply(body, edits)


def _without_looking(
    body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
) -> bytes | None:
    """The body where all there is to do is nothing, or to add members in front; None where it is more."""
    if model != intent.model:
        return None
    front = []
    if intent.output_cap is None:
        if any(body.rfind(key) >= 0 for key in _CAP_KEYS.values()):
            return None  # it stands there as null
        front.append(b'"%b":%d' % (cap_field.encode(), output_cap))
    elif intent.output_cap != output_cap:
        return None
    else:
        given = [key for key in _CAPS if body.rfind(_CAP_KEYS[key]) >= 0]
        if len(given) != 1 or (given[0] != cap_field and _must_move(cap_field, model)):
            return None
    if intent.stream and not intent.wants_usage:
        if body.rfind(b'"stream_options"') >= 0:
            return None
        front.append(_STREAM_OPTIONS)
    if not front:
        return body
    at = body.index(b"{") + 1
    return b"%b%b,%b" % (body[:at], b",".join(front), body[at:])


def _cap(
    body: bytes,
    places: dict[str, Member],
    model: str,
    cap_field: str,
    output_cap: int,
    edits: list[Edit],
    front: list[bytes],
) -> None:
    """See that the body names `output_cap`, or less, in a field that the model obeys.

    A field that the client sent keeps its name unless the model refuses or may ignore it: reasoning models
    refuse `max_tokens`, and providers whose field is `max_tokens` may never have heard of the newer one.
    """
    given = [
        places[key] for key in _CAPS if key in places and not body.startswith(b"null", places[key].start)
    ]
    number = b"%d" % min(output_cap, *(int(body[member.start : member.end]) for member in given), output_cap)
    own = places.get(cap_field)
    if own not in given and given and _must_move(cap_field, model):
        # At most one of both is given here. The null that stands in the model's own field changes places
        # with it; where there is none, the field is renamed.
        (other,) = given
        if own is None:
            edits.append((other.key_start, other.key_end, b'"%b"' % cap_field.encode()))
            own = other
        else:
            edits.append((other.start, other.end, b"null"))
        given = [own]
    elif not given and own is not None:
        given = [own]
    if not given:
        front.append(b'"%b":%b' % (cap_field.encode(), number))
    edits += [
        (member.start, member.end, number)
        for member in given
        if body.startswith(b"null", member.start) or int(body[member.start : member.end]) > output_cap
    ]


def _must_move(cap_field: str, model: str) -> bool:
    return cap_field == "max_tokens" or _REFUSES_MAX_TOKENS.match(model.rpartition("/")[2]) is not None


def _ask_usage(body: bytes, places: dict[str, Member], edits: list[Edit], front: list[bytes]) -> None:
    """Have the usage sent at the end of the stream, whatever else the options say."""
    options, asked = places.get("stream_options"), places.get(_INCLUDE_USAGE)
    if asked is not None:
        edits.append((asked.start, asked.end, b"true"))
    elif options is None:
        front.append(_STREAM_OPTIONS)
    elif body.startswith(b"{", options.start):
        empty = not body[options.start + 1 : options.end - 1].strip()
        edits.append(insert_first(options.start, b'"include_usage":true', empty=empty))
    else:
        edits.append((options.start, options.end, b'{"include_usage":true}'))
