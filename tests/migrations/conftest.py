"""The databases that migrations are tried on."""

from tests.databases import backend, empty_database, migrated_database, postgres, sqlite_template

__all__ = ["backend", "empty_database", "migrated_database", "postgres", "sqlite_template"]
