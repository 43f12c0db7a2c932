"""Leases in SQL: asking for headroom, giving it back, and an operator's release.

One conditional UPDATE decides: `spent + leased + g <= cap`. All windows of one ask are granted or none, in
one transaction, in ascending order, so that two workers can neither overspend nor swap halves for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from gateway.store.sql import placeholders, run

__all__ = ["Asked", "Granted", "Other", "Refused", "Shortage", "ask", "give_back", "release", "show_held"]


class Asked(NamedTuple):
    """What is missing in one window: `short` at least, `slack` more if there is room.

    `recall` is the number under which this call recalled the others' headroom, None before the first time.
    `held` is what the journal holds there, for others to see.
    """

    window: int
    short: int
    slack: int
    recall: int | None
    held: int


class Other(NamedTuple):
    """Another journal's lease in a window that fell short."""

    journal: str
    amount: int
    held: int
    answered: int


class Shortage(NamedTuple):
    """A window that had no room: its figures, and who else has some of it."""

    window: int
    cap: int
    spent: int
    leased: int
    recall: int
    others: Sequence[Other]

    @property
    def unanswered(self) -> list[str]:
        """The journals that have headroom and have not answered this recall."""
        return [other.journal for other in self.others if other.answered < self.recall]


class Granted(NamedTuple):
    """Every window had room: what was granted, and the window's figures after it."""

    amounts: Mapping[int, int]
    figures: Mapping[int, tuple[int, int, int, int]]  # cap, spent, leased, recall


class Refused(NamedTuple):
    """Some window had no room; nothing was granted."""

    shortages: Sequence[Shortage]


def ask(conn: Connection, journal: str, asked: Sequence[Asked], may_recall: bool) -> Granted | Refused:
    """Lease what is missing in every window, or in none.

    Where a window falls short and `may_recall`, every other worker is told to give back what it does not
    need, once per call and window.
    """
    run(conn, "SAVEPOINT ask")
    granted: dict[int, int] = {}
    figures: dict[int, tuple[int, int, int, int]] = {}
    fell_short = []
    for each in sorted(asked):
        taken = _take(conn, each)
        if taken is None:
            fell_short.append(each)
        elif not fell_short:
            granted[each.window], figures[each.window] = taken
            _enter(conn, journal, each, taken[0])
    if not fell_short:
        run(conn, "RELEASE SAVEPOINT ask")
        return Granted(granted, figures)
    run(conn, "ROLLBACK TO SAVEPOINT ask")
    return Refused([_shortage(conn, journal, each, may_recall) for each in fell_short])


def _take(conn: Connection, asked: Asked) -> tuple[int, tuple[int, int, int, int]] | None:
    for amount in (asked.short + asked.slack, asked.short) if asked.slack else (asked.short,):
        row = run(
            conn,
            "UPDATE windows SET leased = leased + ? WHERE id = ? AND spent + leased + ? <= cap"
            " RETURNING cap, spent, leased, recall",
            (amount, asked.window, amount),
        ).one_or_none()
        if row is not None:
            return amount, (row[0], row[1], row[2], row[3])
    return None


def _enter(conn: Connection, journal: str, asked: Asked, amount: int) -> None:
    # A grant withdraws the answer to a recall: what is granted now may be free again in a moment.
    run(
        conn,
        "INSERT INTO leases (journal, win, amount, held, answered) VALUES (?, ?, ?, ?, 0)"
        " ON CONFLICT (journal, win) DO UPDATE SET amount = leases.amount + excluded.amount,"
        " held = excluded.held, answered = 0",
        (journal, asked.window, amount, asked.held),
    )


def _shortage(conn: Connection, journal: str, asked: Asked, may_recall: bool) -> Shortage:
    if asked.recall is None and may_recall:
        row = run(
            conn,
            "UPDATE windows SET recall = recall + 1 WHERE id = ? RETURNING cap, spent, leased, recall",
            (asked.window,),
        ).one()
    else:
        row = run(conn, "SELECT cap, spent, leased, recall FROM windows WHERE id = ?", (asked.window,)).one()
    others = run(
        conn,
        "SELECT journal, amount, held, answered FROM leases WHERE win = ? AND journal <> ? AND amount > 0"
        " ORDER BY journal",
        (asked.window, journal),
    ).all()
    number = row[3] if asked.recall is None else asked.recall
    return Shortage(asked.window, row[0], row[1], row[2], number, [Other(*other) for other in others])


def give_back(conn: Connection, journal: str, returns: Sequence[tuple[int, int, int, int]]) -> None:
    """Return headroom and answer recalls: (window, amount, recall answered, held), amounts from 0 on.

    A lease of which nothing is left and under which nothing is held is forgotten.
    """
    ordered = sorted(returns)
    for window, amount, _, _ in ordered:
        if amount:
            run(conn, "UPDATE windows SET leased = leased - ? WHERE id = ?", (amount, window))
    for window, amount, answered, held in ordered:
        run(
            conn,
            "UPDATE leases SET amount = amount - ?, answered = ?, held = ? WHERE journal = ? AND win = ?",
            (amount, answered, held, journal, window),
        )
    windows = [window for window, _, _, _ in ordered]
    run(
        conn,
        "DELETE FROM leases WHERE journal = ? AND amount = 0 AND held = 0"
        f" AND win IN ({placeholders(len(windows))})",
        (journal, *windows),
    )


def show_held(conn: Connection, journal: str, held: Sequence[tuple[int, int]]) -> None:
    """Write what this journal holds, (window, held), for others to see. It decides nothing."""
    for window, amount in sorted(held):
        run(
            conn,
            "UPDATE leases SET held = ? WHERE journal = ? AND win = ?",
            (amount, journal, window),
        )


def release(conn: Connection, journal: str, window: int) -> int:
    """Take a lost journal's lease of one window; returns the amount, which is shown as `released`.

    Moving the serial first means that a worker that lives after all finds out before its next transaction,
    goes on with nothing leased, and books what it charges in full.
    """
    run(conn, "UPDATE journals SET serial = serial + 1 WHERE id = ?", (journal,))
    lease = run(
        conn, "SELECT amount FROM leases WHERE journal = ? AND win = ?", (journal, window)
    ).one_or_none()
    if lease is None:
        return 0
    amount = int(lease[0])
    run(
        conn,
        "UPDATE windows SET leased = leased - ?, released = released + ? WHERE id = ?",
        (amount, amount, window),
    )
    run(conn, "UPDATE leases SET amount = 0, held = 0 WHERE journal = ? AND win = ?", (journal, window))
    return amount
