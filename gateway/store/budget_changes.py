"""Changing budgets. A window decides with the cap copied into it, so every change of a cap goes to both.

Locks are taken in one order, the budget's row before its windows and windows by ascending id, which is
also the order of the workers' own transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, case, cast, func, insert, select, update

from gateway.domain.budgets import CAP_MAX, Budget
from gateway.domain.errors import BadRequest, Conflict, NotFound
from gateway.store.budgets import BudgetRecord, record_by_id, record_of_row
from gateway.store.pages import page
from gateway.store.revisions import next_number
from gateway.store.tables import budget_increases, budgets, windows

__all__ = [
    "Increase",
    "change_budget",
    "create_budget",
    "delete_budget",
    "increase_window",
    "list_budgets",
    "list_increases",
    "living_budget",
]


@dataclass(frozen=True, slots=True)
class Increase:
    """One raise of one window's cap, in the budget's unit."""

    id: str
    win: int
    amount: int
    reason: str
    made_by: str
    created_at_us: int


def living_budget(conn: Connection, budget: str) -> BudgetRecord:
    """The budget; NotFound when there is none or it is deleted."""
    found = record_by_id(conn, budget)
    if found is None or found.deleted_at_us is not None:
        raise NotFound(
            "not_found",
            f"There is no budget {budget}.",
            hint="GET /admin/budgets lists the budgets there are.",
        )
    return found


def create_budget(conn: Connection, new: Budget) -> BudgetRecord:
    """Add a budget that was checked as a whole, and whose account and key the caller has found living."""
    conn.execute(
        insert(budgets).values(
            id=new.id,
            name=new.name,
            account=new.account,
            key=new.key,
            models=list(new.models),
            provider=new.provider,
            end_user=new.end_user,
            tags=dict(new.tags),
            each=new.each,
            unit=new.unit,
            cap=new.cap,
            period=new.period,
            timezone=new.timezone,
            anchor_day=new.anchor_day,
            anchor_month=new.anchor_month,
            enforcement=new.enforcement,
            alert_at=list(new.alert_at),
            fallback=new.fallback,
            count_from=new.count_from,
            funded=False,
            created_at=new.created_at_us,
            deleted_at=None,
            revision=next_number(conn, "budgets"),
        )
    )
    return living_budget(conn, new.id)


def change_budget(
    conn: Connection, budget: BudgetRecord, changes: Mapping[str, Any], now_us: int
) -> BudgetRecord:
    """Set columns of the budget; a new cap reaches its windows in the same transaction.

    `changes` may hold name, cap, enforcement, alert_at and fallback. Conflict for the cap of an account's
    pool of credit, which follows its grants.
    """
    if budget.is_funded and "cap" in changes:
        raise Conflict(
            "conflict",
            f"The cap of {budget.rule.name} is the sum of the account's grants.",
            hint="Give the account another grant: POST /admin/grants.",
            param="cap",
        )
    revision = next_number(conn, "budgets")
    changed = update(budgets).where(budgets.c.id == budget.rule.id)
    conn.execute(changed.values(**changes, revision=revision))
    if "cap" in changes:
        _set_window_caps(conn, budget.rule.id, changes["cap"], now_us)
    return living_budget(conn, budget.rule.id)


def delete_budget(conn: Connection, budget: str, now_us: int) -> None:
    """End the budget: no new holds; its windows settle what is held, and stay."""
    revision = next_number(conn, "budgets")
    ended = update(budgets).where(budgets.c.id == budget)
    conn.execute(ended.values(deleted_at=now_us, revision=revision))


def increase_window(
    conn: Connection,
    win: int,
    amount: int,
    *,
    increase_id: str,
    reason: str,
    made_by: str,
    now_us: int,
) -> Increase:
    """Raise the cap of one window; the windows after it begin with the budget's own cap again."""
    revision = next_number(conn, "budgets")
    raised = update(windows).where(windows.c.id == win, windows.c.cap <= CAP_MAX - amount)
    renewed = {"cap": windows.c.cap + amount, "recall": windows.c.recall + 1, "refused_at": None}
    if conn.execute(raised.values(renewed)).rowcount != 1:
        raise BadRequest(
            "invalid_value", "No cap can be raised so far.", hint="Raise it by less.", param="amount"
        )
    # Stamped although the budget itself stays as it is: workers read a changed budget's windows afresh.
    owner = select(windows.c.budget).where(windows.c.id == win).scalar_subquery()
    conn.execute(update(budgets).where(budgets.c.id == owner).values(revision=revision))
    made = Increase(increase_id, win, amount, reason, made_by, now_us)
    conn.execute(
        insert(budget_increases).values(
            id=made.id, win=win, amount=amount, reason=reason, made_by=made_by, created_at=now_us
        )
    )
    return made


def list_increases(conn: Connection, budget: str, *, after: str | None, limit: int) -> list[Increase]:
    """The raises of a budget's windows, oldest first, those after the id `after`."""
    query = (
        select(budget_increases)
        .join(windows, windows.c.id == budget_increases.c.win)
        .where(windows.c.budget == budget)
    )
    rows = conn.execute(page(conn, query, budget_increases, after=after, limit=limit))
    return [Increase(row.id, row.win, row.amount, row.reason, row.made_by, row.created_at) for row in rows]


def list_budgets(
    conn: Connection, *, after: str | None, limit: int, account: str | None, key: str | None
) -> list[BudgetRecord]:
    """Living budgets from the oldest on, those after the id `after`; of one account or key when given."""
    query = select(budgets).where(budgets.c.deleted_at.is_(None))
    if account is not None:
        query = query.where(budgets.c.account == account)
    if key is not None:
        query = query.where(budgets.c.key == key)
    rows = conn.execute(page(conn, query, budgets, after=after, limit=limit))
    return [record_of_row(row) for row in rows]


def _set_window_caps(conn: Connection, budget: str, cap: int, now_us: int) -> None:
    """The new cap, and what this window was increased by, in each window that is not over yet."""
    ids = conn.execute(
        select(windows.c.id).where(_not_over(budget, now_us)).order_by(windows.c.id).with_for_update()
    ).scalars()
    increased = select(func.coalesce(func.sum(budget_increases.c.amount), 0)).where(
        budget_increases.c.win == windows.c.id
    )
    changed = update(windows).where(windows.c.id.in_(ids.all()))
    # PostgreSQL sums to NUMERIC, which must not reach a comparison with what is spent.
    total = cast(cap + increased.scalar_subquery(), BigInteger)
    bounded = case((total > CAP_MAX, CAP_MAX), else_=total)
    # The first refusal under the new cap is news again.
    conn.execute(changed.values(cap=bounded, recall=windows.c.recall + 1, refused_at=None))


def _not_over(budget: str, now_us: int) -> ColumnElement[bool]:
    return (windows.c.budget == budget) & (windows.c.ends_at.is_(None) | (windows.c.ends_at > now_us))
