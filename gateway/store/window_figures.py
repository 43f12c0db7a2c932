"""Windows and leases as they are shown: what is spent, held by calls in flight, and stranded.

Nothing here decides anything. A lease of a worker that has not been heard of for a while is shown as
stranded instead of held: what became of its calls is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, case, cast, func, select, tuple_

from gateway.domain.errors import BadRequest, NotFound
from gateway.store.tables import budgets, journals, leases, windows

__all__ = [
    "SILENT_US",
    "LeaseFigures",
    "WindowFigures",
    "lease_figures",
    "list_leases",
    "list_windows",
    "window_at",
]

# A living worker moves its journal's row at least every few seconds while it holds anything.
SILENT_US: Final = 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """One window of a budget, in the budget's unit. `id` is None for one that nothing has touched yet.

    `leased` is the headroom that workers have taken, `held` the part of it under calls in flight,
    `stranded` what workers have that have fallen silent.
    """

    id: int | None
    subject: str
    start_us: int
    end_us: int | None
    cap: int
    spent: int
    leased: int
    held: int
    stranded: int
    overrun: int
    released: int

    @property
    def remaining(self) -> int:
        """What calls to come can use: never below 0, for `overrun` tells the rest."""
        return max(0, self.cap - self.spent - self.held - self.stranded)


@dataclass(frozen=True, slots=True)
class LeaseFigures:
    """Headroom that a worker has taken in a window. `is_silent` is about the worker, `is_over` the window."""

    journal: str
    host: str
    seen_at_us: int
    is_silent: bool
    window: int
    is_over: bool
    budget: str
    budget_name: str
    unit: str
    subject: str
    start_us: int
    end_us: int | None
    amount: int
    held: int


def window_at(
    conn: Connection, budget: str, subject: str, start_us: int, now_us: int
) -> WindowFigures | None:
    """The window that begins at this instant; None while nothing has touched it."""
    query = _figures(now_us).where(
        windows.c.budget == budget, windows.c.subject == subject, windows.c.starts_at == start_us
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else _of_row(row)


def list_windows(
    conn: Connection, budget: str, *, subject: str | None, after: int | None, limit: int, now_us: int
) -> list[WindowFigures]:
    """A budget's windows, the latest first, those behind the window `after`; of one subject when given."""
    query = _figures(now_us).where(windows.c.budget == budget)
    if subject is not None:
        query = query.where(windows.c.subject == subject)
    if after is not None:
        last = conn.execute(select(windows.c.starts_at).where(windows.c.id == after)).scalar()
        if last is None:
            raise BadRequest(
                "invalid_value",
                f"{after} is no window of this list.",
                hint="Give the `next` of the page before.",
                param="after",
            )
        query = query.where(tuple_(windows.c.starts_at, windows.c.id) < tuple_(last, after))
    ordered = query.order_by(windows.c.starts_at.desc(), windows.c.id.desc()).limit(limit)
    return [_of_row(row) for row in conn.execute(ordered)]


def list_leases(
    conn: Connection, *, after: tuple[str, int] | None, limit: int, now_us: int
) -> list[LeaseFigures]:
    """Leases by journal and window, those behind the pair `after`."""
    query = _leases().order_by(leases.c.journal, leases.c.win).limit(limit)
    if after is not None:
        query = query.where(tuple_(leases.c.journal, leases.c.win) > tuple_(*after))
    return [_lease_of_row(row, now_us) for row in conn.execute(query)]


def lease_figures(conn: Connection, journal: str, window: int, now_us: int) -> LeaseFigures:
    """One lease; NotFound when there is none."""
    query = _leases().where(leases.c.journal == journal, leases.c.win == window)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFound(
            "not_found",
            f"Journal {journal} has no lease in window {window}.",
            hint="It may have been returned by itself; GET /admin/leases lists what there is.",
        )
    return _lease_of_row(row, now_us)


def _figures(now_us: int) -> Select[Any]:
    silent = (journals.c.state == "live") & (journals.c.seen_at < now_us - SILENT_US)
    held = _sum_of_leases(case((silent, 0), else_=leases.c.held))
    stranded = _sum_of_leases(case((silent, leases.c.amount), else_=0))
    return select(windows, held.label("held"), stranded.label("stranded"))


def _sum_of_leases(amount: ColumnElement[Any]) -> ColumnElement[int]:
    total = func.coalesce(func.sum(amount), 0)
    query = (
        select(cast(total, BigInteger))
        .select_from(leases.join(journals, journals.c.id == leases.c.journal))
        .where(leases.c.win == windows.c.id)
    )
    return query.correlate(windows).scalar_subquery()


def _of_row(row: Row[Any]) -> WindowFigures:
    return WindowFigures(
        id=row.id,
        subject=row.subject,
        start_us=row.starts_at,
        end_us=row.ends_at,
        cap=row.cap,
        spent=row.spent,
        leased=row.leased,
        held=row.held,
        stranded=row.stranded,
        overrun=row.overrun,
        released=row.released,
    )


def _leases() -> Select[Any]:
    source = (
        leases.join(journals, journals.c.id == leases.c.journal)
        .join(windows, windows.c.id == leases.c.win)
        .join(budgets, budgets.c.id == windows.c.budget)
    )
    of_window = (windows.c.subject, windows.c.starts_at, windows.c.ends_at)
    of_budget = (budgets.c.id.label("budget"), budgets.c.name, budgets.c.unit)
    return select(leases, journals.c.host, journals.c.seen_at, *of_window, *of_budget).select_from(source)


def _lease_of_row(row: Row[Any], now_us: int) -> LeaseFigures:
    return LeaseFigures(
        journal=row.journal,
        host=row.host,
        seen_at_us=row.seen_at,
        is_silent=row.seen_at < now_us - SILENT_US,
        window=row.win,
        is_over=row.ends_at is not None and row.ends_at <= now_us,
        budget=row.budget,
        budget_name=row.name,
        unit=row.unit,
        subject=row.subject,
        start_us=row.starts_at,
        end_us=row.ends_at,
        amount=row.amount,
        held=row.held,
    )
