"""Leases as reports show them: what is held by workers that are heard of, and what lies stranded.

No clock ever decides that a worker is dead: its lease stays its own, and only an operator releases it. What
is decided here is a word. A lease of a worker that was not heard of for SILENT_AFTER_US is called stranded,
in full, because nobody can tell how much of it was spent; it is not called held.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, ColumnElement, Subquery, case, cast, func, select

from gateway.store.tables import journals, leases

__all__ = ["SILENT_AFTER_US", "is_silent", "leases_by_window"]

# A worker with calls in flight writes at least when one of them ends; the longest silence that is usual is
# that of one long answer.
SILENT_AFTER_US: Final = 15 * 60 * 1_000_000


def is_silent(now_us: int) -> ColumnElement[bool]:
    """Whether a journal has not been heard of for a while."""
    return journals.c.seen_at < now_us - SILENT_AFTER_US


def leases_by_window(now_us: int) -> Subquery:
    """`win`, `held` (by workers that are heard of) and `stranded` (leased to the others)."""
    silent = is_silent(now_us)
    held = func.sum(case((silent, 0), else_=leases.c.held))
    stranded = func.sum(case((silent, leases.c.amount), else_=0))
    return (
        select(
            leases.c.win,
            cast(held, BigInteger).label("held"),
            cast(stranded, BigInteger).label("stranded"),
        )
        .select_from(leases.join(journals, journals.c.id == leases.c.journal))
        .group_by(leases.c.win)
        .subquery()
    )
