"""Whose is what is stored at a provider, and which answers are still awaited from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from gateway.store.sql import many, placeholders, run

__all__ = ["Awaited", "Belonging", "awaited", "keep", "owners", "release", "where_kept"]


class Belonging(NamedTuple):
    """One thing that an account has at a provider, in the order of the table's columns."""

    id: str
    upstream: str
    account: str
    attempt: str
    made_at_us: int
    awaited: bool


class Awaited(NamedTuple):
    """An answer in the background whose worker is gone: what was booked for it is not the last word."""

    id: str
    upstream: str
    attempt: str
    account: str
    model: str
    admitted_at_us: int
    hold_nano: int


# A thing belongs to whoever was first told its id; only its own attempt can say that it is awaited no more.
_KEEP: Final = (
    "INSERT INTO belongings (id, upstream, account, attempt, made_at, awaited) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id, upstream) DO UPDATE SET awaited = excluded.awaited"
    " WHERE belongings.attempt = excluded.attempt"
)


def keep(conn: Connection, things: Sequence[Belonging]) -> None:
    """Write whose these are; in ascending order, which is the order of the locks."""
    many(conn, _KEEP, sorted(things))


def owners(conn: Connection, upstream: str, ids: Sequence[str]) -> dict[str, str]:
    """The accounts that these belong to, by id; what is not known is left out."""
    found = run(
        conn,
        f"SELECT id, account FROM belongings WHERE upstream = ? AND id IN ({placeholders(len(ids))})",
        (upstream, *ids),
    )
    return {row[0]: row[1] for row in found}


def where_kept(conn: Connection, id_: str, account: str) -> str | None:
    """The upstream at which an account has this; None where it has no such thing."""
    found = run(
        conn,
        "SELECT upstream FROM belongings WHERE id = ? AND account = ? ORDER BY made_at LIMIT 1",
        (id_, account),
    ).one_or_none()
    return None if found is None else str(found[0])


def awaited(conn: Connection, limit: int) -> list[Awaited]:
    """Answers that nobody waits for any more, their attempts booked as interrupted; oldest first."""
    found = run(
        conn,
        "SELECT b.id, b.upstream, b.attempt, l.account, l.model, COALESCE(l.late_for, l.admitted_at), l.hold"
        " FROM belongings b JOIN ledger l ON l.id = b.attempt"
        " WHERE b.awaited = ? AND l.outcome = 'interrupted' ORDER BY b.made_at LIMIT ?",
        (True, limit),
    )
    return [Awaited(*row) for row in found]


def release(conn: Connection, id_: str, upstream: str) -> bool:
    """Await an answer no more; True for the one caller that was the first to say so."""
    gone = run(
        conn,
        "UPDATE belongings SET awaited = ? WHERE id = ? AND upstream = ? AND awaited = ?",
        (False, id_, upstream, True),
    )
    return gone.rowcount == 1
