"""Events in a sentence and a few facts, for channels that people read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.alerts.channels.base import Message

__all__ = ["facts", "headline"]

_Data = Mapping[str, Any]
_FACTS_MAX: Final = 10


def headline(message: Message) -> str:
    """What happened, in one line."""
    sentence = _SENTENCES.get(message.event)
    text = message.event if sentence is None else sentence(message.data)
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def facts(message: Message) -> list[tuple[str, str]]:
    """Names and values of the event's data, ten at most."""
    found = [("event", message.event)]
    for name, value in message.data.items():
        if isinstance(value, Mapping):
            found += [(f"{name} {inner}", str(each)) for inner, each in value.items() if each is not None]
        elif value not in (None, ""):
            found.append((name.replace("_", " "), str(value)))
    return found[:_FACTS_MAX]


def _budget(data: _Data) -> str:
    return f"{data['name']} ({data['subject']})" if data.get("subject") else str(data["name"])


def _spend(data: _Data) -> str:
    return f"{_amount(data, 'spent')} of {_amount(data, 'cap')} spent"


def _amount(data: _Data, name: str) -> str:
    return f"${data[name]}" if data["unit"] == "usd" else f"{data[name]} {data['unit']}"


_SENTENCES: Final[Mapping[str, Callable[[_Data], str]]] = {
    "budget.threshold_reached": lambda data: f"{_budget(data)} is at {data['threshold']} %: {_spend(data)}",
    "budget.exceeded": lambda data: f"{_budget(data)} refuses calls: {_spend(data)}",
    "budget.reset": lambda data: f"{_budget(data)} begins anew; {_spend(data)} in the window that ended",
    "budget.forecast_exceeded": lambda data: (
        f"{_budget(data)} runs out at {data['runs_out_at']} at this pace: {_spend(data)}"
    ),
    "key.created": lambda data: f"Key {data['name']} ({data['hint']}) was made",
    "key.revoked": lambda data: f"Key {data['name']} ({data['hint']}) was revoked",
    "key.expiring": lambda data: f"Key {data['name']} ({data['hint']}) expires at {data['expires_at']}",
    "price.missing": lambda data: f"{data['provider']}/{data['model']} has no price",
    "price.changed": lambda data: (
        f"{data['provider']}/{data['model']}: {data['meter']} goes from ${data['was_usd_per_million']} to "
        f"${data['usd_per_million']} per million at {data['effective_from']}"
    ),
    "upstream.unhealthy": lambda data: f"{data['upstream']} is unhealthy: {data['reason']}",
    "ledger.overrun": lambda data: f"{_budget(data)}: {_amount(data, 'overrun')} billed beyond the hold",
    "ledger.stranded": lambda data: (
        f"{_budget(data)}: {_amount(data, 'stranded')} stranded on {data['host']}, which is silent"
    ),
    "period.closed": lambda data: f"The period {data['period']} is closed",
    "webhook.test": lambda data: str(data["words"]),
}
