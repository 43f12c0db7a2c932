"""Each budget in its running window: what is spent, held and left, in the budget's own unit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, true
from sqlalchemy import Row as SqlRow

from gateway.domain.amounts import format_amount
from gateway.domain.periods import Window, window
from gateway.reports.base import Column, Query, Report, Row, Visible
from gateway.reports.holds import leases_by_window
from gateway.reports.percentages import percentage
from gateway.store.reading import path_of, stream, subtree, with_path
from gateway.store.tables import budgets, virtual_keys, windows

__all__ = ["REPORT"]

COLUMNS: Final = (
    Column("budget", "text"),
    Column("name", "text"),
    Column("account", "text"),
    Column("key", "text"),
    Column("provider", "text"),
    Column("models", "json"),
    Column("end_user", "text"),
    Column("tags", "json"),
    Column("each", "text"),
    Column("subject", "text"),
    Column("enforcement", "text"),
    Column("period", "text"),
    Column("timezone", "text"),
    Column("window_start", "instant"),
    Column("resets_at", "instant"),
    Column("unit", "text"),
    Column("cap", "decimal"),
    Column("spent", "decimal"),
    Column("held", "decimal"),
    Column("remaining", "decimal"),
    Column("percentage", "decimal"),
    Column("overrun", "decimal"),
    Column("stranded", "decimal"),
)


def _columns(query: Query) -> tuple[Column, ...]:
    return COLUMNS


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    """A budget that nobody has used in its running window has no row in SQL, and one of zeros here."""
    rows = stream(conn, _statement(query, visible))
    for _, found in groupby(rows, key=lambda row: row.id):
        is_used = False
        for row in found:
            current = window(row.period, query.now_us, row.timezone, row.anchor_day, row.anchor_month)
            # A budget whose period was changed may have two windows that hold this instant.
            if row.starts_at == current.start_us:
                is_used = True
                yield _shown(row, current, _used(row))
        if not is_used:
            yield _shown(row, current, _Figures(row.cap, 0, 0, 0, 0))


class _Figures(NamedTuple):
    """A window's amounts, in the unit of its budget."""

    cap: int
    spent: int
    held: int
    overrun: int
    stranded: int


def _used(row: SqlRow[Any]) -> _Figures:
    return _Figures(row.window_cap, row.spent, row.held, row.overrun, row.stranded)


def _shown(row: SqlRow[Any], current: Window, figures: _Figures) -> Row:
    amounts = {name: format_amount(amount, row.unit) for name, amount in figures._asdict().items()}
    remaining = figures.cap - figures.spent - figures.held
    known = {
        **row._mapping,
        **amounts,
        "budget": row.id,
        "account": row.path,
        "models": _json(row.models),
        "tags": _json(row.tags),
        "window_start": current.start_us,
        "resets_at": current.end_us,
        "remaining": format_amount(remaining, row.unit),
        "percentage": percentage(figures.spent, figures.cap),
    }
    return tuple([known[column.name] for column in COLUMNS])


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _statement(query: Query, visible: Visible) -> Select[Any]:
    now_us = query.now_us
    owner = func.coalesce(budgets.c.account, virtual_keys.c.account)
    runs = and_(
        windows.c.budget == budgets.c.id,
        windows.c.starts_at <= now_us,
        or_(windows.c.ends_at.is_(None), windows.c.ends_at > now_us),
    )
    leased = leases_by_window(now_us)
    source = (
        with_path(budgets.outerjoin(virtual_keys, virtual_keys.c.id == budgets.c.key), owner)
        .outerjoin(windows, runs)
        .outerjoin(leased, leased.c.win == windows.c.id)
    )
    shown = select(
        budgets,
        path_of(owner).label("path"),
        windows.c.starts_at,
        windows.c.subject,
        windows.c.cap.label("window_cap"),
        windows.c.spent,
        windows.c.overrun,
        func.coalesce(leased.c.held, 0).label("held"),
        func.coalesce(leased.c.stranded, 0).label("stranded"),
    )
    living = shown.select_from(source).where(budgets.c.deleted_at.is_(None), _may_see(visible, owner))
    return living.order_by(budgets.c.name, budgets.c.id, windows.c.subject, windows.c.starts_at)


def _may_see(visible: Visible, owner: ColumnElement[str]) -> ColumnElement[bool]:
    """A reader sees budgets on its account and below, or on its own key; others' are not its business."""
    if visible.key is not None:
        return budgets.c.key == visible.key
    return true() if visible.roots is None else owner.in_(subtree(visible.roots))


REPORT = Report(
    name="budgets",
    title="Budgets",
    sentence="Each budget in its running window: cap, spent, held, remaining, and when it resets.",
    parameters=frozenset({"account", "timezone"}),
    columns=_columns,
    rows=_rows,
)
