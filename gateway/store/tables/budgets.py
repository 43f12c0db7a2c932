"""Budgets, their windows, one-window increases, and grants.

A window row decides alone: the cap is copied into it, so that one conditional UPDATE admits or refuses.
There is no CHECK on `spent + leased <= cap`: a provider that bills more than it was allowed is a fact.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from gateway.store.tables.base import Json, RowId, metadata

__all__ = ["budget_increases", "budgets", "grants", "windows"]

budgets = Table(
    "budgets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=True),
    Column("key", String(40), ForeignKey("virtual_keys.id"), nullable=True),
    Column("models", Json, nullable=False),
    Column("provider", String(64), nullable=True),
    Column("end_user", Text, nullable=True),
    Column("tags", Json, nullable=False),
    Column("each", Text, nullable=True),
    Column("unit", String(16), nullable=False),
    Column("cap", BigInteger, nullable=False),
    Column("period", String(16), nullable=False),
    Column("timezone", Text, nullable=False),
    Column("anchor_day", Integer, nullable=False),
    Column("anchor_month", Integer, nullable=False),
    Column("enforcement", String(8), nullable=False),
    Column("alert_at", Json, nullable=False),
    Column("fallback", Text, nullable=True),
    Column("count_from", String(8), nullable=False),
    Column("funded", Boolean, nullable=False),  # an account's pool of granted credit
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=True),
    Column("revision", BigInteger, nullable=False),
    CheckConstraint("cap >= 0", name="cap_not_negative"),
    Index("ix_budgets_revision", "revision"),
)

windows = Table(
    "windows",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("budget", String(40), ForeignKey("budgets.id"), nullable=False),
    Column("subject", Text, nullable=False),  # the value of `each`; "" without
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=True),  # NULL: lifetime
    Column("cap", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("leased", BigInteger, nullable=False),
    Column("overrun", BigInteger, nullable=False),
    Column("released", BigInteger, nullable=False),
    Column("recall", BigInteger, nullable=False),
    Column("refused_at", BigInteger, nullable=True),  # the first refusal, written once: `budget.exceeded`
    UniqueConstraint("budget", "subject", "starts_at"),
    CheckConstraint("leased >= 0", name="leased_not_negative"),
)

budget_increases = Table(
    "budget_increases",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("win", BigInteger, ForeignKey("windows.id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_by", String(40), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_budget_increases_win", "win"),
)

grants = Table(
    "grants",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=False),
    Column("win", BigInteger, ForeignKey("windows.id"), nullable=False),  # the account's pool
    Column("unit", String(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("burnt", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),  # visible, never vanished
    Column("priority", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=True),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("burnt + expired <= amount", name="not_overdrawn"),
    Index("ix_grants_win", "win"),
)
