"""Reading accounts and virtual keys: rows become frozen domain values here and nowhere else."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from gateway.domain.tenancy import Account, VirtualKey
from gateway.store.tables import accounts, virtual_keys

__all__ = [
    "account_by_id",
    "account_of_row",
    "accounts_since",
    "key_by_fingerprint",
    "key_by_id",
    "key_of_row",
    "keys_since",
]


def account_of_row(row: Row[Any]) -> Account:
    """An account from a full row of its table."""
    return Account(
        id=row.id,
        name=row.name,
        path=row.path,
        parent=row.parent,
        kind=row.kind,
        cost_center=row.cost_center,
        timezone=row.timezone,
        metadata=row.metadata,
        status=row.status,
        created_at_us=row.created_at,
        deleted_at_us=row.deleted_at,
        revision=row.revision,
    )


def key_of_row(row: Row[Any]) -> VirtualKey:
    """A virtual key from a full row of its table."""
    return VirtualKey(
        id=row.id,
        account=row.account,
        name=row.name,
        fingerprint=row.fingerprint,
        hint=row.hint,
        models=None if row.models is None else tuple(row.models),
        max_output_tokens=row.max_output_tokens,
        on_over_cap=row.on_over_cap,
        require_end_user=row.require_end_user,
        sees_account=row.sees_account,
        tags=row.tags,
        metadata=row.metadata,
        status=row.status,
        expires_at_us=row.expires_at,
        created_at_us=row.created_at,
        revoked_at_us=row.revoked_at,
        rotated_to=row.rotated_to,
        revision=row.revision,
    )


def account_by_id(conn: Connection, account: str) -> Account | None:
    """The account, deleted ones too; None when there never was one."""
    row = conn.execute(select(accounts).where(accounts.c.id == account)).one_or_none()
    return None if row is None else account_of_row(row)


def accounts_since(conn: Connection, revision: int) -> list[Account]:
    """Every account changed after `revision`, oldest change first, deleted ones included; 0 gives all."""
    query = (
        select(accounts).where(accounts.c.revision > revision).order_by(accounts.c.revision, accounts.c.id)
    )
    return [account_of_row(row) for row in conn.execute(query)]


def key_by_id(conn: Connection, key: str) -> VirtualKey | None:
    """The virtual key of any status, by id."""
    row = conn.execute(select(virtual_keys).where(virtual_keys.c.id == key)).one_or_none()
    return None if row is None else key_of_row(row)


def key_by_fingerprint(conn: Connection, fingerprint: bytes) -> VirtualKey | None:
    """The virtual key whose text has this SHA-256, of any status; the caller judges the status."""
    row = conn.execute(select(virtual_keys).where(virtual_keys.c.fingerprint == fingerprint)).one_or_none()
    return None if row is None else key_of_row(row)


def keys_since(conn: Connection, revision: int) -> list[VirtualKey]:
    """Every virtual key changed after `revision`, oldest change first, of any status; 0 gives all."""
    query = (
        select(virtual_keys)
        .where(virtual_keys.c.revision > revision)
        .order_by(virtual_keys.c.revision, virtual_keys.c.id)
    )
    return [key_of_row(row) for row in conn.execute(query)]
