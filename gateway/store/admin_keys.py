"""Admin keys: who may use the admin plane, and as what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from gateway.domain.errors import Conflict, NotFound
from gateway.domain.keys import check_admin_key, fingerprint, hint
from gateway.domain.tenancy import AdminKey
from gateway.store import audit
from gateway.store.pages import page
from gateway.store.revisions import next_number
from gateway.store.tables import admin_keys

__all__ = [
    "SYSTEM",
    "admin_by_fingerprint",
    "admin_by_id",
    "any_admin_key",
    "change_admin_key",
    "create_admin_key",
    "ensure_first_admin_key",
    "list_admin_keys",
    "revoke_admin_key",
]

# The actor in the audit log of what the gateway does by itself.
SYSTEM = "system"


def any_admin_key(conn: Connection) -> bool:
    """Whether there ever was one: the first start finds none, and makes or is given the first owner's."""
    return conn.execute(select(func.count()).select_from(admin_keys)).scalar_one() > 0


def ensure_first_admin_key(conn: Connection, text: str, now_us: int) -> bool:
    """Make the given text an owner's key, unless it already is or was a key; True when it was new.

    A text whose key was revoked stays revoked. Raises BadRequest for a text that cannot be an admin key.
    """
    check_admin_key(text, param="TOLLGATE_ADMIN_KEY")
    known = fingerprint(text)
    if _row_by_fingerprint(conn, known) is not None:
        return False
    next_number(conn, "admin_keys")
    # Whoever waited for the number may have waited for a sibling that did the same.
    if _row_by_fingerprint(conn, known) is not None:
        return False
    made = create_admin_key(
        conn, key_id=f"akey_{known.hex()[:24]}", name="first owner", role="owner", text=text, now_us=now_us
    )
    after = {"id": made.id, "name": made.name, "role": made.role, "hint": made.hint}
    audit.record(
        conn,
        at_us=now_us,
        actor=SYSTEM,
        action="admin_key.create",
        object_id=made.id,
        before=None,
        after=after,
    )
    return True


def admin_by_fingerprint(conn: Connection, known: bytes) -> AdminKey | None:
    """The admin key whose text has this SHA-256, unless it is revoked."""
    row = _row_by_fingerprint(conn, known)
    return None if row is None or row.revoked_at is not None else _of_row(row)


def admin_by_id(conn: Connection, key: str) -> AdminKey:
    """The admin key, revoked ones too; NotFound when there never was one."""
    row = conn.execute(select(admin_keys).where(admin_keys.c.id == key)).one_or_none()
    if row is None:
        raise NotFound(
            "not_found",
            f"There is no admin key {key}.",
            hint="GET /admin/admin-keys lists the keys there are.",
        )
    return _of_row(row)


def create_admin_key(
    conn: Connection, *, key_id: str, name: str, role: str, text: str, now_us: int
) -> AdminKey:
    """Add a key with one role."""
    values = {"fingerprint": fingerprint(text), "hint": hint(text), "created_at": now_us}
    revision = next_number(conn, "admin_keys")
    conn.execute(insert(admin_keys).values(id=key_id, name=name, role=role, revision=revision, **values))
    return admin_by_id(conn, key_id)


def change_admin_key(conn: Connection, key: AdminKey, *, name: str, role: str) -> AdminKey:
    """Rename the key or give it another role; Conflict when no owner would be left."""
    revision = next_number(conn, "admin_keys")
    _refuse_revoked(key)
    if key.role == "owner" and role != "owner":
        _refuse_last_owner(conn, key)
    changed = update(admin_keys).where(admin_keys.c.id == key.id)
    conn.execute(changed.values(name=name, role=role, revision=revision))
    return admin_by_id(conn, key.id)


def revoke_admin_key(conn: Connection, key: AdminKey, now_us: int) -> None:
    """End the key; Conflict when no owner would be left."""
    revision = next_number(conn, "admin_keys")
    _refuse_revoked(key)
    if key.role == "owner":
        _refuse_last_owner(conn, key)
    changed = update(admin_keys).where(admin_keys.c.id == key.id)
    conn.execute(changed.values(revoked_at=now_us, revision=revision))


def list_admin_keys(conn: Connection, *, after: str | None, limit: int) -> list[AdminKey]:
    """Admin keys from the oldest on, revoked ones too."""
    query = page(conn, select(admin_keys), admin_keys, after=after, limit=limit)
    return [_of_row(row) for row in conn.execute(query)]


def _row_by_fingerprint(conn: Connection, known: bytes) -> Row[Any] | None:
    return conn.execute(select(admin_keys).where(admin_keys.c.fingerprint == known)).one_or_none()


def _of_row(row: Row[Any]) -> AdminKey:
    return AdminKey(
        id=row.id,
        name=row.name,
        role=row.role,
        fingerprint=row.fingerprint,
        hint=row.hint,
        created_at_us=row.created_at,
        revoked_at_us=row.revoked_at,
        revision=row.revision,
    )


def _refuse_revoked(key: AdminKey) -> None:
    if key.revoked_at_us is not None:
        raise Conflict(
            "conflict", f"Admin key {key.id} is revoked.", hint="It stays for its history; create another."
        )


def _refuse_last_owner(conn: Connection, key: AdminKey) -> None:
    others = select(func.count()).where(
        admin_keys.c.role == "owner", admin_keys.c.revoked_at.is_(None), admin_keys.c.id != key.id
    )
    if conn.execute(others).scalar_one() == 0:
        raise Conflict(
            "conflict",
            f"Admin key {key.id} is the last owner's.",
            hint="Create another key with the role owner first.",
        )
