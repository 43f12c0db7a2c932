"""Grants under any sequence of spending, leasing and time: every unit is burnt, expired or still there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import StaticPool

from gateway.domain.tenancy import Account
from gateway.store.accounts import NewAccount, create_account
from gateway.store.grants import NewGrant, add_grant, burn, expire_grants, list_grants
from gateway.store.tables import metadata
from gateway.store.tables.answers import answers

assert answers.metadata is metadata

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), st.integers(1, 50), st.none() | st.integers(1, 30), st.integers(0, 2)),
        st.tuples(st.just("lease"), st.integers(0, 40)),
        st.tuples(st.just("post"), st.integers(0, 40)),
        st.tuples(st.just("return"), st.integers(0, 40)),
        st.tuples(st.just("wait"), st.integers(1, 15)),
        st.tuples(st.just("expire")),
    ),
    max_size=30,
)


@dataclass
class Given:
    """A grant in the auditor's book."""

    amount: int
    ends: int | None
    priority: int
    at: int
    number: int
    burnt: int = 0
    expired: int = 0

    @property
    def left(self) -> int:
        return self.amount - self.burnt - self.expired


class Auditor:
    """The same pool in plain integers, by the rules alone."""

    def __init__(self) -> None:
        self.grants: list[Given] = []
        self.cap = self.spent = self.leased = 0

    def in_order(self) -> list[Given]:
        return sorted(
            self.grants,
            key=lambda each: (each.priority, each.ends is None, each.ends or 0, each.at, f"{each.number:04}"),
        )

    def play(self, number: int, step: tuple[Any, ...], now: int) -> None:
        if step[0] == "grant":
            self.grants.append(
                Given(step[1], None if step[2] is None else now + step[2], step[3], now, number)
            )
            self.cap += step[1]
        elif step[0] == "lease" and self.spent + self.leased + step[1] <= self.cap:
            self.leased += step[1]
        elif step[0] == "return" and self.leased >= step[1]:
            self.leased -= step[1]
        elif step[0] == "post" and self.grants:
            self.spent += step[1]
            self.leased -= min(self.leased, step[1])
            rest = step[1]
            for each in self.in_order():
                part = min(rest, each.left)
                each.burnt, rest = each.burnt + part, rest - part
        elif step[0] == "expire":
            room = max(0, self.cap - self.spent - self.leased)
            for each in self.in_order():
                if each.ends is not None and each.ends <= now:
                    part = min(room, each.left)
                    each.expired, room, self.cap = each.expired + part, room - part, self.cap - part


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_every_unit_is_where_the_auditor_has_it(steps: list[tuple[Any, ...]]) -> None:
    engine, auditor, now = create_engine("sqlite://", poolclass=StaticPool), Auditor(), 0
    metadata.create_all(engine)
    with engine.begin() as conn:
        account = create_account(
            conn, NewAccount("a", None, "team", None, "UTC", {}), account_id="acct_1", now_us=0
        )
        for number, step in enumerate(steps):
            now += step[1] if step[0] == "wait" else 0
            play(conn, account, number, step, now)
            auditor.play(number, step, now)
            compare(conn, auditor)
    engine.dispose()


def play(conn: Connection, account: Account, number: int, step: tuple[Any, ...], now: int) -> None:
    """What workers and administrators do."""
    if step[0] == "grant":
        _, amount, lasts, priority = step
        new = NewGrant("tokens", amount, None if lasts is None else now + lasts, priority, "")
        add_grant(conn, account, new, grant_id=f"grant_{number:04}", pool_id=f"bud_{number}", now_us=now)
    elif step[0] == "lease":
        conn.execute(
            text("UPDATE windows SET leased = leased + :n WHERE spent + leased + :n <= cap"), {"n": step[1]}
        )
    elif step[0] == "return":
        conn.execute(text("UPDATE windows SET leased = leased - :n WHERE leased >= :n"), {"n": step[1]})
    elif step[0] == "post" and (win := conn.execute(text("SELECT id FROM windows")).scalar()) is not None:
        # What is beyond the lease is an overrun: booked in full, and burning what there is.
        conn.execute(
            text("UPDATE windows SET spent = spent + :n, leased = leased - MIN(leased, :n)"), {"n": step[1]}
        )
        burn(conn, win, step[1])
    elif step[0] == "expire":
        expire_grants(conn, now)


def compare(conn: Connection, auditor: Auditor) -> None:
    window = conn.execute(text("SELECT cap, spent, leased FROM windows")).one_or_none()
    assert (window is None) == (not auditor.grants)
    if window is None:
        return
    assert tuple(window) == (auditor.cap, auditor.spent, auditor.leased)
    assert conn.execute(text("SELECT cap FROM budgets")).scalar_one() == auditor.cap
    stored = {grant.id: grant for grant in list_grants(conn, after=None, limit=1000, account=None)}
    for each in auditor.grants:
        grant = stored[f"grant_{each.number:04}"]
        assert (grant.burnt, grant.expired, grant.remaining) == (each.burnt, each.expired, each.left)
    assert auditor.cap == sum(each.amount - each.expired for each in auditor.grants)
    # An overrun apart, nothing is ever taken from under a lease.
    burnt = sum(each.burnt for each in auditor.grants)
    assert burnt + auditor.leased <= auditor.cap or auditor.spent > burnt
