"""Grants: credit given to an account, and the pool it is spent from.

An account has one pool per unit: a `funded` budget for its lifetime, whose one window's cap is the sum of
what its grants still stand for. Workers lease, hold and post in that window like in any other. Which grant
burns is decided at posting, under the window's row lock, by priority, then earlier expiry, then age: exact
over all workers, with no lease per grant. Expiry takes back only what is not leased, so credit of a call in
flight does not vanish; what was taken is kept as `expired`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, nulls_last, select, update

from gateway.domain.budgets import CAP_MAX
from gateway.domain.errors import BadRequest, NotFound
from gateway.domain.tenancy import Account
from gateway.store.pages import page
from gateway.store.revisions import next_number
from gateway.store.tables import budgets, grants, windows

__all__ = ["Grant", "NewGrant", "add_grant", "burn", "expire_grants", "grant_by_id", "list_grants"]


@dataclass(frozen=True, slots=True)
class NewGrant:
    """What an administrator, or a new account, gives: an amount in the unit, until `expires_at_us`."""

    unit: str
    amount: int
    expires_at_us: int | None
    priority: int
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant and what became of it: `amount` is `burnt`, `expired`, or still there."""

    id: str
    account: str
    budget: str
    unit: str
    amount: int
    burnt: int
    expired: int
    priority: int
    expires_at_us: int | None
    reason: str
    created_at_us: int

    @property
    def remaining(self) -> int:
        """What calls can still spend of it."""
        return self.amount - self.burnt - self.expired


def add_grant(
    conn: Connection, account: Account, new: NewGrant, *, grant_id: str, pool_id: str, now_us: int
) -> Grant:
    """Give the account credit; its pool of that unit is made, with the id `pool_id`, when it has none."""
    revision = next_number(conn, "budgets")
    pool = _pool(conn, account.id, new.unit)
    if pool is None:
        _make_pool(conn, account, new.unit, pool_id, now_us, revision)
        pool = pool_id
    win = _raise_cap(conn, pool, new.amount, revision)
    conn.execute(
        insert(grants).values(
            id=grant_id,
            account=account.id,
            win=win,
            unit=new.unit,
            amount=new.amount,
            burnt=0,
            expired=0,
            priority=new.priority,
            expires_at=new.expires_at_us,
            reason=new.reason,
            created_at=now_us,
        )
    )
    return grant_by_id(conn, grant_id)


def grant_by_id(conn: Connection, grant: str) -> Grant:
    """The grant; NotFound when there is none."""
    row = conn.execute(_grants_with_pool().where(grants.c.id == grant)).one_or_none()
    if row is None:
        raise NotFound(
            "not_found", f"There is no grant {grant}.", hint="GET /admin/grants lists the grants there are."
        )
    return _of_row(row)


def list_grants(conn: Connection, *, after: str | None, limit: int, account: str | None) -> list[Grant]:
    """Grants from the oldest on, expired and burnt ones too; of one account when it is given."""
    query = _grants_with_pool()
    if account is not None:
        query = query.where(grants.c.account == account)
    return [_of_row(row) for row in conn.execute(page(conn, query, grants, after=after, limit=limit))]


def burn(conn: Connection, win: int, amount: int) -> None:
    """Spend `amount` (zero or more) of the window's grants, in the order in which they burn.

    Called in the transaction that adds the amount to the window's `spent`, after that UPDATE has locked the
    row. What a provider bills beyond all credit burns nothing: it is the window's overrun.
    """
    for grant in _open_grants(conn, win):
        if not amount:
            return
        part = min(amount, grant.amount - grant.burnt - grant.expired)
        conn.execute(update(grants).where(grants.c.id == grant.id).values(burnt=grants.c.burnt + part))
        amount -= part


def expire_grants(conn: Connection, now_us: int) -> int:
    """Take back what is left of grants whose time is over, as far as it is not leased; returns the number
    of pools touched. What is leased is taken by a later run, once it has been returned or posted.
    """
    due = select(grants.c.win).where(
        grants.c.expires_at <= now_us, grants.c.burnt + grants.c.expired < grants.c.amount
    )
    pools = conn.execute(due.distinct().order_by(grants.c.win)).scalars().all()
    if pools:
        revision = next_number(conn, "budgets")
        for win in pools:
            _expire_in(conn, win, now_us, revision)
    return len(pools)


