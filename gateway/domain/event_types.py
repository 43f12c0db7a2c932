"""The events that the gateway tells of, and the patterns that choose among them."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.domain.errors import BadRequest

__all__ = ["EVENT_TYPES", "TEST_EVENT", "check_event_patterns", "matches_event"]

EVENT_TYPES: Final[Mapping[str, str]] = {
    "budget.threshold_reached": "A window's spend reached one of the budget's percentages.",
    "budget.exceeded": "The first call was refused in a window.",
    "budget.reset": "A window ended that had reached a threshold or had been exceeded.",
    "budget.forecast_exceeded": "At this pace the window's cap is spent before the window ends.",
    "key.created": "A virtual key was made.",
    "key.revoked": "A virtual key was ended.",
    "key.expiring": "A virtual key expires within a week.",
    "price.missing": "A call named a model that nobody has priced.",
    "price.changed": "A price that differs from the one before it was recorded.",
    "upstream.unhealthy": "A provider failed so often that calls avoid it.",
    "ledger.overrun": "A provider billed more than was held.",
    "ledger.stranded": "A worker vanished with headroom that an operator has to release.",
    "period.closed": "A month was closed; its figures do not change any more.",
}
# Sent to one target on request; no pattern chooses it.
TEST_EVENT: Final = "webhook.test"

PATTERNS_MAX: Final = 50


def matches_event(patterns: Sequence[str], event: str) -> bool:
    """Whether any pattern (`budget.*`, `key.revoked`, `*`) covers the event."""
    return any(fnmatch.fnmatchcase(event, pattern) for pattern in patterns)


def check_event_patterns(patterns: Sequence[str]) -> None:
    """Raise BadRequest for no patterns, too many, or one that covers nothing there is."""
    if not 1 <= len(patterns) <= PATTERNS_MAX:
        raise BadRequest(
            "invalid_value",
            f"events has {len(patterns)} patterns.",
            hint=f"Give 1 to {PATTERNS_MAX}, such as `budget.*`; `*` is every event.",
            param="events",
        )
    for pattern in patterns:
        if not any(matches_event([pattern], event) for event in EVENT_TYPES):
            raise BadRequest(
                "invalid_value",
                f"{pattern[:64]!r} is no event.",
                hint=f"There are {', '.join(EVENT_TYPES)}; `budget.*` covers several.",
                param="events",
            )
