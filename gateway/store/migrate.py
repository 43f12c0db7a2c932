"""Brings a database to the shape this release needs, and says cheaply whether it has it.

Importing Alembic takes longer than everything else here, so it is loaded only when there is something to do:
a start on a current database reads one row. Several processes may start at once: one migrates inside a
transaction that the others wait for, and they then find nothing to do.
"""

from __future__ import annotations

import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

from gateway.store.sessions import libpq_url, sqlite_path

__all__ = ["FOLDER", "SchemaVersion", "check", "transaction", "upgrade"]

# Beside the package both in a checkout and where a wheel was installed.
FOLDER: Final = Path(__file__).resolve().parents[2] / "migrations"

_RUNNER: Final = "gateway.store.alembic_runner:run"
_NAME: Final = re.compile(r"(\d{4})_\w+\.py")

# Any number will do that nothing else in the database takes; these are the letters "TOLL".
_POSTGRES_LOCK: Final = 0x544F4C4C

# How long a process that starts beside a migrating one waits for it on SQLite.
_SQLITE_WAIT_S: Final = 60


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """The revision a database is at, None when it has no tables yet, and the one this release brings."""

    current: str | None
    head: str

    @property
    def is_behind(self) -> bool:
        """Whether `upgrade` has something to do. A database ahead of this release is served as it is:
        every revision leaves the previous release working."""
        return self.current is None or self.current < self.head


def check(url: str) -> SchemaVersion:
    """Where the database stands. Reads one row; a SQLite file that is missing begins empty."""
    with _engine(url).connect() as conn:
        return _version(conn)


def upgrade(url: str) -> SchemaVersion:
    """Run every revision the database lacks; all of them or, when one fails, none.

    `url` is as `Database` takes it. Returns where the database stood before.
    """
    before = check(url)
    if not before.is_behind:
        return before
    with transaction(url) as conn:
        before = _version(conn)
        if before.is_behind:
            pkgutil.resolve_name(_RUNNER)(conn, FOLDER)
    return before


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """A transaction that one process at a time has, and that CREATE TABLE is part of."""
    with _engine(url).begin() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
        else:
            # Takes the write lock first, so that the version is read by one process at a time.
            conn.exec_driver_sql("BEGIN IMMEDIATE")
        yield conn


def _version(conn: Connection) -> SchemaVersion:
    if not inspect(conn).has_table("alembic_version"):
        return SchemaVersion(None, _head())
    current = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return SchemaVersion(current, _head())


def _head() -> str:
    """The newest revision there is a file for. Their history is a line, and names sort in its order."""
    names = (path.name for path in (FOLDER / "versions").iterdir())
    return max(match[1] for name in names if (match := _NAME.fullmatch(name)))


def _engine(url: str) -> Engine:
    """Connections without a pool and, on SQLite, without Python's own transactions, which would end before
    each CREATE TABLE."""
    if not url.startswith("sqlite:///"):
        return create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(libpq_url(url), application_name="tollgate-migrate"),
            poolclass=NullPool,
        )
    path = Path(sqlite_path(url))
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": _SQLITE_WAIT_S})
    event.listen(engine, "connect", _leave_transactions_to_us)
    return engine


def _leave_transactions_to_us(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
