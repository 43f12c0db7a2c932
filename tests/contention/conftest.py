"""A database with the tables, of each kind."""

from __future__ import annotations

from tests.databases import backend, migrated_database, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "postgres", "sqlite_template"]
