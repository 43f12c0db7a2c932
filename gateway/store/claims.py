"""Claims on Idempotency-Keys: who makes the one upstream call a key stands for.

A claim is made before the call's open record is written. Whoever finds somebody else's claim learns from SQL
what became of it; a claim is taken over only when its call was certainly never sent: its journal is finished,
and the call is not in the book. Nothing is ever taken over because it is slow.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import Connection

from gateway.store.sql import run

__all__ = ["Claim", "Verdict", "claim", "expire_claims", "free_claim"]


class Claim(NamedTuple):
    """One caller's wish to make the call of a key. `owner` is the virtual key's id."""

    owner: str
    idempotency_key: str
    body_hash: bytes
    call: str
    journal: str
    expires_at_us: int


class Verdict(NamedTuple):
    """What a claim came to.

    `mine`: make the call. `mismatch`: the key was used with another body. `ended`: the call is in the book.
    `running`: it is in a living journal. `interrupted`: its machine died, and it may have been sent. The call
    and journal are those that have the key.
    """

    kind: Literal["mine", "mismatch", "ended", "running", "interrupted"]
    call: str
    journal: str


def claim(conn: Connection, wanted: Claim, now_us: int) -> Verdict:
    """Claim the key, or say what became of it. The same claim again (its answer was not heard) is mine."""
    run(
        conn,
        "INSERT INTO claims (owner, idempotency_key, body_hash, call, journal, state, expires_at)"
        " VALUES (?, ?, ?, ?, ?, 'running', ?) ON CONFLICT (owner, idempotency_key) DO NOTHING",
        wanted,
    )
    lock = " FOR UPDATE" if conn.dialect.name == "postgresql" else ""
    found = run(
        conn,
        "SELECT body_hash, call, journal, state, expires_at FROM claims"
        f" WHERE owner = ? AND idempotency_key = ?{lock}",
        wanted[:2],
    ).one()
    body_hash, call, journal, state, expires_at = found
    if call == wanted.call:
        return Verdict("mine", call, journal)
    kind = "interrupted" if state == "interrupted" else _fate(conn, call, journal)
    if kind == "never sent" or (expires_at <= now_us and kind != "running"):
        return _take_over(conn, wanted, journal)
    if bytes(body_hash) != wanted.body_hash:
        return Verdict("mismatch", call, journal)
    if kind == "interrupted":
        run(
            conn,
            "UPDATE claims SET state = 'interrupted' WHERE owner = ? AND idempotency_key = ?",
            wanted[:2],
        )
        return Verdict("interrupted", call, journal)
    return Verdict("ended" if kind == "ended" else "running", call, journal)


def _fate(conn: Connection, call: str, journal: str) -> str:
    """What became of a call of another claim."""
    # A void attempt was refused, which frees the claim, or is being retried, which goes on.
    booked = run(conn, "SELECT 1 FROM ledger WHERE call = ? AND outcome <> 'void' LIMIT 1", (call,))
    if booked.one_or_none() is not None:
        return "ended"
    state = run(conn, "SELECT state FROM journals WHERE id = ?", (journal,)).scalar()
    if state == "live":
        return "running"
    # After a power cut the open record itself may be lost, and with it the knowledge that it was sent.
    return "never sent" if state == "finished" else "interrupted"


def _take_over(conn: Connection, wanted: Claim, old: str) -> Verdict:
    taken = run(
        conn,
        "UPDATE claims SET body_hash = ?, call = ?, journal = ?, state = 'running', expires_at = ?"
        " WHERE owner = ? AND idempotency_key = ? AND journal = ?",
        (
            wanted.body_hash,
            wanted.call,
            wanted.journal,
            wanted.expires_at_us,
            wanted.owner,
            wanted.idempotency_key,
            old,
        ),
    )
    assert taken.rowcount == 1, "the row is locked"
    return Verdict("mine", wanted.call, wanted.journal)


def free_claim(conn: Connection, owner: str, idempotency_key: str, call: str) -> None:
    """A refusal, ours or the provider's, is not remembered: the key may be used again."""
    run(
        conn,
        "DELETE FROM claims WHERE owner = ? AND idempotency_key = ? AND call = ?",
        (owner, idempotency_key, call),
    )


def expire_claims(conn: Connection, now_us: int) -> int:
    """Forget claims past their time whose calls are over; returns how many."""
    gone = run(
        conn,
        "DELETE FROM claims WHERE expires_at <= ? AND journal NOT IN"
        " (SELECT id FROM journals WHERE state = 'live')",
        (now_us,),
    )
    return gone.rowcount
