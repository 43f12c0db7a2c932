"""Journals in SQL: the serial that lets each transaction happen once, resync, and the end of a journal.

Every accounting transaction of a journal first moves its serial from the number its worker knows. So it
happens once, and moving the serial kills whatever is still travelling to SQL, even after its sender died.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection

from gateway.store.sql import placeholders, run

__all__ = [
    "FINISHED",
    "JournalFinished",
    "SerialMoved",
    "Standing",
    "begin",
    "database_id",
    "finish",
    "posted_of",
    "register",
    "resync",
    "revive",
]

FINISHED: Final = ("finished", "finished_unclean")
Finished = Literal["finished", "finished_unclean"]


class SerialMoved(Exception):
    """Somebody moved the serial, or the row is not what this worker thinks it is: resync."""


class JournalFinished(Exception):
    """The journal was finished while its worker lives: its lock failed, and it must not go on."""


class Standing(NamedTuple):
    """What SQL knows of a journal: amounts and answers by window."""

    serial: int
    posted: int
    state: str
    leases: Mapping[int, tuple[int, int]]


def register(conn: Connection, journal: str, data_dir: str, host: str, now_us: int) -> None:
    """Enter a new journal; the same one again changes nothing (an answer that was not heard)."""
    run(
        conn,
        "INSERT INTO journals"
        " (id, data_dir, serial, posted, state, seen_at, complete_until, created_at, host)"
        " VALUES (?, ?, 0, 0, 'live', ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (journal, data_dir, now_us, now_us, now_us, host),
    )


def begin(conn: Connection, journal: str, serial: int, now_us: int) -> None:
    """The first statement of every transaction of a journal; raises SerialMoved when it is not its turn."""
    moved = run(
        conn,
        "UPDATE journals SET serial = serial + 1, seen_at = ? WHERE id = ? AND serial = ? AND state = 'live'",
        (now_us, journal, serial),
    )
    if moved.rowcount != 1:
        raise SerialMoved(journal)


def resync(conn: Connection, journal: str) -> Standing | None:
    """Move the serial and read what there is; None when SQL does not know the journal.

    Two statements: in one, PostgreSQL would read the leases as they were before it waited for the row.
    """
    row = run(
        conn,
        "UPDATE journals SET serial = serial + 1 WHERE id = ? RETURNING serial, posted, state",
        (journal,),
    ).one_or_none()
    if row is None:
        return None
    leases = run(conn, "SELECT win, amount, answered FROM leases WHERE journal = ?", (journal,)).all()
    return Standing(row[0], row[1], row[2], {win: (amount, answered) for win, amount, answered in leases})


def posted_of(conn: Connection, journals: Sequence[str]) -> dict[str, int]:
    """How far each of these journals is posted; one that SQL does not know is missing."""
    if not journals:
        return {}
    names = placeholders(len(journals))
    found = run(conn, f"SELECT id, posted FROM journals WHERE id IN ({names})", tuple(journals))
    return dict(iter(found))


def revive(conn: Connection, journal: str, serial: int) -> None:
    """Set a finished journal live again: its file has more than was posted."""
    moved = run(
        conn,
        "UPDATE journals SET serial = serial + 1, state = 'live' WHERE id = ? AND serial = ?",
        (journal, serial),
    )
    if moved.rowcount != 1:
        raise SerialMoved(journal)


def finish(conn: Connection, journal: str, state: Finished) -> None:
    """Give back every lease of the journal and end it, inside the transaction that posts its last records."""
    leases = run(conn, "SELECT win, amount FROM leases WHERE journal = ? ORDER BY win", (journal,)).all()
    for win, amount in leases:
        run(conn, "UPDATE windows SET leased = leased - ? WHERE id = ?", (amount, win))
    run(conn, "DELETE FROM leases WHERE journal = ?", (journal,))
    run(conn, "UPDATE journals SET state = ? WHERE id = ?", (state, journal))


def database_id(conn: Connection, candidate: str) -> str:
    """The database's own name, `candidate` if it has none yet."""
    run(
        conn,
        "INSERT INTO meta (name, value) VALUES ('database', ?) ON CONFLICT (name) DO NOTHING",
        (candidate,),
    )
    return str(run(conn, "SELECT value FROM meta WHERE name = 'database'").scalar_one())
