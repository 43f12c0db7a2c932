"""What finance brings along: exchange rates."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text

from gateway.store.tables.base import metadata

__all__ = ["fx"]

# One row per currency and day, never changed: a report of last month reads the same rates for ever.
fx = Table(
    "fx",
    metadata,
    Column("currency", String(3), primary_key=True),
    Column("day", String(10), primary_key=True),  # ISO 8601; in force until the next one's
    Column("rate_nano", BigInteger, nullable=False),  # billionths of the currency's unit for one USD
    Column("source", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
