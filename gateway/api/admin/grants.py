"""Grants: credit for an account. A grant is never changed; another one is given."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from gateway.api.admin.budget_bodies import Amount
from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import Id, Instant, instant, known_instant, microseconds
from gateway.domain.amounts import format_amount
from gateway.domain.budgets import cap_from_text
from gateway.domain.errors import BadRequest
from gateway.domain.tenancy_checks import check_instant, check_label
from gateway.store.accounts import living_account
from gateway.store.grants import Grant, NewGrant, add_grant, grant_by_id, list_grants

__all__ = ["OPERATIONS"]

CreditUnit = Literal["usd", "tokens", "requests"]


class CreateGrant(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Credit to give. Lower `priority` burns first, then earlier expiry."""

    account: Id
    unit: CreditUnit
    amount: Amount
    expires_at: Instant | None = None
    priority: Annotated[int, Meta(ge=0, le=1000)] = 0
    reason: Annotated[str, Meta(max_length=255)] = ""


class GrantAnswer(msgspec.Struct, kw_only=True):
    """A grant: of `amount`, what was burnt, what expired, what remains. `budget` is the account's pool."""

    id: str
    account: str
    budget: str
    unit: CreditUnit
    amount: str
    burnt: str
    expired: str
    remaining: str
    priority: int
    expires_at: datetime | None
    reason: str
    created_at: datetime


class GrantQuery(PageQuery, kw_only=True):
    """Which grants."""

    account: Annotated[str, Meta(max_length=40, description="Only this account's.")] | None = None


def _shown(grant: Grant) -> GrantAnswer:
    return GrantAnswer(
        id=grant.id,
        account=grant.account,
        budget=grant.budget,
        unit=msgspec.convert(grant.unit, CreditUnit),
        amount=format_amount(grant.amount, grant.unit),
        burnt=format_amount(grant.burnt, grant.unit),
        expired=format_amount(grant.expired, grant.unit),
        remaining=format_amount(grant.remaining, grant.unit),
        priority=grant.priority,
        expires_at=instant(grant.expires_at_us),
        reason=grant.reason,
        created_at=known_instant(grant.created_at_us),
    )


def _create(conn: Connection, call: Call[CreateGrant, None]) -> Done:
    body = call.body
    amount = cap_from_text(body.unit, body.amount, param="amount")
    if not amount:
        raise BadRequest("invalid_value", "amount grants nothing.", hint="Give more than 0.", param="amount")
    if body.reason:
        check_label(body.reason, param="reason")
    expires_at_us = None
    if body.expires_at is not None:
        expires_at_us = microseconds(body.expires_at, param="expires_at")
        check_instant(expires_at_us, call.now_us, param="expires_at")
    grant = add_grant(
        conn,
        living_account(conn, body.account, param="account"),
        NewGrant(body.unit, amount, expires_at_us, body.priority, body.reason),
        grant_id=call.new_id("grant"),
        pool_id=call.new_id("bud"),
        now_us=call.now_us,
    )
    answer = _shown(grant)
    return Done(answer, Change("grant.create", grant.id, None, answer))


def _list(conn: Connection, call: Call[None, GrantQuery]) -> Done:
    query = call.query
    rows = list_grants(conn, after=query.after, limit=query.limit + 1, account=query.account)
    return page_of(rows, query.limit, _shown)


def _get(conn: Connection, call: Call[None, None]) -> Done:
    return Done(_shown(grant_by_id(conn, call.path["id"])))


OPERATIONS = (
    Operation(
        name="grants.create",
        method="POST",
        path="/admin/grants",
        summary="Give an account credit",
        run=_create,
        body=CreateGrant,
        answer=GrantAnswer,
        status=201,
        topics=("budgets",),
        problems=(404,),
    ),
    Operation(
        name="grants.list",
        method="GET",
        path="/admin/grants",
        summary="List grants, oldest first, spent and expired ones too",
        run=_list,
        query=GrantQuery,
        answer=Page[GrantAnswer],
    ),
    Operation(
        name="grants.get",
        method="GET",
        path="/admin/grants/{id}",
        summary="Read a grant",
        run=_get,
        answer=GrantAnswer,
        problems=(404,),
    ),
)
