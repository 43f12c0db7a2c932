"""A database with a budget in it, on each kind of database."""

from __future__ import annotations

from tests.databases import backend, migrated_database, postgres, sqlite_template
from tests.ledger.conftest import bench

__all__ = ["backend", "bench", "migrated_database", "postgres", "sqlite_template"]
