"""Who may call: accounts (a tree), virtual keys, admin keys.

`revision` is the number its topic had when the row last changed (see `operations.revisions`): a worker
that knows number n reads `WHERE revision > n` and is up to date.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, String, Table, Text

from gateway.store.tables.base import Json, metadata

__all__ = ["accounts", "admin_keys", "virtual_keys"]

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("parent", String(40), ForeignKey("accounts.id"), nullable=True),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),  # names from the root down, joined by "/"; moves with its parent
    Column("kind", Text, nullable=False),  # organization, team, project ...: the customer's own words
    Column("cost_center", Text, nullable=True),
    Column("timezone", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("status", String(16), nullable=False),  # active, blocked
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=True),  # a deleted account keeps its history
    Column("revision", BigInteger, nullable=False),
    Index("ix_accounts_revision", "revision"),
    Index("ix_accounts_parent", "parent"),
)
# A path names one living account; a deleted one frees it.
Index(
    "uq_accounts_path",
    accounts.c.path,
    unique=True,
    sqlite_where=accounts.c.deleted_at.is_(None),
    postgresql_where=accounts.c.deleted_at.is_(None),
)

virtual_keys = Table(
    "virtual_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column(
        "fingerprint", LargeBinary, nullable=False, unique=True
    ),  # SHA-256; the key itself is never stored
    Column("hint", Text, nullable=False),
    Column("models", Json, nullable=True),  # glob patterns; NULL allows every model
    Column("max_output_tokens", BigInteger, nullable=True),
    Column("on_over_cap", String(8), nullable=False),  # clamp, refuse
    Column("require_end_user", Boolean, nullable=False),
    Column("sees_account", Boolean, nullable=False),  # may read its whole account's spend
    Column("tags", Json, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("status", String(16), nullable=False),  # active, blocked, revoked
    Column("expires_at", BigInteger, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=True),
    Column("rotated_to", String(40), nullable=True),
    Column("revision", BigInteger, nullable=False),
    Index("ix_virtual_keys_revision", "revision"),
    Index("ix_virtual_keys_account", "account"),
)

admin_keys = Table(
    "admin_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(16), nullable=False),  # owner, operator, finance, viewer
    Column("fingerprint", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=True),
    Column("revision", BigInteger, nullable=False),
)
