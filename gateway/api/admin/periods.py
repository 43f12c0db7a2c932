"""Months: close one, list those that are closed, and verify that they still are what they were."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Change, Done, Operation, Page
from gateway.api.admin.values import Id, known_instant
from gateway.domain.money import format_usd
from gateway.domain.months import month_named
from gateway.store.periods import ClosedMonth, close, closed_months, verify

__all__ = ["OPERATIONS"]


class ClosePeriod(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which month to close, in UTC; `without` are journals whose disks are lost."""

    period: Annotated[str, Meta(max_length=40, description="Such as 2026-10.")]
    without: Annotated[list[Id], Meta(max_length=100)] = []


class PeriodAnswer(msgspec.Struct, kw_only=True):
    """A closed month: what it came to, and the hash over that and the month before."""

    id: str
    status: str
    start: datetime
    end: datetime
    closed_at: datetime
    closed_by: str
    entries: int
    cost: str
    list_cost: str
    hash: str


class VerdictAnswer(msgspec.Struct, kw_only=True):
    """Whether a closed month is what it was; `problem` says what differs."""

    period: str
    intact: bool
    problem: str


def _shown(closed: ClosedMonth) -> PeriodAnswer:
    return PeriodAnswer(
        id=closed.month,
        status="closed",
        start=known_instant(closed.starts_at_us),
        end=known_instant(closed.ends_at_us),
        closed_at=known_instant(closed.closed_at_us),
        closed_by=closed.closed_by,
        entries=closed.entries,
        cost=format_usd(closed.charge),
        list_cost=format_usd(closed.list_charge),
        hash=closed.hash.hex(),
    )


def _close(conn: Connection, call: Call[ClosePeriod, None]) -> Done:
    month = month_named(call.body.period)
    answer = _shown(close(conn, month, call.admin.id, call.now_us, call.body.without))
    return Done(answer, Change("period.close", answer.id, None, answer))


def _list(conn: Connection, call: Call[None, None]) -> Done:
    data = [_shown(each) for each in reversed(closed_months(conn))]
    return Done(Page(object="list", data=data, has_more=False, next=None))


def _verify(conn: Connection, call: Call[None, None]) -> Done:
    data = [
        VerdictAnswer(period=each.month, intact=each.is_intact, problem=each.problem) for each in verify(conn)
    ]
    return Done(Page(object="list", data=data, has_more=False, next=None))


OPERATIONS = (
    Operation(
        name="periods.list",
        method="GET",
        path="/admin/periods",
        summary="List the months that are closed, the latest first",
        run=_list,
        answer=Page[PeriodAnswer],
    ),
    Operation(
        name="periods.close",
        method="POST",
        path="/admin/periods",
        summary="Close a month, for ever; what comes later counts in the next open one",
        run=_close,
        body=ClosePeriod,
        answer=PeriodAnswer,
        status=201,
        problems=(409,),
    ),
    Operation(
        name="periods.verify",
        method="GET",
        path="/admin/periods/verification",
        summary="Compare closed months with the totals and hashes they were closed with",
        run=_verify,
        answer=Page[VerdictAnswer],
    ),
)
