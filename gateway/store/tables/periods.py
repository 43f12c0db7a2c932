"""Closed months, and the triggers that keep their rows as they are, whoever writes to the database.

Of a closed month nothing can be added to the ledger or to the sums, taken from them or changed in them,
and nobody can open it again. What stays free is what erasure needs: end users and the provider's own usage
object.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import DDL, BigInteger, Column, LargeBinary, String, Table, event

from gateway.store.tables.base import metadata
from gateway.store.tables.ledger import end_user_rollups, ledger, rollups, tag_rollups

__all__ = ["periods"]

periods = Table(
    "periods",
    metadata,
    Column("month", String(7), primary_key=True),  # 2026-10, in UTC
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    Column("closed_by", String(40), nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("charge", BigInteger, nullable=False),
    Column("list_charge", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # SHA-256 over the hash of the month before and the totals
)

_FREE: Final = ("end_user", "raw_usage")
_LOCKED: Final = (
    (ledger, "admitted_at"),
    (rollups, "slot"),
    (end_user_rollups, "slot"),
    (tag_rollups, "slot"),
)


def _sqlite(table: Table, instant: str) -> list[str]:
    name = table.name

    def refuse(action: str, what: str, *rows: str) -> str:
        within = " OR ".join(f"{row}.{instant} >= starts_at AND {row}.{instant} < ends_at" for row in rows)
        return (
            f"CREATE TRIGGER {name}_closed_{action} BEFORE {what} ON {name}"
            f" WHEN EXISTS (SELECT 1 FROM periods WHERE {within})"
            " BEGIN SELECT RAISE(ABORT, 'the period is closed'); END"
        )

    return [
        refuse("insert", "INSERT", "NEW"),
        refuse("update", f"UPDATE OF {_columns(table)}", "OLD", "NEW"),
        refuse("delete", "DELETE", "OLD"),
    ]


def _postgresql(table: Table, instant: str) -> list[str]:
    name = table.name

    def refuse(action: str, what: str, *rows: str) -> list[str]:
        within = " OR ".join(f"{row}.{instant} >= starts_at AND {row}.{instant} < ends_at" for row in rows)
        return [
            f"CREATE FUNCTION {name}_closed_{action}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF EXISTS (SELECT 1 FROM periods WHERE {within}) THEN"
            " RAISE EXCEPTION 'the period is closed' USING ERRCODE = 'check_violation'; END IF;"
            f" RETURN {rows[-1]}; END $$",
            f"CREATE TRIGGER {name}_closed_{action} BEFORE {what} ON {name}"
            f" FOR EACH ROW EXECUTE FUNCTION {name}_closed_{action}()",
        ]

    return [
        *refuse("insert", "INSERT", "NEW"),
        *refuse("update", f"UPDATE OF {_columns(table)}", "OLD", "NEW"),
        *refuse("delete", "DELETE", "OLD"),
    ]


def _columns(table: Table) -> str:
    return ", ".join(column.name for column in table.columns if column.name not in _FREE)


_STAY_SQLITE: Final = [
    f"CREATE TRIGGER periods_stay_{action.lower()} BEFORE {action} ON periods"
    " BEGIN SELECT RAISE(ABORT, 'a closed period stays closed'); END"
    for action in ("UPDATE", "DELETE")
]
_STAY_POSTGRESQL: Final = [
    "CREATE FUNCTION periods_stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " RAISE EXCEPTION 'a closed period stays closed' USING ERRCODE = 'check_violation'; END $$",
    "CREATE TRIGGER periods_stay BEFORE UPDATE OR DELETE ON periods"
    " FOR EACH ROW EXECUTE FUNCTION periods_stay()",
]


def _after_create(dialect: str, statements: Iterable[str]) -> None:
    made: Any = DDL  # has no types
    for statement in statements:
        event.listen(metadata, "after_create", made(statement).execute_if(dialect=dialect))


for _table, _instant in _LOCKED:
    _after_create("sqlite", _sqlite(_table, _instant))
    _after_create("postgresql", _postgresql(_table, _instant))
_after_create("sqlite", _STAY_SQLITE)
_after_create("postgresql", _STAY_POSTGRESQL)
