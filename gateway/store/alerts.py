"""Events that posting and refusing bring about, written in the same transaction for others to deliver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from gateway.domain.thresholds import crossed
from gateway.store.sql import many, placeholders, run

__all__ = ["Movement", "note_exceeded", "note_movements"]

_INSERT = (
    "INSERT INTO events (event, dedupe, account, subject, data, created_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (dedupe) DO NOTHING"
)


class Movement(NamedTuple):
    """A window's `spent` went from `before` to `after` under `cap`; `overrun` of it was not held for."""

    window: int
    before: int
    after: int
    cap: int
    overrun: int


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
    facts = _facts(conn, [each.window for each in due])
    rows = []
    for each in due:
        known = facts.get(each.window)
        if known is not None:
            rows += _threshold_rows(known, each, now_us) + _overrun_rows(known, each, now_us)
    many(conn, _INSERT, rows)


def note_exceeded(conn: Connection, window: int, held: int, now_us: int) -> None:
    """Write `budget.exceeded`: the first refusal of a window under this cap."""
    facts = _facts(conn, [window])
    if window in facts:
        known = facts[window]
        many(
            conn,
            _INSERT,
            [_row(known, "budget.exceeded", "exceeded", known.spent, known.cap, held, {}, now_us)],
        )


class _Facts(NamedTuple):
    window: int
    subject: str
    starts_at: int
    ends_at: int | None
    cap: int
    spent: int
    budget: str
    name: str
    account: str | None
    unit: str
    alert_at: str


def _facts(conn: Connection, windows: Sequence[int]) -> dict[int, _Facts]:
    rows = run(
        conn,
        "SELECT w.id, w.subject, w.starts_at, w.ends_at, w.cap, w.spent, b.id, b.name, b.account, b.unit,"
        " b.alert_at FROM windows w JOIN budgets b ON b.id = w.budget"
        f" WHERE w.id IN ({placeholders(len(windows))})",
        tuple(windows),
    )
    return {row[0]: _Facts(*row) for row in rows}


def _threshold_rows(facts: _Facts, moved: Movement, now_us: int) -> list[tuple[Any, ...]]:
    thresholds = crossed(moved.before, moved.after, moved.cap, msgspec.json.decode(facts.alert_at))
    return [
        _row(
            facts,
            "budget.threshold_reached",
            str(threshold),
            moved.after,
            moved.cap,
            None,
            {"threshold": threshold},
            now_us,
        )
        for threshold in thresholds
    ]


def _overrun_rows(facts: _Facts, moved: Movement, now_us: int) -> list[tuple[Any, ...]]:
    if moved.overrun <= 0:
        return []
    more = {"overrun": moved.overrun}
    return [_row(facts, "ledger.overrun", "overrun", moved.after, moved.cap, None, more, now_us)]


def _row(
    facts: _Facts,
    event: str,
    what: str,
    spent: int,
    cap: int,
    held: int | None,
    more: dict[str, Any],
    now_us: int,
) -> tuple[Any, ...]:
    """Amounts are integers in the budget's unit, instants microseconds: a channel renders them."""
    data = {
        "budget": facts.budget,
        "name": facts.name,
        "account": facts.account,
        "subject": facts.subject,
        "unit": facts.unit,
        "window": {"start": facts.starts_at, "end": facts.ends_at},
        "cap": cap,
        "spent": spent,
        "held": held,
        **more,
    }
    # The cap is part of the name: raising it arms the thresholds again.
    dedupe = f"{facts.budget}:{facts.window}:{what}:{cap}"
    text = msgspec.json.encode(data, order="sorted").decode()
    return event, dedupe, facts.account, facts.budget, text, now_us
