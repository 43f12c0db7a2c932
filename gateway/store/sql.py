"""Statements of the accounting path: one text for both databases, handed to the driver as it is.

SQLAlchemy's own construction of a statement costs more than these statements do; the texts use `?` for a
parameter, as sqlite3 does, and are respelt for psycopg.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult

__all__ = ["many", "placeholders", "run"]


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


@functools.lru_cache(maxsize=1024)
def _spelt(statement: str, paramstyle: str) -> str:
    return statement if paramstyle == "qmark" else statement.replace("?", "%s")
