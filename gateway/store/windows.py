"""Windows in SQL: opened on first touch, and watched by every worker that uses them.

A row is made when a budget is first used in a window, and nothing is ever reset. The cap is copied into the
row under the budget's own lock: without it, half of the windows opened beside a change of cap kept the old
one for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from gateway.store.opening import spent_before
from gateway.store.sql import placeholders, run

__all__ = ["Opened", "Opening", "Watched", "forget_rate_windows", "note_refusal", "open_window", "watch"]


class Opening(NamedTuple):
    """A window that somebody is about to use."""

    budget: str
    subject: str
    starts_at_us: int
    ends_at_us: int | None


class Opened(NamedTuple):
    """A window's row."""

    opening: Opening
    window: int
    cap: int
    spent: int
    leased: int
    overrun: int
    recall: int


class Watched(NamedTuple):
    """What a poll learns of one window: its figures, this journal's answer, and what the others hold."""

    window: int
    cap: int
    spent: int
    leased: int
    overrun: int
    recall: int
    answered: int
    others_held: int


def open_window(conn: Connection, opening: Opening) -> Opened | None:
    """Make the row if it is missing, and read it; None for a budget that does not exist.

    A transaction of its own: it holds the budget's row, and no other transaction of a worker does.
    """
    known = _read(conn, opening)
    if known is not None:
        return known
    lock = " FOR SHARE" if conn.dialect.name == "postgresql" else ""
    budget = run(
        conn, f"SELECT cap, created_at, count_from FROM budgets WHERE id = ?{lock}", (opening.budget,)
    ).one_or_none()
    if budget is None:
        return None
    cap, created_at, count_from = budget
    # Only the window the budget was made in has a past that nobody counted.
    has_past = count_from == "window" and opening.starts_at_us <= created_at
    spent = spent_before(conn, *opening) if has_past else 0
    run(
        conn,
        "INSERT INTO windows"
        " (budget, subject, starts_at, ends_at, cap, spent, leased, overrun, released, recall)"
        " VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0) ON CONFLICT (budget, subject, starts_at) DO NOTHING",
        (opening.budget, opening.subject, opening.starts_at_us, opening.ends_at_us, cap, spent),
    )
    return _read(conn, opening)


def _read(conn: Connection, opening: Opening) -> Opened | None:
    row = run(
        conn,
        "SELECT id, cap, spent, leased, overrun, recall FROM windows"
        " WHERE budget = ? AND subject = ? AND starts_at = ?",
        opening[:3],
    ).one_or_none()
    return None if row is None else Opened(opening, *row)


def watch(conn: Connection, journal: str, windows: Sequence[int]) -> list[Watched]:
    """The windows this journal has a lease in, and those named."""
    rows = run(
        conn,
        "SELECT w.id, w.cap, w.spent, w.leased, w.overrun, w.recall, l.answered,"
        " COALESCE((SELECT SUM(o.held) FROM leases o WHERE o.win = w.id AND o.journal <> ?), 0)"
        " FROM windows w LEFT JOIN leases l ON l.win = w.id AND l.journal = ?"
        f" WHERE w.id IN ({placeholders(len(windows))})",
        (journal, journal, *windows),
    ).all()
    return [
        Watched(window, cap, spent, leased, overrun, recall, answered or 0, int(others_held))
        for window, cap, spent, leased, overrun, recall, answered, others_held in rows
    ]


def forget_rate_windows(conn: Connection, before_us: int) -> int:
    """Delete windows of minute and hour budgets that ended before, and that nobody holds anything in.

    Their charges stay in the ledger. At most a thousand at once; returns how many.
    """
    gone = run(
        conn,
        "DELETE FROM windows WHERE id IN (SELECT w.id FROM windows w JOIN budgets b ON b.id = w.budget"
        " WHERE b.period IN ('minute', 'hour') AND w.ends_at < ?"
        " AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.win = w.id)"
        " AND NOT EXISTS (SELECT 1 FROM budget_increases i WHERE i.win = w.id) ORDER BY w.id LIMIT 1000)",
        (before_us,),
    )
    return gone.rowcount


def note_refusal(conn: Connection, window: int, now_us: int) -> bool:
    """Write down the first refusal of a window; True for the one that was first."""
    noted = run(
        conn,
        "UPDATE windows SET refused_at = ? WHERE id = ? AND refused_at IS NULL",
        (now_us, window),
    )
    return noted.rowcount == 1
