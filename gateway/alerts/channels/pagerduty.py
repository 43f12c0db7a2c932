"""PagerDuty's Events API v2: incidents that a budget's next window resolves.

A target is an integration's routing key (32 letters and digits); one of another service region is written
behind its URL: `https://events.eu.pagerduty.com/v2/enqueue#<routing key>`. Source: PagerDuty's developer
documentation, "Send an Event to PagerDuty".
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

from gateway.alerts.channels.base import Channel, Message, Url, invalid_target, read_url
from gateway.alerts.channels.words import headline

__all__ = ["CHANNEL"]

ENQUEUE: Final = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_MAX_CHARACTERS: Final = 1024
_KEY: Final = re.compile(r"[0-9A-Za-z]{32}", re.ASCII)
_SEVERITIES: Final = {
    "budget.threshold_reached": "warning",
    "budget.exceeded": "critical",
    "budget.forecast_exceeded": "warning",
    "key.expiring": "warning",
    "price.missing": "warning",
    "upstream.unhealthy": "error",
    "ledger.overrun": "error",
    "ledger.stranded": "error",
}


def read(text: str) -> Url:
    """Where events are posted; the routing key travels in the body."""
    url, _ = _parts(text)
    return read_url(url)


def shown(text: str) -> str:
    """The URL and the end of the key."""
    url, key = _parts(text)
    return f"{url}#...{key[-4:]}"


def render(message: Message, target: str) -> bytes:
    """A `trigger`, or a `resolve` of everything that the window which ended had triggered."""
    _, key = _parts(target)
    event: dict[str, Any] = {"routing_key": key, "dedup_key": _incident(message)}
    if message.event == "budget.reset":
        return msgspec.json.encode({**event, "event_action": "resolve"})
    payload = {
        "summary": headline(message)[:SUMMARY_MAX_CHARACTERS],
        "source": "tollgate",
        "severity": _SEVERITIES.get(message.event, "info"),
        "timestamp": message.at,
        "class": message.event,
        "custom_details": {**message.data, "id": message.id},
    }
    return msgspec.json.encode({**event, "event_action": "trigger", "client": "Tollgate", "payload": payload})


def _parts(text: str) -> tuple[str, str]:
    url, hash_sign, key = text.rpartition("#")
    if _KEY.fullmatch(key) is None:
        error = invalid_target("The target is no routing key.")
        error.hint = "Give the 32 characters of an Events API v2 integration."
        raise error
    return (url if hash_sign else ENQUEUE), key


def _incident(message: Message) -> str:
    """One incident for each window of a budget, so that its end resolves it; for everything else its id."""
    data = message.data
    if not message.event.startswith("budget."):
        return message.id
    subject = hashlib.sha256(str(data["subject"]).encode()).hexdigest()[:16]
    return f"{data['budget']}:{data['window']['start']}:{subject}"


CHANNEL: Final = Channel("pagerduty", read, shown, render)
