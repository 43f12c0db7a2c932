"""Budgets, windows and leases laid out by hand, with the figures a test chooses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert

from gateway.store.tables import budgets, journals, leases, windows

__all__ = ["add_budget", "add_journal", "add_lease", "add_window"]


def add_budget(conn: Connection, budget: str, **columns: Any) -> None:
    """A monthly budget of 100 dollars over everything, but for what `columns` say."""
    conn.execute(
        insert(budgets).values(
            {
                "id": budget,
                "name": budget,
                "account": None,
                "key": None,
                "models": [],
                "provider": None,
                "end_user": None,
                "tags": {},
                "each": None,
                "unit": "usd",
                "cap": 100 * 10**9,
                "period": "month",
                "timezone": "UTC",
                "anchor_day": 1,
                "anchor_month": 1,
                "enforcement": "hard",
                "alert_at": [],
                "fallback": None,
                "count_from": "window",
                "funded": False,
                "created_at": 0,
                "deleted_at": None,
                "revision": 1,
                **columns,
            }
        )
    )


def add_window(
    conn: Connection, window: int, budget: str, starts_at_us: int, ends_at_us: int | None, **columns: Any
) -> None:
    """A window in which nothing has happened, but for what `columns` say."""
    conn.execute(
        insert(windows).values(
            {
                "id": window,
                "budget": budget,
                "subject": "",
                "starts_at": starts_at_us,
                "ends_at": ends_at_us,
                "cap": 100 * 10**9,
                "spent": 0,
                "leased": 0,
                "overrun": 0,
                "released": 0,
                "recall": 0,
                "refused_at": None,
                **columns,
            }
        )
    )


def add_journal(conn: Connection, journal: str, seen_at_us: int) -> None:
    """A worker's journal."""
    conn.execute(
        insert(journals).values(
            id=journal,
            data_dir="data",
            serial=1,
            posted=1,
            state="live",
            seen_at=seen_at_us,
            complete_until=0,
            created_at=0,
            host=f"host of {journal}",
        )
    )


def add_lease(conn: Connection, journal: str, window: int, amount: int, held: int) -> None:
    """What a journal leased and holds."""
    conn.execute(insert(leases).values(journal=journal, win=window, amount=amount, held=held, answered=0))
