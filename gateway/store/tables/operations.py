"""What the gateway keeps about itself: revisions, events to the world, the audit log, the database's name."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from gateway.store.tables.base import Json, RowId, metadata

__all__ = ["alarms", "audit", "events", "meta", "revisions"]

# One row per topic (accounts, keys, budgets, prices, admin_keys, webhooks). A change takes the next number by
# UPDATE and stamps it on the rows it touches; the row lock makes numbers commit in order, so a worker
# that polls `number` never misses a change (a sequence would let a later one commit first).
revisions = Table(
    "revisions",
    metadata,
    Column("topic", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# Written in the transaction that caused it; a dispatcher makes it deliveries and says when (`spread_at`).
events = Table(
    "events",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("event", String(64), nullable=False),  # budget.threshold_reached, ledger.overrun ...
    Column("dedupe", String(255), nullable=False, unique=True),  # one per (budget, window, threshold)
    Column("account", String(40), nullable=True),
    Column("subject", String(64), nullable=False),  # deliveries keep order per subject
    Column("data", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("spread_at", BigInteger, nullable=True),
    Index("ix_events_created_at", "created_at"),
    Index("ix_events_spread_at", "spread_at"),
)

# Windows whose end is to be told, because they reached a threshold or refused a call. Windows of minutes may
# be deleted before; what is left then is nothing to tell.
alarms = Table(
    "alarms",
    metadata,
    Column("win", BigInteger, primary_key=True, autoincrement=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("raised_at", BigInteger, nullable=False),
    Index("ix_alarms_ends_at", "ends_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(40), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(64), nullable=False),
    Column("before", Json, nullable=True),
    Column("after", Json, nullable=True),
    Column("hash", LargeBinary, nullable=False),  # SHA-256 over the previous hash and this row
)

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
