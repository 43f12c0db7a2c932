"""Statements of the accounting path: one text for both databases, handed to the driver as it is.

SQLAlchemy's own construction of a statement costs more than these statements do; the texts use `?` for a
parameter, as sqlite3 does, and are respelt for psycopg.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import DBAPIError

__all__ = ["insert_all", "many", "placeholders", "run"]

COPY_FROM_ROWS: Final = 10


def run(conn: Connection, statement: str, parameters: Sequence[Any] = ()) -> CursorResult[*tuple[Any, ...]]:
    """Execute one statement."""
    return conn.exec_driver_sql(_spelt(statement, conn.dialect.paramstyle), tuple(parameters))


def many(conn: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Execute one statement for each row; nothing for none."""
    if rows:
        conn.exec_driver_sql(_spelt(statement, conn.dialect.paramstyle), list(rows))


def placeholders(count: int) -> str:
    """`?, ?, ?`, for an IN list or VALUES."""
    return ", ".join("?" * count)


def insert_all(conn: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many new rows, by PostgreSQL's COPY where there are enough for it to pay."""
    names = ", ".join(columns)
    if conn.dialect.name == "sqlite" or len(rows) < COPY_FROM_ROWS:
        many(conn, f"INSERT INTO {table} ({names}) VALUES ({placeholders(len(columns))})", rows)
        return
    driver: Any = conn.connection.dbapi_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        # As SQLAlchemy would raise it, so that one place tells outcomes apart.
        raise DBAPIError.instance(None, None, error, psycopg.Error) from error


@functools.lru_cache(maxsize=1024)
def _spelt(statement: str, paramstyle: str) -> str:
    return statement if paramstyle == "qmark" else statement.replace("?", "%s")