def _expire_in(conn: Connection, win: int, now_us: int, revision: int) -> None:
    pool = select(windows.c.budget).where(windows.c.id == win).scalar_subquery()
    # The budget's row is locked before the window's, in the order of everybody else.
    conn.execute(select(budgets.c.id).where(budgets.c.id == pool).with_for_update())
    # Recalls idle leases whether or not there is room now, so that a later run finds some.
    locked = update(windows).where(windows.c.id == win).values(recall=windows.c.recall + 1)
    now = conn.execute(locked.returning(windows.c.cap, windows.c.spent, windows.c.leased)).one()
    taken = _take_expired(conn, win, now_us, max(0, now.cap - now.spent - now.leased))
    cap = now.cap - taken
    conn.execute(update(windows).where(windows.c.id == win).values(cap=cap))
    conn.execute(update(budgets).where(budgets.c.id == pool).values(cap=cap, revision=revision))


def _take_expired(conn: Connection, win: int, now_us: int, room: int) -> int:
    """Book what is left of expired grants as expired, at most `room` in all; returns how much it was."""
    taken = 0
    for grant in _open_grants(conn, win):
        if grant.expires_at is None or grant.expires_at > now_us:
            continue
        part = min(grant.amount - grant.burnt - grant.expired, room - taken)
        conn.execute(update(grants).where(grants.c.id == grant.id).values(expired=grants.c.expired + part))
        taken += part
    return taken


def _pool(conn: Connection, account: str, unit: str) -> str | None:
    query = select(budgets.c.id).where(
        budgets.c.account == account,
        budgets.c.unit == unit,
        budgets.c.funded.is_(True),
        budgets.c.deleted_at.is_(None),
    )
    return conn.execute(query).scalar()


def _make_pool(
    conn: Connection, account: Account, unit: str, pool_id: str, now_us: int, revision: int
) -> None:
    conn.execute(
        insert(budgets).values(
            id=pool_id,
            name=f"{account.name} credit ({unit})",
            account=account.id,
            key=None,
            models=[],
            provider=None,
            end_user=None,
            tags={},
            each=None,
            unit=unit,
            cap=0,
            period="lifetime",
            timezone=account.timezone,
            anchor_day=1,
            anchor_month=1,
            enforcement="hard",
            alert_at=[80, 100],
            fallback=None,
            # Credit pays for what comes after it, not for what was spent before there was any.
            count_from="now",
            funded=True,
            created_at=now_us,
            deleted_at=None,
            revision=revision,
        )
    )
    conn.execute(
        insert(windows).values(
            budget=pool_id,
            subject="",
            starts_at=0,
            ends_at=None,
            cap=0,
            spent=0,
            leased=0,
            overrun=0,
            released=0,
            recall=0,
            refused_at=None,
        )
    )


def _raise_cap(conn: Connection, pool: str, amount: int, revision: int) -> int:
    """Add to the caps of the pool and of its one window; returns the window's id."""
    raised = update(budgets).where(budgets.c.id == pool, budgets.c.cap <= CAP_MAX - amount)
    if conn.execute(raised.values(cap=budgets.c.cap + amount, revision=revision)).rowcount != 1:
        raise BadRequest(
            "invalid_value", "No account can have so much credit.", hint="Grant less.", param="amount"
        )
    window = update(windows).where(windows.c.budget == pool)
    changed = window.values(cap=windows.c.cap + amount, recall=windows.c.recall + 1, refused_at=None)
    return int(conn.execute(changed.returning(windows.c.id)).scalar_one())


def _open_grants(conn: Connection, win: int) -> Sequence[Row[Any]]:
    """Grants of the pool with something left, in the order in which they burn."""
    query = select(grants).where(grants.c.win == win, grants.c.burnt + grants.c.expired < grants.c.amount)
    order = (grants.c.priority, nulls_last(grants.c.expires_at), grants.c.created_at, grants.c.id)
    return conn.execute(query.order_by(*order)).all()


def _grants_with_pool() -> Any:
    return select(grants, windows.c.budget).join(windows, windows.c.id == grants.c.win)


def _of_row(row: Row[Any]) -> Grant:
    return Grant(
        id=row.id,
        account=row.account,
        budget=row.budget,
        unit=row.unit,
        amount=row.amount,
        burnt=row.burnt,
        expired=row.expired,
        priority=row.priority,
        expires_at_us=row.expires_at,
        reason=row.reason,
        created_at_us=row.created_at,
    )
