"""What accounts have stored at providers: responses, conversations, containers, files, by the provider's ids.

A row is written with the ledger entry of the attempt that made the thing, in one transaction; that of an
answer made in the background at once, because its maker may ask for it before it is done.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table

from gateway.store.tables.base import metadata

__all__ = ["belongings"]

belongings = Table(
    "belongings",
    metadata,
    Column("id", String(255), primary_key=True),  # as the provider calls it
    Column("upstream", String(64), primary_key=True),
    Column("account", String(40), nullable=False),
    Column("attempt", String(40), nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("awaited", Boolean, nullable=False),  # an answer whose end is not known, nor what it came to
    Index("ix_belongings_awaited", "awaited", "made_at"),
)
