"""Targets of alerts, what is to be delivered to them, and a log of every attempt."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from gateway.store.tables.base import Json, metadata

__all__ = ["deliveries", "delivery_attempts", "webhooks"]

# `owner` is the worker that delivers to the target until `owned_until`: one at a time keeps the order, and a
# target that hangs holds up nothing but itself. Target and secrets are sealed; `shown` is not.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=True),
    Column("format", String(16), nullable=False),
    Column("target", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("events", Json, nullable=False),
    Column("status", String(16), nullable=False),  # active, disabled
    Column("reason", Text, nullable=True),  # why the gateway disabled it
    Column("secret", Text, nullable=False),
    Column("old_secret", Text, nullable=True),
    Column("old_secret_until", BigInteger, nullable=True),
    Column("rests_until", BigInteger, nullable=False),  # it did not answer, and is left alone
    Column("owner", String(40), nullable=True),
    Column("owned_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=True),
    Column("revision", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("event", BigInteger, ForeignKey("events.id"), nullable=False),
    Column("webhook", String(40), ForeignKey("webhooks.id"), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("status", String(12), nullable=False),  # pending, delivered, dead
    Column("attempts", Integer, nullable=False),  # since it was made or replayed
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger, nullable=True),
    UniqueConstraint("event", "webhook"),
    Index("ix_deliveries_status_finished_at", "status", "finished_at"),
    Index("ix_deliveries_webhook_status_event", "webhook", "status", "event"),
    Index("ix_deliveries_webhook_subject_status_due_at", "webhook", "subject", "status", "due_at"),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("delivery", String(40), ForeignKey("deliveries.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("took_us", BigInteger, nullable=False),
    Column("status", Integer, nullable=True),
    Column("error", Text, nullable=True),
    PrimaryKeyConstraint("delivery", "at"),
)
