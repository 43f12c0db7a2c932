"""What only the passing of time brings about: windows that end, budgets that run out, keys that expire,
workers that are lost, logs that grow old. Each function takes the time; one worker at a time has the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, select

from gateway.domain.forecasts import runs_out_at
from gateway.store.alerts import budget_event, facts_of
from gateway.store.events import write_events
from gateway.store.notices import key_event
from gateway.store.sql import placeholders, run
from gateway.store.tables import virtual_keys
from gateway.store.tenancy import key_of_row

__all__ = [
    "forget_delivered",
    "take_turn",
    "tell_ended",
    "tell_expiring",
    "tell_stranded",
    "tell_too_fast",
    "too_fast",
]

NOTICE_US: Final = 7 * 86_400_000_000
# Several times as long as a worker is silent while its database restarts.
LOST_US: Final = 5 * 60_000_000
BATCH: Final = 500
# How long the log of what was delivered is kept; dead letters stay.
KEPT_US: Final = 90 * 86_400_000_000


def take_turn(conn: Connection, task: str, every_us: int, now_us: int) -> bool:
    """Whether this worker is to do the task now: once in `every_us` over all workers and machines."""
    # Compared as text, which 16 digits allow until the year 2286.
    taken = run(
        conn,
        "INSERT INTO meta (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE meta.value <= ?",
        (f"turn:{task}", f"{now_us:016}", f"{now_us - every_us:016}"),
    )
    return taken.rowcount == 1


def tell_ended(conn: Connection, now_us: int) -> int:
    """Write `budget.reset` for windows that ended under an alarm; how many alarms there were."""
    alarms = run(
        conn,
        "SELECT win, raised_at FROM alarms WHERE ends_at <= ? ORDER BY win LIMIT ?",
        (now_us, BATCH),
    ).all()
    if not alarms:
        return 0
    facts = facts_of(conn, [window for window, _ in alarms])
    # A late charge may raise the alarm of an ended window again: the instant tells the two apart.
    events = [
        budget_event(facts[window], "budget.reset", f"reset:{raised_at}")
        for window, raised_at in alarms
        if window in facts
    ]
    write_events(conn, events, now_us)
    ids = [window for window, _ in alarms]
    run(conn, f"DELETE FROM alarms WHERE win IN ({placeholders(len(ids))})", ids)
    return len(alarms)


def too_fast(conn: Connection, now_us: int) -> list[tuple[int, int]]:
    """Running windows whose cap is spent before they end, at their pace so far, and when. Only reads."""
    rows = run(
        conn,
        "SELECT w.id, w.starts_at, w.ends_at, w.spent, w.cap FROM windows w JOIN budgets b ON b.id = w.budget"
        " WHERE w.ends_at > ? AND w.starts_at <= ? AND w.spent > 0 AND w.spent < w.cap"
        " AND b.period NOT IN ('minute', 'hour') AND b.deleted_at IS NULL",
        (now_us, now_us),
    )
    found = []
    for window, starts_at, ends_at, spent, cap in rows:
        at_us = runs_out_at(starts_at, ends_at, now_us, spent, cap)
        if at_us is not None:
            found.append((window, at_us))
    return found


def tell_too_fast(conn: Connection, found: Sequence[tuple[int, int]], now_us: int) -> None:
    """Write `budget.forecast_exceeded`, once for each window and cap."""
    for start in range(0, len(found), BATCH):
        batch = found[start : start + BATCH]
        facts = facts_of(conn, [window for window, _ in batch])
        events = [
            budget_event(facts[window], "budget.forecast_exceeded", "forecast", runs_out_at=at_us)
            for window, at_us in batch
            if window in facts
        ]
        write_events(conn, events, now_us)


def tell_expiring(conn: Connection, now_us: int) -> None:
    """Write `key.expiring` a week ahead, for keys that were made to live longer than that."""
    keys = virtual_keys.c
    query = select(virtual_keys).where(
        keys.status != "revoked",
        keys.rotated_to.is_(None),
        keys.expires_at > now_us,
        keys.expires_at <= now_us + NOTICE_US,
        keys.expires_at - keys.created_at > NOTICE_US,
    )
    found = [key_of_row(row) for row in conn.execute(query.order_by(keys.id))]
    events = [key_event(key, "key.expiring", key.expires_at_us or 0) for key in found]
    write_events(conn, events, now_us)


def tell_stranded(conn: Connection, now_us: int) -> None:
    """Write `ledger.stranded` for headroom of workers that nobody has heard of for minutes."""
    lost = run(
        conn,
        "SELECT l.win, l.amount, j.id, j.host FROM leases l JOIN journals j ON j.id = l.journal"
        " WHERE j.state = 'live' AND j.seen_at < ? AND l.amount > 0 ORDER BY l.win, j.id LIMIT ?",
        (now_us - LOST_US, BATCH),
    ).all()
    if not lost:
        return
    facts = facts_of(conn, sorted({window for window, *_ in lost}))
    events = [
        budget_event(
            facts[window],
            "ledger.stranded",
            f"stranded:{journal}",
            stranded=amount,
            journal=journal,
            host=host,
        )
        for window, amount, journal, host in lost
        if window in facts
    ]
    write_events(conn, events, now_us)


def forget_delivered(conn: Connection, now_us: int) -> int:
    """Delete the log of what was delivered long ago, a part at a time; how many deliveries there were."""
    gone = run(
        conn,
        "SELECT id FROM deliveries WHERE status = 'delivered' AND finished_at < ? ORDER BY id LIMIT ?",
        (now_us - KEPT_US, BATCH),
    ).all()
    if gone:
        ids = [row[0] for row in gone]
        run(conn, f"DELETE FROM delivery_attempts WHERE delivery IN ({placeholders(len(ids))})", ids)
        run(conn, f"DELETE FROM deliveries WHERE id IN ({placeholders(len(ids))})", ids)
    return len(gone)
