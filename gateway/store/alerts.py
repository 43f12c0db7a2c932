"""Budgets' events, written in the transaction of the posting or refusal that brings them about.

A window that reached a threshold or refused a call has an alarm until it ends; its end is an event too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from gateway.domain.thresholds import crossed
from gateway.store.events import Event, write_events
from gateway.store.sql import many, placeholders, run

__all__ = ["Facts", "Movement", "budget_event", "facts_of", "note_exceeded", "note_movements"]

# What is told of a window. `held` is the sum over all workers, as they last said it.
_FACTS: Final = (
    "SELECT w.id, w.subject, w.starts_at, w.ends_at, w.cap, w.spent,"
    " (SELECT COALESCE(SUM(l.held), 0) FROM leases l WHERE l.win = w.id),"
    " b.id, b.name, b.account, b.unit, b.period, b.alert_at"
    " FROM windows w JOIN budgets b ON b.id = w.budget"
)


class Movement(NamedTuple):
    """A window's `spent` went from `before` to `after` under `cap`; `overrun` of it was not held for."""

    window: int
    before: int
    after: int
    cap: int
    overrun: int


class Facts(NamedTuple):
    """A window and its budget, as they are told of."""

    window: int
    subject: str
    starts_at: int
    ends_at: int | None
    cap: int
    spent: int
    held: int
    budget: str
    name: str
    account: str | None
    unit: str
    period: str
    alert_at: str

    @property
    def is_rate(self) -> bool:
        """Limits by the minute or hour and on calls in flight refuse all day long, which is no news."""
        return self.period in ("minute", "hour") or self.unit == "concurrent"


def note_movements(conn: Connection, movements: Sequence[Movement], now_us: int) -> None:
    """Write an event for each threshold that was crossed, once for each cap, and for a window's overrun."""
    # Whole percents: cheap to compare, and no threshold lies between two of them.
    due = [
        each
        for each in movements
        if each.overrun > 0 or each.after * 100 // (each.cap or 1) != each.before * 100 // (each.cap or 1)
    ]
    if not due:
        return
    facts = facts_of(conn, [each.window for each in due])
    events, reached = [], []
    for each in due:
        known = facts.get(each.window)
        if known is not None:
            known = known._replace(spent=each.after, cap=each.cap)
            thresholds = _threshold_events(known, each)
            events += thresholds + _overrun_events(known, each)
            reached += [known] * bool(thresholds)
    write_events(conn, events, now_us)
    _raise_alarms(conn, reached, now_us)


def note_exceeded(conn: Connection, window: int, held: int, now_us: int) -> None:
    """Write `budget.exceeded`: the first refusal of a window under this cap."""
    known = facts_of(conn, [window]).get(window)
    if known is None or known.is_rate:
        return
    known = known._replace(held=held)
    write_events(conn, [budget_event(known, "budget.exceeded", "exceeded")], now_us)
    _raise_alarms(conn, [known], now_us)


def budget_event(facts: Facts, event: str, what: str, **more: Any) -> Event:
    """The event of a window. The cap is part of its name: raising it arms the thresholds again."""
    data = {
        "budget": facts.budget,
        "name": facts.name,
        "account": facts.account,
        "subject": facts.subject,
        "unit": facts.unit,
        "window": {"start": facts.starts_at, "end": facts.ends_at},
        "cap": facts.cap,
        "spent": facts.spent,
        "held": facts.held,
        **more,
    }
    dedupe = f"{facts.budget}:{facts.window}:{what}:{facts.cap}"
    return Event(event, dedupe, facts.account, facts.budget, data)


def facts_of(conn: Connection, windows: Sequence[int]) -> dict[int, Facts]:
    """What there is to tell of windows; one that is gone is left out."""
    rows = run(conn, f"{_FACTS} WHERE w.id IN ({placeholders(len(windows))})", tuple(windows))
    # PostgreSQL sums to NUMERIC.
    return {row[0]: Facts(*row)._replace(held=int(row[6])) for row in rows}


def _threshold_events(facts: Facts, moved: Movement) -> list[Event]:
    thresholds = crossed(moved.before, moved.after, moved.cap, msgspec.json.decode(facts.alert_at))
    return [
        budget_event(facts, "budget.threshold_reached", str(threshold), threshold=threshold)
        for threshold in thresholds
    ]


def _overrun_events(facts: Facts, moved: Movement) -> list[Event]:
    if moved.overrun <= 0:
        return []
    return [budget_event(facts, "ledger.overrun", "overrun", overrun=moved.overrun)]


def _raise_alarms(conn: Connection, windows: Iterable[Facts], now_us: int) -> None:
    """Remember to tell of the window's end; one that never ends has none."""
    many(
        conn,
        "INSERT INTO alarms (win, ends_at, raised_at) VALUES (?, ?, ?) ON CONFLICT (win) DO NOTHING",
        [(each.window, each.ends_at, now_us) for each in windows if each.ends_at is not None],
    )
