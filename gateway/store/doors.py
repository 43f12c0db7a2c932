"""Where each living worker is reached by those of other machines."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from gateway.store.sql import run

__all__ = ["Whereabouts", "close_door", "open_door", "whereabouts"]


class Whereabouts(NamedTuple):
    """What SQL knows of a journal's worker; `address` is "" when it has none."""

    state: str
    address: str


def open_door(conn: Connection, journal: str, address: str) -> None:
    """A worker can be reached here. Those of workers that are gone are cleared away."""
    run(conn, "DELETE FROM doors WHERE journal NOT IN (SELECT id FROM journals WHERE state = 'live')")
    run(
        conn,
        "INSERT INTO doors (journal, address) VALUES (?, ?)"
        " ON CONFLICT (journal) DO UPDATE SET address = excluded.address",
        (journal, address),
    )


def close_door(conn: Connection, journal: str) -> None:
    """A worker stops."""
    run(conn, "DELETE FROM doors WHERE journal = ?", (journal,))


def whereabouts(conn: Connection, journal: str) -> Whereabouts | None:
    """Where a journal's worker is; None for a journal that SQL does not know."""
    found = run(
        conn,
        "SELECT journals.state, doors.address FROM journals LEFT JOIN doors ON doors.journal = journals.id"
        " WHERE journals.id = ?",
        (journal,),
    ).one_or_none()
    return None if found is None else Whereabouts(found[0], found[1] or "")
