"""The admin plane's fixtures, for tests beside its folder."""

from tests.api.admin.conftest import plane, signup_grant
from tests.databases import backend, migrated_database, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "plane", "postgres", "signup_grant", "sqlite_template"]
