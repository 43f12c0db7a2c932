"""Changing virtual keys. Texts are minted elsewhere: what comes here is a fingerprint and a hint.

A key that was rotated with a grace period has its old text in a row of its own (`rotated_to`), which
follows every change of the key, so that blocking a key leaves no way around.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from gateway.domain.errors import Conflict, NotFound
from gateway.domain.tenancy import VirtualKey
from gateway.store.notices import note_key
from gateway.store.pages import page
from gateway.store.revisions import next_number
from gateway.store.tables import virtual_keys
from gateway.store.tenancy import key_by_id, key_of_row

__all__ = [
    "KeyText",
    "NewKey",
    "change_key",
    "create_key",
    "list_keys",
    "living_key",
    "revoke_key",
    "rotate_key",
]


@dataclass(frozen=True, slots=True)
class KeyText:
    """What is kept of a minted text: its SHA-256, and what may be shown of it."""

    fingerprint: bytes
    hint: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """What an administrator says of a key to be; checked before it comes here."""

    account: str
    name: str
    models: tuple[str, ...] | None
    max_output_tokens: int | None
    on_over_cap: str
    require_end_user: bool
    sees_account: bool
    expires_at_us: int | None
    tags: Mapping[str, str]
    metadata: Mapping[str, Any]


def living_key(conn: Connection, key: str, *, param: str | None = None) -> VirtualKey:
    """The key unless it is revoked; NotFound when there is none, Conflict when it is."""
    found = key_by_id(conn, key)
    if found is None:
        raise NotFound(
            "not_found",
            f"There is no key {key}.",
            hint="GET /admin/keys lists the keys there are; a key's id begins with key_.",
            param=param,
        )
    if found.status == "revoked":
        raise Conflict(
            "conflict",
            f"Key {key} is revoked.",
            hint="A revoked key stays for its history and takes no change; create another.",
            param=param,
        )
    return found


def create_key(conn: Connection, new: NewKey, text: KeyText, *, key_id: str, now_us: int) -> VirtualKey:
    """Add the key to its account, which the caller has found living."""
    conn.execute(
        insert(virtual_keys).values(
            id=key_id,
            account=new.account,
            name=new.name,
            fingerprint=text.fingerprint,
            hint=text.hint,
            models=None if new.models is None else list(new.models),
            max_output_tokens=new.max_output_tokens,
            on_over_cap=new.on_over_cap,
            require_end_user=new.require_end_user,
            sees_account=new.sees_account,
            tags=new.tags,
            metadata=new.metadata,
            status="active",
            expires_at=new.expires_at_us,
            created_at=now_us,
            revoked_at=None,
            rotated_to=None,
            revision=next_number(conn, "keys"),
        )
    )
    made = living_key(conn, key_id)
    note_key(conn, made, "key.created", now_us)
    return made


def change_key(conn: Connection, key: VirtualKey, changes: Mapping[str, Any]) -> VirtualKey:
    """Set columns of the key, and of its old texts but for their expiry, which only ever comes nearer."""
    revision = next_number(conn, "keys")
    changed = update(virtual_keys).where(virtual_keys.c.id == key.id)
    conn.execute(changed.values(**changes, revision=revision))
    shared = {name: value for name, value in changes.items() if name != "expires_at"}
    conn.execute(update(virtual_keys).where(_old_texts_of(key.id)).values(**shared, revision=revision))
    return living_key(conn, key.id)


def rotate_key(
    conn: Connection, key: VirtualKey, text: KeyText, *, old_id: str, grace_until_us: int | None, now_us: int
) -> VirtualKey:
    """Give the key a new text under its id. The old text works until `grace_until_us`; None ends it now.

    `old_id` becomes the id of the row that keeps the old text.
    """
    revision = next_number(conn, "keys")
    row = conn.execute(select(virtual_keys).where(virtual_keys.c.id == key.id)).one()
    renewed = update(virtual_keys).where(virtual_keys.c.id == key.id)
    conn.execute(renewed.values(fingerprint=text.fingerprint, hint=text.hint, revision=revision))
    if grace_until_us is None:
        _revoke(conn, _old_texts_of(key.id), now_us, revision)
    ends = {"status": "revoked", "revoked_at": now_us} if grace_until_us is None else {}
    until = _earlier(row.expires_at, grace_until_us)
    old = {**row._mapping, "id": old_id, "rotated_to": key.id, "expires_at": until, "revision": revision}
    conn.execute(insert(virtual_keys).values(**{**old, **ends}))
    return living_key(conn, key.id)


def revoke_key(conn: Connection, key: VirtualKey, now_us: int) -> None:
    """End the key and its old texts for good; calls that run go on to their end."""
    ended = (virtual_keys.c.id == key.id) | _old_texts_of(key.id)
    _revoke(conn, ended, now_us, next_number(conn, "keys"))
    note_key(conn, key, "key.revoked", now_us)


def list_keys(
    conn: Connection, *, after: str | None, limit: int, account: str | None, with_revoked: bool
) -> list[VirtualKey]:
    """Keys from the oldest on, those after the id `after`; of one account when it is given."""
    query = select(virtual_keys)
    if account is not None:
        query = query.where(virtual_keys.c.account == account)
    if not with_revoked:
        query = query.where(virtual_keys.c.status != "revoked")
    return [
        key_of_row(row) for row in conn.execute(page(conn, query, virtual_keys, after=after, limit=limit))
    ]


def _old_texts_of(key: str) -> ColumnElement[bool]:
    return (virtual_keys.c.rotated_to == key) & (virtual_keys.c.status != "revoked")


def _revoke(conn: Connection, which: ColumnElement[bool], now_us: int, revision: int) -> None:
    ended = update(virtual_keys).where(which)
    conn.execute(ended.values(status="revoked", revoked_at=now_us, revision=revision))


def _earlier(one: int | None, other: int | None) -> int | None:
    known = [instant for instant in (one, other) if instant is not None]
    return min(known, default=None)
