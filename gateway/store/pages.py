"""Pages of a list: rows in the order of their making, continued after a row that the caller names."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Table, select, tuple_

from gateway.domain.errors import BadRequest

__all__ = ["page"]


def page(conn: Connection, query: Select[Any], table: Table, *, after: str | None, limit: int) -> Select[Any]:
    """The query for at most `limit` rows of `table`, oldest first, made after the row with the id `after`."""
    ordered = query.order_by(table.c.created_at, table.c.id).limit(limit)
    if after is None:
        return ordered
    last = conn.execute(select(table.c.created_at).where(table.c.id == after)).scalar()
    if last is None:
        raise BadRequest(
            "invalid_value",
            f"{after!r} is no id of this list.",
            hint="Give the `next` of the page before.",
            param="after",
        )
    return ordered.where(tuple_(table.c.created_at, table.c.id) > tuple_(last, after))
