"""Answers of the admin plane to requests that carried an Idempotency-Key, so that a repeat changes nothing.

The row is claimed in the transaction of the change itself, so the change and its answer stand or fall
together. An answer may hold a new key's text, so it is kept sealed (`gateway.domain.seals`) with the key of
the administrator who asked: the database alone cannot read it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table

from gateway.store.tables.base import metadata

__all__ = ["answers"]

answers = Table(
    "answers",
    metadata,
    Column("owner", String(40), primary_key=True),  # the admin key
    Column("idempotency_key", String(255), primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),  # SHA-256 over method, path and body
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # sealed
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_answers_expires_at", "expires_at"),
)
