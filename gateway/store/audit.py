"""The audit log: every change somebody made, who made it, and what was before and after.

Rows are only ever appended. Each carries the SHA-256 over the row before it and its own content, and the
newest hash is kept apart (`meta`), so a changed, missing or cut-off row shows in `verify`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, insert, select, text, update

from gateway.store.tables import audit, meta

__all__ = ["AuditEntry", "Verification", "entries", "record", "verify"]

_HEAD: Final = "audit_head"
_FIRST: Final = "0" * 64
_PART: Final = 1_000

# Reads the newest hash and keeps every other writer of the log waiting until this transaction ends.
_LOCK_HEAD = text(
    "INSERT INTO meta (name, value) VALUES (:name, :first)"
    " ON CONFLICT (name) DO UPDATE SET value = meta.value RETURNING value"
)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change. `actor` is the admin key's id; `action` is like `budget.update`; `object` is an id.

    `before` and `after` hold what the administrator could see, never a secret; None where there was or is
    nothing.
    """

    id: int
    at_us: int
    actor: str
    action: str
    object: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of reading the whole log: how many rows, and the first that does not fit (None: all do).

    `is_cut` says that the newest rows are missing.
    """

    rows: int
    broken_at: int | None
    is_cut: bool

    @property
    def is_intact(self) -> bool:
        """Whether nothing was changed, removed or cut off."""
        return self.broken_at is None and not self.is_cut


def record(
    conn: Connection,
    *,
    at_us: int,
    actor: str,
    action: str,
    object_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """Append a row, inside the transaction of the change it tells of.

    Call it last: it makes other administrators' changes wait until this transaction ends.
    """
    head = conn.execute(_LOCK_HEAD, {"name": _HEAD, "first": _FIRST}).scalar_one()
    row = {
        "at": at_us,
        "actor": actor,
        "action": action,
        "object": object_id,
        "before": before,
        "after": after,
    }
    digest = _digest(bytes.fromhex(head), row)
    conn.execute(insert(audit).values(**row, hash=digest))
    conn.execute(update(meta).where(meta.c.name == _HEAD).values(value=digest.hex()))


def entries(conn: Connection, *, before_id: int | None, limit: int) -> list[AuditEntry]:
    """Rows newest first, older than `before_id` when it is given."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(audit.c.id < before_id)
    return [
        AuditEntry(row.id, row.at, row.actor, row.action, row.object, row.before, row.after, row.hash)
        for row in conn.execute(query)
    ]


def verify(conn: Connection) -> Verification:
    """Read the log from its beginning and compare every hash."""
    known = conn.execute(select(meta.c.value).where(meta.c.name == _HEAD)).scalar()
    previous, rows = bytes.fromhex(_FIRST), 0
    for row in _all_rows(conn):
        rows += 1
        values = row._mapping
        expected = _digest(previous, {name: values[name] for name in _HASHED})
        if expected != row.hash:
            return Verification(rows, row.id, is_cut=False)
        previous = row.hash
    return Verification(rows, None, is_cut=previous.hex() != (known or _FIRST))


def _all_rows(conn: Connection) -> Iterator[Row[Any]]:
    """The log from its beginning, a part at a time: it may be longer than memory is wide."""
    last = 0
    while True:
        query = select(audit).where(audit.c.id > last).order_by(audit.c.id).limit(_PART)
        part = conn.execute(query).all()
        yield from part
        if len(part) < _PART:
            return
        last = part[-1].id


_HASHED: Final = ("at", "actor", "action", "object", "before", "after")


def _digest(previous: bytes, row: Mapping[str, Any]) -> bytes:
    content = msgspec.json.encode([row[name] for name in _HASHED], order="sorted")
    return hashlib.sha256(previous + content).digest()
