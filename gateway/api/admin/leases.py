"""Leases: which worker has taken how much headroom, and an operator's release of a lost one's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import instant, known_instant
from gateway.domain.amounts import format_amount
from gateway.domain.errors import BadRequest, Conflict, NotFound
from gateway.store.leases import release
from gateway.store.window_figures import LeaseFigures, lease_figures, list_leases

__all__ = ["OPERATIONS"]


class LeaseAnswer(msgspec.Struct, kw_only=True):
    """A worker's lease in one window. `stranded` is said of a worker that has fallen silent, `closed` of a
    window that is over, whose headroom nobody can use any more."""

    id: str
    journal: str
    host: str
    seen_at: datetime
    stranded: bool
    closed: bool
    budget: str
    budget_name: str
    unit: str
    subject: str
    window: str
    start: datetime
    end: datetime | None
    amount: str
    held: str


class ReleaseQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to release."""

    force: Annotated[bool, Meta(description="Even though its worker was heard of lately.")] = False


def _shown(lease: LeaseFigures) -> LeaseAnswer:
    return LeaseAnswer(
        id=f"{lease.journal}.{lease.window}",
        journal=lease.journal,
        host=lease.host,
        seen_at=known_instant(lease.seen_at_us),
        stranded=lease.is_silent,
        closed=lease.is_over,
        budget=lease.budget,
        budget_name=lease.budget_name,
        unit=lease.unit,
        subject=lease.subject,
        window=str(lease.window),
        start=known_instant(lease.start_us),
        end=instant(lease.end_us),
        amount=format_amount(lease.amount, lease.unit),
        held=format_amount(lease.held, lease.unit),
    )


def _list(conn: Connection, call: Call[None, PageQuery]) -> Done:
    query = call.query
    after = None if query.after is None else _pair(query.after)
    if query.after is not None and after is None:
        raise BadRequest(
            "invalid_value",
            f"{query.after!a} is no lease.",
            hint="Give the `next` of the page before.",
            param="after",
        )
    rows = list_leases(conn, after=after, limit=query.limit + 1, now_us=call.now_us)
    return page_of(rows, query.limit, _shown)


def _release(conn: Connection, call: Call[None, ReleaseQuery]) -> Done:
    pair = _pair(call.path["id"])
    if pair is None:
        raise NotFound(
            "not_found",
            f"{call.path['id']} is no lease.",
            hint="GET /admin/leases lists what there is.",
        )
    lease = lease_figures(conn, *pair, call.now_us)
    if not lease.is_silent and not call.query.force:
        raise Conflict(
            "conflict",
            f"The worker on {lease.host} was heard of lately; it returns what it does not need by itself.",
            hint="If it is lost all the same, repeat with ?force=true; what it may still spend is booked.",
        )
    release(conn, *pair)
    after = _shown(lease_figures(conn, *pair, call.now_us))
    return Done(after, Change("lease.release", f"{pair[0]}.{pair[1]}", _shown(lease), after))


def _pair(text: str) -> tuple[str, int] | None:
    """The journal and the window of a lease's id."""
    journal, _, window = text.partition(".")
    if not journal or not (window.isascii() and window.isdigit()) or len(window) > 18:
        return None
    return journal, int(window)


OPERATIONS = (
    Operation(
        name="leases.list",
        method="GET",
        path="/admin/leases",
        summary="List leases",
        run=_list,
        query=PageQuery,
        answer=Page[LeaseAnswer],
    ),
    Operation(
        name="leases.release",
        method="DELETE",
        path="/admin/leases/{id}",
        summary="Take back the headroom of a lost worker in one window",
        run=_release,
        query=ReleaseQuery,
        answer=LeaseAnswer,
        problems=(404, 409),
    ),
)
