"""A database looked at without a gateway: is it there, current, on time, and does it know prices?"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.store.migrate import SchemaVersion, check, transaction
from gateway.store.tables import prices

__all__ = ["Condition", "condition"]

# The server's clock. SQLite has none of its own.
_POSTGRES_NOW: Final = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)")


class Condition(NamedTuple):
    """`failure` says why nothing else is known; `now_us` is the database's own clock, None without one."""

    failure: str = ""
    version: SchemaVersion | None = None
    now_us: int | None = None
    prices: int = 0
    newest_price_us: int | None = None


def condition(url: str) -> Condition:
    """Look; raises nothing."""
    try:
        version = check(url)
        if version.is_behind:
            return Condition(version=version)
        with transaction(url) as conn:
            is_postgres = conn.dialect.name == "postgresql"
            now_us = int(conn.execute(_POSTGRES_NOW).scalar_one()) if is_postgres else None
            newest, count = conn.execute(select(func.max(prices.c.created_at), func.count())).one()
        return Condition("", version, now_us, count, newest)
    except (SQLAlchemyError, OSError) as error:
        return Condition(failure=str(error).splitlines()[0])
