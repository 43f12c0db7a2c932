"""Answers to admin requests with an Idempotency-Key: claimed before the change, kept with it, replayed.

The claim, the change and the answer are one transaction. A second request with the key waits for the first
to end; it then finds the answer, or, when the first failed and was rolled back, nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, select, text, update

from gateway.domain.errors import Conflict
from gateway.domain.seals import seal, unseal
from gateway.store.tables.answers import answers

__all__ = ["KEPT_US", "Asked", "Kept", "claim", "keep"]

# As long as the data plane remembers its own.
KEPT_US: Final = 24 * 3_600_000_000

_CLAIM = text(
    "INSERT INTO answers (owner, idempotency_key, request_hash, status, body, expires_at)"
    " VALUES (:owner, :key, :hash, 0, :body, :expires_at) ON CONFLICT (owner, idempotency_key) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that wants to happen once: who asks, under which key, and the SHA-256 of what is asked.

    `secret` is the text of the asking admin key, which the answer is sealed with.
    """

    owner: str
    idempotency_key: str
    request_hash: bytes
    secret: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that was given."""

    status: int
    body: bytes


def claim(conn: Connection, asked: Asked, now_us: int) -> Kept | None:
    """Take the key for this transaction; the kept answer when the request was answered before.

    Raises Conflict (`idempotency_mismatch`) when the key was used for another request.
    """
    conn.execute(delete(answers).where(answers.c.expires_at <= now_us))
    row = {
        "owner": asked.owner,
        "key": asked.idempotency_key,
        "hash": asked.request_hash,
        "body": b"",
        "expires_at": now_us + KEPT_US,
    }
    if conn.execute(_CLAIM, row).rowcount == 1:
        return None
    kept = _row(conn, asked)
    if kept.request_hash != asked.request_hash:
        raise Conflict(
            "idempotency_mismatch",
            "This Idempotency-Key was used for another request.",
            hint="Use a new key for a new request; a repeat must be the same to the byte.",
            param="Idempotency-Key",
        )
    return Kept(kept.status, unseal(kept.body, asked.secret, _context(asked, kept.expires_at)))


def keep(conn: Connection, asked: Asked, answer: Kept) -> None:
    """Keep the answer under the claimed key, in the claim's transaction."""
    context = _context(asked, _row(conn, asked).expires_at)
    body = seal(answer.body, asked.secret, context)
    conn.execute(update(answers).where(_is(asked)).values(status=answer.status, body=body))


def _row(conn: Connection, asked: Asked) -> Row[Any]:
    return conn.execute(select(answers).where(_is(asked))).one()


def _is(asked: Asked) -> ColumnElement[bool]:
    return (answers.c.owner == asked.owner) & (answers.c.idempotency_key == asked.idempotency_key)


def _context(asked: Asked, expires_at: int) -> str:
    # A key used again after its day is over gets another stream.
    return f"{asked.idempotency_key}\n{expires_at}"
