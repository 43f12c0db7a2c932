"""The ledger entries of one call and the windows they were counted in, for its receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from gateway.store.tables import budgets, journals, leases, ledger, windows

__all__ = ["Charged", "charged_windows", "entries_of_call", "may_be_posted_soon", "others_complete_until"]

# Of a call's id, so many characters name its journal (`domain.ids`).
JOURNAL_CHARACTERS: Final = 11

FOREVER_US: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Charged:
    """The budget behind one window that a call was counted in."""

    window: int
    budget: str
    name: str
    unit: str
    account: str | None
    key: str | None
    starts_at_us: int
    ends_at_us: int | None


def entries_of_call(conn: Connection, call: str) -> Sequence[Row[Any]]:
    """Every entry of the call, attempts and corrections, oldest first."""
    query = select(ledger).where(ledger.c.call == call).order_by(ledger.c.admitted_at, ledger.c.seq)
    return conn.execute(query).all()


def others_complete_until(conn: Connection, journal: str) -> int:
    """The oldest last word of any other journal that still has calls in flight or unposted.

    Without one nothing is missing: an instant beyond any clock.
    """
    query = (
        select(func.min(journals.c.seen_at))
        .join(leases, leases.c.journal == journals.c.id)
        .where(journals.c.id != journal, journals.c.state == "live", leases.c.held > 0)
    )
    oldest = conn.execute(query).scalar()
    return FOREVER_US if oldest is None else int(oldest)


def may_be_posted_soon(conn: Connection, call: str) -> bool:
    """Whether the journal that a call's id names is a living worker's, who may be about to post it."""
    query = select(journals.c.state).where(journals.c.id == call.removeprefix("call_")[:JOURNAL_CHARACTERS])
    return conn.execute(query).scalar() == "live"


def charged_windows(conn: Connection, ids: Sequence[int]) -> dict[int, Charged]:
    """The windows of these ids, with their budgets, deleted ones too."""
    query = (
        select(
            windows.c.id,
            budgets.c.id,
            budgets.c.name,
            budgets.c.unit,
            budgets.c.account,
            budgets.c.key,
            windows.c.starts_at,
            windows.c.ends_at,
        )
        .join(budgets, budgets.c.id == windows.c.budget)
        .where(windows.c.id.in_(ids))
    )
    return {row[0]: Charged(*row) for row in conn.execute(query)}
