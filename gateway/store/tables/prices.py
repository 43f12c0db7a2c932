"""What things cost: the catalogue of models, dated append-only prices, model limits."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from gateway.store.tables.base import Json, metadata

__all__ = ["model_limits", "models", "prices"]

models = Table(
    "models",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("match", Json, nullable=False),  # which served names mean this model: clauses as data
    Column("position", Integer, nullable=False),  # the order in which a provider's clauses are tried
    Column("context_window", BigInteger, nullable=True),
    Column("source", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

prices = Table(
    "prices",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("provider", String(64), nullable=False),
    Column("model", String(255), nullable=False),
    Column("meter", String(32), nullable=False),
    Column("service_tier", String(32), nullable=False),  # "" is the standard tier
    Column(
        "context_over", BigInteger, nullable=False
    ),  # applies once the input total is above this; 0 is the base
    Column("hours", Json, nullable=True),  # {"start","end","timezone"}: minutes of the day; NULL is all day
    Column("price_pico", BigInteger, nullable=False),
    Column("effective_from", BigInteger, nullable=False),
    Column("effective_to", BigInteger, nullable=True),
    Column("account", String(40), ForeignKey("accounts.id"), nullable=True),  # an override for one account
    Column("source", Text, nullable=False),
    Column("source_text", Text, nullable=False),  # the figure as the source wrote it
    Column("rank", Integer, nullable=False),  # whose word counts at the same instant: higher wins
    Column("created_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("ix_prices_model", "provider", "model"),
    Index("ix_prices_revision", "revision"),
)

model_limits = Table(
    "model_limits",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("effective_from", BigInteger, primary_key=True),
    Column("context_window", BigInteger, nullable=True),
    Column("max_output", BigInteger, nullable=True),
    Column("cap_field", String(32), nullable=True),  # the request field that caps the output
    Column("source", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
