"""Databases for the tests of the directory."""

from tests.databases import backend, migrated_database, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "postgres", "sqlite_template"]
