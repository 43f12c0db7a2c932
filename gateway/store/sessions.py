"""One connection of one thread: how it is opened, and what a transaction is on each database.

SQLite: WAL, `synchronous=FULL`; every write transaction begins IMMEDIATE and takes `flock` on a file beside
the database first, because SQLite's own waiting is by sleeps and starves. PostgreSQL: READ COMMITTED, and
timeouts on locks, statements, idle transactions and silent peers, so that a dead one delays nobody for long.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

__all__ = ["Opener", "PostgresSession", "Session", "SqliteReader", "SqliteWriter", "libpq_url", "sqlite_path"]

# Milliseconds, as PostgreSQL takes them.
LOCK_TIMEOUT_MS: Final = 2_000
STATEMENT_TIMEOUT_MS: Final = 15_000
READ_TIMEOUT_MS: Final = 120_000
IDLE_TIMEOUT_MS: Final = 10_000
# How long SQLite waits for a writer that does not take our lock: a migration, a shell.
BUSY_TIMEOUT_S: Final = 5
# Pages (of 4 KiB) in the log at which SQLite copies them back into the database.
CHECKPOINT_PAGES: Final = 4_000


class Session(Protocol):
    """One open connection; `begin`, then `commit` or `rollback`, then again."""

    def begin(self) -> Connection: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...

    @property
    def is_open(self) -> bool:
        """Whether a transaction is open, as the driver knows it."""


Opener = Callable[[], Session]


def sqlite_path(url: str) -> str:
    """The file of `sqlite:///path` (three slashes: relative, four: absolute)."""
    return url.removeprefix("sqlite:///")


def libpq_url(url: str) -> str:
    """The URL as libpq reads it; the form that names a driver is accepted too."""
    return "postgresql://" + url.partition("://")[2]


class SqliteReader:
    """A connection that cannot write; a transaction is one snapshot."""

    def __init__(self, path: str) -> None:
        self._engine = _sqlite_engine(path)
        self._conn = self._engine.connect()
        self._conn.exec_driver_sql("PRAGMA query_only=ON")
        self._conn.rollback()

    def begin(self) -> Connection:
        """Begin; the snapshot is taken by the first read."""
        self._conn.begin()
        self._conn.exec_driver_sql("BEGIN")
        return self._conn

    def commit(self) -> None:
        """End the snapshot."""
        self._conn.commit()

    def rollback(self) -> None:
        """End the snapshot."""
        self._conn.rollback()

    def close(self) -> None:
        """Close the connection."""
        _close(self._conn, self._engine)

    @property
    def is_open(self) -> bool:
        """Whether a transaction is open."""
        return _sqlite_in_transaction(self._conn)


class SqliteWriter:
    """The connection that writes, one transaction at a time over all processes that use this class."""

    def __init__(self, path: str) -> None:
        self._lock = os.open(Path(path).resolve().parent / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._engine = _sqlite_engine(path)
            self._conn = self._engine.connect()
        except BaseException:
            os.close(self._lock)
            raise

    def begin(self) -> Connection:
        """Wait for the lock, in this thread, and begin."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._conn.begin()
            self._conn.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException:
            self._conn.rollback()
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            raise
        return self._conn

    def commit(self) -> None:
        """Commit; the lock is given up when it succeeds, `rollback` gives it up otherwise."""
        self._conn.commit()
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def rollback(self) -> None:
        """Roll back and give up the lock."""
        try:
            self._conn.rollback()
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the connection and, with it, the lock."""
        try:
            _close(self._conn, self._engine)
        finally:
            os.close(self._lock)

    @property
    def is_open(self) -> bool:
        """Whether a transaction is open."""
        return _sqlite_in_transaction(self._conn)


class PostgresSession:
    """A PostgreSQL connection, for writing or only for reading."""

    def __init__(self, url: str, is_writer: bool) -> None:
        timeout_ms = STATEMENT_TIMEOUT_MS if is_writer else READ_TIMEOUT_MS
        self._engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: _postgres_connect(url, timeout_ms, is_writer),
            poolclass=NullPool,
        )
        self._conn = self._engine.connect()

    def begin(self) -> Connection:
        """Begin; the server hears of it with the first statement."""
        self._conn.begin()
        return self._conn

    def commit(self) -> None:
        """Commit."""
        self._conn.commit()

    def rollback(self) -> None:
        """Roll back."""
        self._conn.rollback()

    def close(self) -> None:
        """Close the connection."""
        _close(self._conn, self._engine)

    @property
    def is_open(self) -> bool:
        """Never after COMMIT was sent: whether it took is then the server's to say."""
        return False


def _postgres_connect(url: str, timeout_ms: int, is_writer: bool) -> psycopg.Connection[Any]:
    conn = psycopg.connect(
        libpq_url(url),
        connect_timeout=3,
        keepalives=1,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        application_name="tollgate",
    )
    # A writer's conditional UPDATE must wait for its row and read it again, which only this level does; a
    # reader's statements must see one state.
    levels = psycopg.IsolationLevel
    conn.isolation_level = levels.READ_COMMITTED if is_writer else levels.REPEATABLE_READ
    conn.read_only = not is_writer
    conn.execute(
        f"SET lock_timeout = {LOCK_TIMEOUT_MS}; SET statement_timeout = {timeout_ms}; "
        f"SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}; SET synchronous_commit = on"
    )
    conn.commit()
    return conn


def _sqlite_engine(path: str) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Python's own transaction control would begin deferred ones behind our back.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_in_transaction(conn: Connection) -> bool:
    driver: Any = conn.connection.dbapi_connection
    return bool(driver.in_transaction)


def _close(conn: Connection, engine: Engine) -> None:
    try:
        conn.close()
    finally:
        engine.dispose()
