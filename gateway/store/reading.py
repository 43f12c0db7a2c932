"""What a reader of the book may see: accounts with everything below them, keys, and names as shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, and_, func, or_, select

from gateway.store.tables import accounts

__all__ = ["Place", "Selection", "accounts_named", "path_of", "places", "stream", "subtree", "with_path"]

ROWS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows to read: whatever is set must match.

    `roots` are accounts, each with everything below it. All of `keys` must match: two keys match nothing.
    `equal` maps provider or model to the value it must have.
    """

    roots: tuple[str, ...] | None = None
    keys: tuple[str, ...] = ()
    equal: Mapping[str, str] = field(default_factory=dict)

    def condition(self, columns: Any) -> ColumnElement[bool]:
        """The WHERE clause for a table with the columns account, key, provider and model."""
        tests = [columns.key == key for key in self.keys]
        tests += [columns[name] == value for name, value in self.equal.items()]
        if self.roots is not None:
            tests.append(columns.account.in_(subtree(self.roots)))
        return and_(True, *tests)


def stream(conn: Connection, statement: Select[Any]) -> Iterator[Row[Any]]:
    """The rows of a statement as they are asked for, however many there are."""
    # Closed with this iterator: whoever stops early must not leave a cursor open on PostgreSQL.
    with conn.execute(statement, execution_options={"yield_per": ROWS_AT_ONCE}) as result:
        yield from result


def subtree(roots: Sequence[str]) -> Select[Any]:
    """The ids of accounts and of everything below them, deleted ones too."""
    tree = select(accounts.c.id).where(accounts.c.id.in_(roots)).cte(recursive=True)
    below = select(accounts.c.id).join(tree, accounts.c.parent == tree.c.id)
    # UNION, not UNION ALL: were the tree ever a circle, this would still end.
    return select(tree.union(below).c.id)


def accounts_named(conn: Connection, name: str, within: str | None) -> tuple[str, ...]:
    """The accounts with this id or path, deleted ones too; only those at or below `within` when it is set.

    A path names one living account, and perhaps deleted ones that had it before.
    """
    query = select(accounts.c.id).where(or_(accounts.c.id == name, accounts.c.path == name))
    if within is not None:
        query = query.where(accounts.c.id.in_(subtree((within,))))
    return tuple(conn.execute(query.order_by(accounts.c.id)).scalars())


class Place(NamedTuple):
    """Where an account stands: its path, the cost centre it is charged to ("" for none), and its parent."""

    path: str
    cost_center: str
    parent: str | None = None


def places(conn: Connection) -> dict[str, Place]:
    """Every account's place by its id, deleted ones too; a cost centre reaches down to the next one."""
    columns = (accounts.c.id, accounts.c.parent, accounts.c.path, accounts.c.cost_center)
    rows = {row.id: row for row in conn.execute(select(*columns))}
    found: dict[str, Place] = {}
    for account, row in rows.items():
        nearest = row
        while not nearest.cost_center and nearest.parent is not None:
            nearest = rows[nearest.parent]
        found[account] = Place(row.path, nearest.cost_center or "", row.parent)
    return found


def with_path(source: FromClause, account: ColumnElement[Any]) -> FromClause:
    """`source` beside the account that each of its rows belongs to, for `path_of`."""
    return source.outerjoin(accounts, accounts.c.id == account)


def path_of(account: ColumnElement[Any]) -> ColumnElement[str]:
    """What is shown for an account: its path, or its id where it is in no table."""
    return func.coalesce(accounts.c.path, account)
