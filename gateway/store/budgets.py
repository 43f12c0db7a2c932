"""Budgets as the gate reads them: rows become frozen domain values here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from gateway.domain.budgets import Budget
from gateway.store.tables import budgets

__all__ = ["BudgetChanges", "BudgetRecord", "budget_of_row", "budgets_since", "record_by_id", "record_of_row"]


@dataclass(frozen=True, slots=True)
class BudgetChanges:
    """What changed since a revision: budgets that are (new or changed), and ids of those now deleted."""

    living: tuple[Budget, ...]
    deleted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetRecord:
    """A budget with what the gate has no use for. `is_funded` marks an account's pool of granted credit."""

    rule: Budget
    is_funded: bool
    revision: int
    deleted_at_us: int | None


def budget_of_row(row: Row[Any]) -> Budget:
    """A budget from a full row of its table."""
    return Budget(
        id=row.id,
        name=row.name,
        unit=row.unit,
        cap=row.cap,
        period=row.period,
        timezone=row.timezone,
        anchor_day=row.anchor_day,
        anchor_month=row.anchor_month,
        enforcement=row.enforcement,
        account=row.account,
        key=row.key,
        models=tuple(row.models),
        provider=row.provider,
        end_user=row.end_user,
        tags=row.tags,
        each=row.each,
        alert_at=tuple(row.alert_at),
        fallback=row.fallback,
        created_at_us=row.created_at,
        count_from=row.count_from,
    )


def record_of_row(row: Row[Any]) -> BudgetRecord:
    """A budget and what is kept beside the rule, from a full row."""
    return BudgetRecord(budget_of_row(row), row.funded, row.revision, row.deleted_at)


def record_by_id(conn: Connection, budget: str) -> BudgetRecord | None:
    """The budget, deleted ones too; None when there never was one."""
    row = conn.execute(select(budgets).where(budgets.c.id == budget)).one_or_none()
    return None if row is None else record_of_row(row)


def budgets_since(conn: Connection, revision: int) -> BudgetChanges:
    """Every budget changed after `revision`; 0 gives all there are."""
    query = select(budgets).where(budgets.c.revision > revision).order_by(budgets.c.revision, budgets.c.id)
    rows = conn.execute(query).all()
    return BudgetChanges(
        living=tuple(budget_of_row(row) for row in rows if row.deleted_at is None),
        deleted=tuple(row.id for row in rows if row.deleted_at is not None),
    )
