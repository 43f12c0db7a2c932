"""What each account will have spent at the end of its windows, and when a cap is reached.

A row for every account's calendar month, and one for each running window of the budgets in USD on whole
accounts. An account's figures include everything below it, as its budgets do. The method is that of
`domain.outlooks`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, and_, or_, select

from gateway.domain.outlooks import BY_WEEKDAY_DAYS, Ahead, Day, Habit, habit_of, outlook
from gateway.domain.periods import DAY_US, Window, buckets, window
from gateway.domain.zones import EPOCH, zone
from gateway.reports.base import Column, Query, Report, Row, Visible
from gateway.reports.sums import sums
from gateway.store.reading import Place, places, stream, subtree
from gateway.store.tables import budgets, windows

__all__ = ["REPORT"]

COLUMNS: Final = (
    Column("account", "text"),
    Column("budget", "text"),
    Column("period", "text"),
    Column("window_start", "instant"),
    Column("window_end", "instant"),
    Column("spent", "money"),
    Column("forecast", "money"),
    Column("low", "money"),
    Column("high", "money"),
    Column("cap", "money"),
    Column("cap_reached_at", "instant"),
    Column("history_days", "integer"),
    Column("currency", "currency"),
)
# A lifetime has no end: how far ahead its cap is looked for.
LIFETIME_AHEAD_US: Final = 366 * DAY_US


class _Target(NamedTuple):
    """A window to forecast: of a budget, or of an account's month."""

    budget: str | None
    period: str
    window: Window
    spent: int
    cap: int | None


@dataclass(frozen=True, slots=True)
class _Past:
    """What accounts spent, with everything below them, by the local days that `edges_us` bound."""

    edges_us: tuple[int, ...]
    today: int
    costs: Mapping[str, Sequence[int]]

    def since(self, account: str, start_us: int) -> int:
        """What was spent from a day's start until now."""
        return sum(self.costs.get(account, ())[bisect_right(self.edges_us, start_us) - 1 :])

    def days(self, account: str, timezone: str) -> list[Day]:
        """The complete days."""
        first = max(0, self.today - BY_WEEKDAY_DAYS)
        starts = self.edges_us[first : self.today]
        costs = self.costs.get(account, ())[first : self.today]
        return [Day(_weekday(start, timezone), cost) for start, cost in zip(starts, costs, strict=False)]


def _columns(query: Query) -> tuple[Column, ...]:
    return COLUMNS


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    tree = places(conn)
    month = window("month", query.now_us, query.timezone)
    past = _past(conn, query, visible, month, tree)
    found = _budgets(conn, query, visible)
    shown = sorted(past.costs.keys() | found, key=lambda account: (tree[account].path, account))
    for account in shown:
        habit = habit_of(past.days(account, query.timezone))
        own = _Target(None, "month", month, past.since(account, month.start_us), None)
        for target in (own, *found.get(account, ())):
            yield _shown(tree[account].path, target, habit, query)


def _past(
    conn: Connection, query: Query, visible: Visible, month: Window, tree: Mapping[str, Place]
) -> _Past:
    """The last 28 days and the running month, added up from the leaves to the roots that may be seen."""
    today = window("day", query.now_us, query.timezone)
    start_us = min(month.start_us, today.start_us - BY_WEEKDAY_DAYS * DAY_US)
    days = buckets("day", start_us, query.end_us, query.timezone).windows
    edges = (*(day.start_us for day in days), days[-1].end_us or query.end_us)
    asked = replace(query, start_us=edges[0], edges_us=edges).by(("account",))
    seen = _seen(conn, visible)
    costs: dict[str, list[int]] = {}
    for found in sums(conn, asked, visible, ("cost",), by_id=True):
        day = bisect_right(edges, found.bucket_start_us) - 1
        account: str | None = found.group[0]
        while account is not None and account in tree:
            if seen is None or account in seen:
                costs.setdefault(account, [0] * len(days))[day] += found.amounts[0]
            account = None if visible.key is not None else tree[account].parent
    return _Past(edges, bisect_right(edges, today.start_us) - 1, costs)


def _seen(conn: Connection, visible: Visible) -> frozenset[str] | None:
    if visible.roots is None:
        return None
    return frozenset(conn.execute(subtree(visible.roots)).scalars())


def _budgets(conn: Connection, query: Query, visible: Visible) -> dict[str, list[_Target]]:
    """The running windows of budgets in USD on whole accounts; those of a part of one are left out."""
    if visible.key is not None:
        return {}
    found: dict[str, list[_Target]] = {}
    seen = _seen(conn, visible)
    for row in stream(conn, _statement(query.now_us)):
        if row.models or row.tags or (seen is not None and row.account not in seen):
            continue
        running = window(row.period, query.now_us, row.timezone, row.anchor_day, row.anchor_month)
        is_of_window = row.starts_at == running.start_us
        if row.starts_at is None or is_of_window:
            cap, spent = (row.window_cap, row.spent) if is_of_window else (row.cap, 0)
            target = _Target(row.name, row.period, running, spent, cap)
            found.setdefault(row.account, []).append(target)
    return found


def _statement(now_us: int) -> Select[Any]:
    runs = and_(
        windows.c.budget == budgets.c.id,
        windows.c.starts_at <= now_us,
        or_(windows.c.ends_at.is_(None), windows.c.ends_at > now_us),
    )
    shown = select(budgets, windows.c.starts_at, windows.c.cap.label("window_cap"), windows.c.spent)
    parts = (budgets.c.key, budgets.c.provider, budgets.c.end_user, budgets.c.each)
    whole = and_(*(part.is_(None) for part in parts), budgets.c.account.is_not(None))
    living = and_(budgets.c.deleted_at.is_(None), budgets.c.unit == "usd", budgets.c.period != "minute")
    ordered = shown.select_from(budgets.outerjoin(windows, runs)).where(living, whole)
    return ordered.order_by(budgets.c.name, budgets.c.id)


def _shown(path: str, target: _Target, habit: Habit | None, query: Query) -> Row:
    start_us, end_us = target.window.start_us, target.window.end_us
    known = None
    if habit is not None:
        until_us = query.now_us + LIFETIME_AHEAD_US if end_us is None else end_us
        known = outlook(target.spent, habit, _ahead(query.now_us, until_us, query.timezone), target.cap)
    is_open = known is None or end_us is None
    figures = (None, None, None) if known is None or is_open else known[:3]
    reached_us = None if known is None else known.cap_reached_us
    days = 0 if habit is None else habit.days
    return (
        path, target.budget, target.period, start_us, end_us, target.spent, *figures, target.cap,
        reached_us, days, query.currency,
    )  # fmt: skip


def _ahead(now_us: int, end_us: int, timezone: str) -> Iterator[Ahead]:
    days = buckets("day", now_us, end_us, timezone).windows
    bounds = [day.start_us for day in days] + [days[-1].end_us or end_us]
    for start_us, after_us in pairwise(bounds):
        within = max(start_us, now_us), min(after_us, end_us)
        yield Ahead(_weekday(start_us, timezone), *within, after_us - start_us)


def _weekday(at_us: int, timezone: str) -> int:
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(zone(timezone)).weekday()


REPORT = Report(
    name="forecast",
    title="Forecast",
    sentence="What each account will have spent at the end of its windows, and when a cap is reached.",
    parameters=frozenset({"account", "timezone", "currency"}),
    columns=_columns,
    rows=_rows,
)
