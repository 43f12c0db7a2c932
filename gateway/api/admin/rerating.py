"""Re-rating booked calls by the prices there are now: shown first, then booked as adjustments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Change, Done, Operation
from gateway.api.admin.values import Id, Instant, known_instant, microseconds
from gateway.domain.errors import BadRequest
from gateway.domain.money import format_usd
from gateway.domain.tenancy_checks import check_label
from gateway.ledger import rerating
from gateway.store.accounts import account_chains
from gateway.store.prices import load_catalogue
from gateway.store.rerating import Due, Selection, due_calls, lock_prices

__all__ = ["OPERATIONS"]


class Rerate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which calls, by their admission; `end` does not belong to them."""

    start: Instant
    end: Instant
    model: Annotated[str, Meta(max_length=320, description="provider/model, or a name alone.")] | None = None
    account: Annotated[Id, Meta(description="This account and those below it.")] | None = None
    dry_run: Annotated[bool, Meta(description="Show what would change, and book nothing.")] = False
    reason: Annotated[str, Meta(min_length=1, max_length=255)] = "rerate"
    limit: Annotated[int, Meta(ge=1, le=5000, description="Calls to look at in one go.")] = 500
    after: Annotated[str, Meta(max_length=64, description="The `next` of the answer before.")] | None = None


class RerateGroup(msgspec.Struct, kw_only=True):
    """The calls of one account and model that cost something else now, in USD."""

    account: str
    model: str
    calls: int
    before: str
    after: str
    change: str


class RerateAnswer(msgspec.Struct, kw_only=True):
    """What was looked at, and what changed; `next` is what to give as `after` for the calls behind."""

    object: str
    dry_run: bool
    start: datetime
    end: datetime
    looked_at: int
    changed: int
    change: str
    data: list[RerateGroup]
    has_more: bool
    next: str | None


def _rerate(conn: Connection, call: Call[Rerate, None]) -> Done:
    body = call.body
    selection = _selection(body)
    check_label(body.reason, param="reason")
    if not body.dry_run:
        lock_prices(conn)
    due = due_calls(conn, selection, _place(body.after), body.limit + 1)
    changes = rerating.rerate(
        conn,
        due[: body.limit],
        load_catalogue(conn),
        account_chains(conn),
        call.deps.prices_of,
        books=not body.dry_run,
        reason=body.reason,
        new_id=partial(call.new_id, "adj"),
        now_us=call.now_us,
    )
    has_more = len(due) > body.limit
    last = due[body.limit - 1] if has_more else None
    answer = RerateAnswer(
        object="rerate",
        dry_run=body.dry_run,
        start=known_instant(selection.start_us),
        end=known_instant(selection.end_us),
        looked_at=min(len(due), body.limit),
        changed=len(changes),
        change=format_usd(sum(each.after_nano - each.before_nano for each in changes)),
        data=_groups(changes),
        has_more=has_more,
        next=None if last is None else f"{last.admitted_at_us}.{last.attempt}",
    )
    is_change = bool(changes) and not body.dry_run
    return Done(answer, Change("rerate", "ledger", None, answer) if is_change else None)


def _selection(body: Rerate) -> Selection:
    start_us, end_us = microseconds(body.start, param="start"), microseconds(body.end, param="end")
    if end_us <= start_us:
        raise BadRequest(
            "invalid_value", "end is not after start.", hint="end itself does not belong to it.", param="end"
        )
    return Selection(start_us, end_us, body.model, body.account)


def _place(after: str | None) -> Due | None:
    if after is None:
        return None
    at, _, attempt = after.partition(".")
    if not attempt or not (at.isascii() and at.isdigit()) or len(at) > 18:
        raise BadRequest(
            "invalid_value", f"{after!a} is no place.", hint="Give the `next` of before.", param="after"
        )
    return Due(int(at), attempt)


def _groups(changes: Iterable[rerating.Change]) -> list[RerateGroup]:
    calls: Counter[tuple[str, str]] = Counter()
    before: Counter[tuple[str, str]] = Counter()
    after: Counter[tuple[str, str]] = Counter()
    for each in changes:
        key = (each.account, f"{each.provider}/{each.model}")
        calls[key] += 1
        before[key] += each.before_nano
        after[key] += each.after_nano
    return [
        RerateGroup(
            account=key[0],
            model=key[1],
            calls=calls[key],
            before=format_usd(before[key]),
            after=format_usd(after[key]),
            change=format_usd(after[key] - before[key]),
        )
        for key in sorted(calls)
    ]


OPERATIONS = (
    Operation(
        name="rerate",
        method="POST",
        path="/admin/rerate",
        summary="Book what calls would have cost by the prices there are now, as adjustments",
        run=_rerate,
        body=Rerate,
        answer=RerateAnswer,
        problems=(404,),
    ),
)
