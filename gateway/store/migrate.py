"""Brings a database to the shape this release needs, and says cheaply whether it has it.

Importing Alembic takes longer than everything else here, so it is loaded only when there is something to do:
a start on a current database reads one row. Several processes may start at once: one migrates inside a
transaction that the others wait for, and they then find nothing to do.
"""

from __future__ import annotations

import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

__all__ = ["FOLDER", "SchemaVersion", "check", "transactional_engine", "upgrade"]

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


def check(engine: Engine) -> SchemaVersion:
    """Where the database stands; reads one row and changes nothing."""
    with engine.connect() as conn:
        return _version(conn)


def upgrade(engine: Engine) -> SchemaVersion:
    """Run every revision the database lacks; all of them or, when one fails, none.

    Returns where the database stood before.
    """
    before = check(engine)
    if not before.is_behind:
        return before
    own = transactional_engine(engine)
    with own.begin() as conn:
        if engine.dialect.name == "postgresql":
            conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
        before = _version(conn)
        if before.is_behind:
            pkgutil.resolve_name(_RUNNER)(conn, FOLDER)
    return before


def _version(conn: Connection) -> SchemaVersion:
    if not inspect(conn).has_table("alembic_version"):
        return SchemaVersion(None, _head())
    current = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return SchemaVersion(current, _head())


def _head() -> str:
    """The newest revision there is a file for. Their history is a line, and names sort in its order."""
    numbers = [match[1] for path in (FOLDER / "versions").iterdir() if (match := _NAME.fullmatch(path.name))]
    return max(numbers)


def transactional_engine(engine: Engine) -> Engine:
    """An engine of the same database whose transactions are real ones, for CREATE TABLE too."""
    if engine.dialect.name != "sqlite":
        return engine
    own = create_engine(engine.url, poolclass=NullPool, connect_args={"timeout": _SQLITE_WAIT_S})
    event.listen(own, "connect", _leave_transactions_to_us)
    event.listen(own, "begin", _begin_immediate)
    return own


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    # Python's sqlite3 would otherwise commit before each CREATE TABLE.
    connection.isolation_level = None


def _begin_immediate(conn: Connection) -> None:
    # Takes the write lock first, so that the version is read by one process at a time.
    conn.exec_driver_sql("BEGIN IMMEDIATE")
