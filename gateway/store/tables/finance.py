"""What finance brings along: exchange rates, and what accounts negotiated on prices."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, String, Table, Text

from gateway.store.tables.base import metadata

__all__ = ["fx", "rate_cards"]

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

# Terms are added, and ended at a later instant; what a call was charged by never changes.
rate_cards = Table(
    "rate_cards",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=False),
    Column("provider", String(64), nullable=True),  # NULL, as below: any
    Column("model", Text, nullable=True),  # a pattern
    Column("meter", String(32), nullable=True),
    Column("kind", String(8), nullable=False),  # discount, markup, flat
    Column("amount", BigInteger, nullable=False),  # parts per million, or pico-USD per unit
    Column("text", Text, nullable=False),  # in words, such as "12.5 % discount"
    Column("effective_from", BigInteger, nullable=False),
    Column("effective_to", BigInteger, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
