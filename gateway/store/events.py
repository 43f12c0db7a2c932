"""The outbox: events are rows, written in the transaction that brings them about, once for each `dedupe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from gateway.domain.event_types import EVENT_TYPES, TEST_EVENT
from gateway.store.sql import many

__all__ = ["Event", "write_events"]

_INSERT: Final = (
    "INSERT INTO events (event, dedupe, account, subject, data, created_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (dedupe) DO NOTHING"
)
# As wide as the columns are: PostgreSQL refuses what is longer.
_DEDUPE_CHARACTERS: Final = 255
_SUBJECT_CHARACTERS: Final = 64


class Event(NamedTuple):
    """Something to tell. Deliveries keep the order of one `subject` (a budget, a key, a model).

    In `data` amounts are integers in its `unit` and instants microseconds; what is delivered has them as
    decimal strings and RFC 3339.
    """

    event: str
    dedupe: str
    account: str | None
    subject: str
    data: Mapping[str, Any]


def write_events(conn: Connection, events: Sequence[Event], now_us: int) -> None:
    """Write events in this order; one that is there already is left alone."""
    many(conn, _INSERT, [_row(each, now_us) for each in events])


def _row(event: Event, now_us: int) -> tuple[Any, ...]:
    assert event.event in EVENT_TYPES or event.event == TEST_EVENT, event.event
    text = msgspec.json.encode(event.data, order="sorted").decode()
    dedupe, subject = event.dedupe[:_DEDUPE_CHARACTERS], event.subject[:_SUBJECT_CHARACTERS]
    return event.event, dedupe, event.account, subject, text, now_us
