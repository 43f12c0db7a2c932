"""Who holds headroom now: each worker's leases, window by window, and those that lie stranded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Select, case, func, or_, select
from sqlalchemy import Row as SqlRow

from gateway.domain.amounts import format_amount
from gateway.reports.base import Column, Query, Report, Row, Visible
from gateway.reports.holds import is_silent
from gateway.store.reading import path_of, stream, subtree, with_path
from gateway.store.tables import budgets, journals, leases, virtual_keys, windows

__all__ = ["REPORT"]

COLUMNS: Final = (
    Column("budget", "text"),
    Column("name", "text"),
    Column("account", "text"),
    Column("subject", "text"),
    Column("window_start", "instant"),
    Column("window_end", "instant"),
    Column("journal", "text"),
    Column("host", "text"),
    Column("seen_at", "instant"),
    Column("state", "text"),
    Column("unit", "text"),
    Column("leased", "decimal"),
    Column("held", "decimal"),
    Column("stranded", "decimal"),
)


def _columns(query: Query) -> tuple[Column, ...]:
    return COLUMNS


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    for row in stream(conn, _statement(query, visible)):
        yield _shown(row)


def _statement(query: Query, visible: Visible) -> Select[Any]:
    owner = func.coalesce(budgets.c.account, virtual_keys.c.account)
    of_window = leases.join(windows, windows.c.id == leases.c.win).join(
        budgets, budgets.c.id == windows.c.budget
    )
    of_key = of_window.outerjoin(virtual_keys, virtual_keys.c.id == budgets.c.key)
    source = with_path(of_key.join(journals, journals.c.id == leases.c.journal), owner)
    shown = select(
        budgets.c.id.label("budget"),
        budgets.c.name,
        budgets.c.unit,
        path_of(owner).label("account"),
        windows.c.subject,
        windows.c.starts_at.label("window_start"),
        windows.c.ends_at.label("window_end"),
        leases.c.journal,
        leases.c.amount,
        leases.c.held,
        journals.c.host,
        journals.c.seen_at,
        _state(query.now_us),
    )
    found = shown.select_from(source).where(or_(leases.c.amount > 0, leases.c.held > 0))
    if visible.roots is not None:
        found = found.where(owner.in_(subtree(visible.roots)))
    return found.order_by(budgets.c.name, windows.c.id, leases.c.journal)


def _state(now_us: int) -> Any:
    # What is stranded in a window that is over keeps nobody from spending: there is nothing to release.
    over = windows.c.ends_at <= now_us
    return case((~is_silent(now_us), "live"), (over, "closed"), else_="stranded").label("state")


def _shown(row: SqlRow[Any]) -> Row:
    held, stranded = (row.held, 0) if row.state == "live" else (0, row.amount)
    amounts = {"leased": row.amount, "held": held, "stranded": stranded}
    shown = {name: format_amount(amount, row.unit) for name, amount in amounts.items()}
    known = {**row._mapping, **shown}
    return tuple([known[column.name] for column in COLUMNS])


REPORT = Report(
    name="open_holds",
    title="Open holds",
    sentence="What each worker has leased and holds in each window, and what lies stranded.",
    parameters=frozenset({"account", "timezone"}),
    columns=_columns,
    rows=_rows,
    admin_only=True,
)
