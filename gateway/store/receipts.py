"""The ledger entries of one call, for its receipt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from gateway.store.tables import journals, leases, ledger

__all__ = ["entries_of_call", "others_complete_until"]

FOREVER_US: Final = 1 << 62


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
