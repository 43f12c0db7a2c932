"""Leases and journals: which worker holds which headroom, and how far its file has been posted."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
)

from gateway.store.tables.base import metadata

__all__ = ["claims", "doors", "journals", "leases", "quarantine"]

journals = Table(
    "journals",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("data_dir", String(40), nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("posted", BigInteger, nullable=False),
    Column("state", String(20), nullable=False),  # live, finished, finished_unclean
    Column("seen_at", BigInteger, nullable=False),  # shown only: no clock ever decides that a worker is dead
    Column("complete_until", BigInteger, nullable=False),  # its calls admitted before this are all posted
    Column("created_at", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Index("ix_journals_state", "state"),
)

leases = Table(
    "leases",
    metadata,
    Column("journal", String(40), ForeignKey("journals.id"), primary_key=True),
    Column("win", BigInteger, ForeignKey("windows.id"), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),  # shown only: open holds and unposted charges
    Column("answered", BigInteger, nullable=False),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
    Index("ix_leases_win", "win"),
)

doors = Table(
    "doors",
    metadata,
    Column("journal", String(40), primary_key=True),
    Column("address", Text, nullable=False),  # where other machines reach its worker
)

claims = Table(
    "claims",
    metadata,
    Column("owner", String(40), primary_key=True),  # the virtual key
    Column("idempotency_key", String(255), primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("call", String(40), nullable=False),
    Column("journal", String(40), nullable=False),
    Column("state", String(16), nullable=False),  # running, interrupted
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_claims_expires_at", "expires_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("journal", String(40), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("record", LargeBinary, nullable=False),
    Column("amounts", Text, nullable=False),  # JSON [[win, amount], ...]: they count in spent all the same
    Column("error", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
