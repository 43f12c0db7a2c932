"""One message of every event, as it leaves."""

from __future__ import annotations

from typing import Any, Final

from gateway.alerts.channels.base import Message
from gateway.alerts.messages import message_of
from gateway.domain.event_types import EVENT_TYPES, TEST_EVENT

__all__ = ["MESSAGES", "message"]

NOON_US: Final = 1_795_608_000_000_000
_BUDGET: Final = {
    "budget": "bud_1",
    "name": "search <november>",
    "account": "acct_1",
    "subject": "",
    "unit": "usd",
    "window": {"start": 1_793_491_200_000_000, "end": 1_796_083_200_000_000},
    "cap": 25_000_000_000,
    "spent": 20_000_000_000,
    "held": 1,
}
_KEY: Final = {"key": "key_1", "name": "ci", "account": "acct_1", "hint": "sk-tg-...abcd", "expires_at": None}
_PRICE: Final = {
    "provider": "openai", "model": "gpt-4.1", "meter": "output", "account": None, "service_tier": "",
    "context_over": 0, "price": "price_1", "effective_from": NOON_US, "usd_per_million": "8",
    "was_usd_per_million": "10",
}  # fmt: skip
_MORE: Final[dict[str, dict[str, Any]]] = {
    "budget.threshold_reached": {"threshold": 80},
    "budget.forecast_exceeded": {"runs_out_at": NOON_US},
    "ledger.overrun": {"overrun": 1_000},
    "ledger.stranded": {"stranded": 5_000_000_000, "journal": "jrnl_1", "host": "web-1"},
}


def data_of(event: str) -> dict[str, Any]:
    """The data of an event, as its row has it."""
    if event.startswith(("budget.", "ledger.")):
        return {**_BUDGET, **_MORE.get(event, {})}
    if event == "key.expiring":
        return {**_KEY, "expires_at": NOON_US}
    if event.startswith("key."):
        return _KEY
    others: dict[str, dict[str, Any]] = {
        "price.missing": {"provider": "openai", "model": "gpt-new"},
        "price.changed": _PRICE,
        "upstream.unhealthy": {"upstream": "openai", "reason": "5 failures in a row"},
        "period.closed": {"period": "2026-10", "digest": "ab12", "closed_at": NOON_US},
        TEST_EVENT: {"webhook": "whk_1", "words": "Tollgate can reach you."},
    }
    return others[event]


def message(event: str, **more: Any) -> Message:
    """The message of an event."""
    return message_of(event, f"dedupe of {event}", NOON_US, {**data_of(event), **more})


MESSAGES: Final = tuple(message(event) for event in (*EVENT_TYPES, TEST_EVENT))
