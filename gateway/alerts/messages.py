"""From an event's row to a message: amounts become decimal strings, instants RFC 3339. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from gateway.alerts.channels.base import Message
from gateway.domain.amounts import format_amount
from gateway.domain.ids import new_id
from gateway.domain.instants import rfc3339

__all__ = ["message_id", "message_of"]

_AMOUNTS: Final = frozenset({"cap", "spent", "held", "overrun", "stranded"})
_INSTANTS: Final = frozenset({"start", "end", "runs_out_at", "expires_at", "effective_from", "closed_at"})


def message_id(dedupe: str) -> str:
    """An event's id, made of its own name: it has one, wherever and however often it is sent."""
    return new_id("evt", hashlib.sha256(dedupe.encode()).digest()[:16])


def message_of(event: str, dedupe: str, created_at_us: int, data: Mapping[str, Any]) -> Message:
    """The message of a row, at every attempt the same."""
    return Message(message_id(dedupe), event, rfc3339(created_at_us), _shown(data, data.get("unit")))


def _shown(data: Mapping[str, Any], unit: str | None) -> dict[str, Any]:
    return {name: _value(name, value, unit) for name, value in data.items()}


def _value(name: str, value: Any, unit: str | None) -> Any:
    if isinstance(value, Mapping):
        return _shown(value, unit)
    if name in _INSTANTS and isinstance(value, int):
        return rfc3339(value)
    if name in _AMOUNTS and isinstance(value, int) and unit is not None:
        return format_amount(value, unit)
    return value
