"""The admin plane's fixtures, for tests beside its folder."""

from tests.api.admin.conftest import more_routes, plane, signup_grant
from tests.databases import backend, migrated_database, postgres, sqlite_template

__all__ = [
    "backend",
    "migrated_database",
    "more_routes",
    "plane",
    "postgres",
    "signup_grant",
    "sqlite_template",
]
