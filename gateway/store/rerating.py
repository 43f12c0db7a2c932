"""Which booked calls are to be re-rated, and the lock under which that is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select, tuple_

from gateway.store.accounts import subtree_of
from gateway.store.tables import ledger, revisions

__all__ = ["Due", "Selection", "due_calls", "lock_prices"]


class Selection(NamedTuple):
    """Calls admitted in [start, end); of one model (`provider/model`, or its name alone), and of one account
    with all below it, where they are given."""

    start_us: int
    end_us: int
    model: str | None = None
    account: str | None = None


class Due(NamedTuple):
    """A call's place in the order of the book, and its attempt."""

    admitted_at_us: int
    attempt: str


def lock_prices(conn: Connection) -> None:
    """Let no price change, and nobody else re-rate, until this transaction ends."""
    conn.execute(select(revisions.c.number).where(revisions.c.topic == "prices").with_for_update()).all()


def due_calls(conn: Connection, selection: Selection, after: Due | None, limit: int) -> Sequence[Due]:
    """The next calls in the order of their admission; voids cost nothing at any price and are left out."""
    query = select(ledger.c.admitted_at, ledger.c.id).where(
        ledger.c.kind == "call",
        ledger.c.outcome != "void",
        ledger.c.admitted_at >= selection.start_us,
        ledger.c.admitted_at < selection.end_us,
    )
    if selection.model is not None:
        provider, _, model = selection.model.partition("/")
        is_whole_name = (ledger.c.provider == provider) & (ledger.c.model == model)
        query = query.where(is_whole_name | (ledger.c.model == selection.model))
    if selection.account is not None:
        query = query.where(ledger.c.account.in_(subtree_of(conn, selection.account)))
    if after is not None:
        query = query.where(tuple_(ledger.c.admitted_at, ledger.c.id) > tuple_(*after))
    ordered = query.order_by(ledger.c.admitted_at, ledger.c.id).limit(limit)
    return [Due(*row) for row in conn.execute(ordered)]
