"""What the gateway changes in a Gemini request: the output cap, and the model where the body names it.

The cap is a member of `generationConfig`; either may be missing, null, or spelled with underscores. Nothing
else of the client's own bytes is touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.domain.errors import BadRequest
from gateway.formats.base import Intent
from gateway.formats.gemini_paths import resource_of
from gateway.formats.gemini_spelling import Spelling
from gateway.formats.splice import Edit, Member, apply, insert_first, locate

__all__ = ["CAP", "CONFIG", "MODEL", "config_of", "items_of", "number_at", "upstream_body"]

MODEL: Final = "model"
CONFIG: Final = "generationConfig"
CAP: Final = "maxOutputTokens"
_CONFIG_FIELDS: Final = Spelling(CAP, "candidateCount", "responseModalities")
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
# No model writes as much; sums of such numbers stay far inside 64 bits.
_NUMBER_MAX: Final = 2**31 - 1


def config_of(body: bytes, config: Member | None) -> dict[str, Member]:
    """The members of `generationConfig` that decide about money. Raises BadRequest for an ambiguous one."""
    if config is None or not body.startswith(b"{", config.start):
        return {}
    inner = _CONFIG_FIELDS.located(locate(body[config.start : config.end]), f"{CONFIG}.")
    return {name: member.moved(config.start) for name, member in inner.items()}


def items_of(body: bytes, array: Member) -> list[tuple[int, int]]:
    """Where the items of an array stand; none where it is something else."""
    if not body.startswith(b"[", array.start):
        return []
    at, found = array.start, []
    for item in _ITEMS.decode(body[array.start : array.end]):
        text = bytes(item)
        at = body.index(text, at)
        found.append((at, at + len(text)))
        at += len(text)
    return found


def number_at(body: bytes, place: Member | None) -> int | None:
    """A positive number, None where there is none. Google takes `64`, `64.0` and `"64"` for the same.

    Raises BadRequest, for 0 as well: it is not documented whether that means no token or any number.
    """
    if place is None:
        return None
    text = body[place.start : place.end]
    told = number = int(text) if text.isdigit() and len(text) < 20 else json.loads(text)
    if isinstance(told, str) and told.isascii() and told.isdigit():
        number = int(told[:20])
    elif isinstance(told, float) and told.is_integer():
        number = int(told)
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= _NUMBER_MAX:
        param = f"{CONFIG}.{place.key}"
        raise BadRequest(
            "invalid_value",
            f"`{param}` is nothing that can be asked for: {told!r:.100}.",
            param=param,
            hint=f"Send a whole number from 1 to {_NUMBER_MAX}, or leave it out.",
        )
    return number


def upstream_body(body: bytes, intent: Intent, model: str, output_cap: int | None) -> bytes:
    """See `Format.upstream_body`; without a cap, where the method has none."""
    places = intent.places or ()
    edits: list[Edit] = []
    if model != intent.model:
        name = msgspec.json.encode(resource_of(model))
        edits += [(place.start, place.end, name) for place in places if place.key == MODEL]
    if output_cap is not None:
        edits += _cap(body, {place.key: place for place in places}, output_cap)
    return apply(body, edits) if edits else body


def _cap(body: bytes, places: Mapping[str, Member], output_cap: int) -> list[Edit]:
    """See that the body names `output_cap`, or less. The places have the names in camel case."""
    number = b"%d" % output_cap
    cap, config = places.get(CAP), places.get(CONFIG)
    if cap is not None:
        given = number_at(body, cap)
        return [(cap.start, cap.end, number)] if given is None or given > output_cap else []
    member = b'"%b":%b' % (CAP.encode(), number)
    if config is None:
        return [insert_first(body.index(b"{"), b'"%b":{%b}' % (CONFIG.encode(), member))]
    if not body.startswith(b"{", config.start):
        return [(config.start, config.end, b"{%b}" % member)]
    empty = not body[config.start + 1 : config.end - 1].strip()
    return [insert_first(config.start, member, empty=empty)]
