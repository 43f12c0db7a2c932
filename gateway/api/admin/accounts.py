"""Accounts: create, list, read, change (move, rename, block), delete."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import Id, Label, Metadata, given, instant, known_instant, unless_absent
from gateway.domain.errors import NotFound
from gateway.domain.tenancy import Account
from gateway.domain.tenancy_checks import check_account_name, check_label, check_metadata
from gateway.domain.zones import check_timezone
from gateway.store.accounts import (
    NewAccount,
    change_account,
    create_account,
    delete_account,
    list_accounts,
    living_account,
    move_account,
)
from gateway.store.grants import NewGrant, add_grant
from gateway.store.tenancy import account_by_id

__all__ = ["OPERATIONS", "AccountAnswer"]

Kind = Annotated[
    str, Meta(min_length=1, max_length=64, description="Your own word: organization, team, project ...")
]
Timezone = Annotated[
    str, Meta(max_length=64, description="IANA name; days and months of reports begin by it.")
]


class CreateAccount(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An account to be."""

    name: Label
    parent: Id | None = None
    kind: Kind = "team"
    cost_center: Label | None = None
    timezone: Timezone = "UTC"
    metadata: Metadata = {}


class ChangeAccount(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change; absent fields stay. Another parent or name moves the subtree's paths along."""

    name: Label | UnsetType = UNSET
    parent: Id | UnsetType | None = UNSET
    kind: Kind | UnsetType = UNSET
    cost_center: Label | UnsetType | None = UNSET
    timezone: Timezone | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    status: Literal["active", "blocked"] | UnsetType = UNSET


class AccountAnswer(msgspec.Struct, kw_only=True):
    """An account. `path` is the names from the root down; `deleted_at` is set once it is deleted."""

    id: str
    name: str
    path: str
    parent: str | None
    kind: str
    cost_center: str | None
    timezone: str
    metadata: Metadata
    status: Literal["active", "blocked"]
    created_at: datetime
    deleted_at: datetime | None


class AccountQuery(PageQuery, kw_only=True):
    """Which accounts."""

    parent: Annotated[str, Meta(max_length=40, description="Only those right below this one.")] | None = None
    path: Annotated[str, Meta(max_length=4096, description="Only the one with this path.")] | None = None
    deleted: Annotated[bool, Meta(description="Deleted ones too.")] = False


def shown(account: Account) -> AccountAnswer:
    """An account as an administrator sees it."""
    return AccountAnswer(
        id=account.id,
        name=account.name,
        path=account.path,
        parent=account.parent,
        kind=account.kind,
        cost_center=account.cost_center,
        timezone=account.timezone,
        metadata=dict(account.metadata),
        status="active" if account.status == "active" else "blocked",
        created_at=known_instant(account.created_at_us),
        deleted_at=instant(account.deleted_at_us),
    )


def _create(conn: Connection, call: Call[CreateAccount, None]) -> Done:
    body = call.body
    check_account_name(body.name)
    _check(kind=body.kind, cost_center=body.cost_center, timezone=body.timezone, metadata=body.metadata)
    new = NewAccount(body.name, body.parent, body.kind, body.cost_center, body.timezone, body.metadata)
    account = create_account(conn, new, account_id=call.new_id("acct"), now_us=call.now_us)
    credit = call.deps.signup_grant
    if credit is not None:
        grant = NewGrant(credit.unit, credit.amount, None, 0, "signup")
        ids = {"grant_id": call.new_id("grant"), "pool_id": call.new_id("bud")}
        add_grant(conn, account, grant, now_us=call.now_us, **ids)
    answer = shown(account)
    return Done(answer, Change("account.create", account.id, None, answer), account.revision)


def _list(conn: Connection, call: Call[None, AccountQuery]) -> Done:
    query = call.query
    rows = list_accounts(
        conn,
        after=query.after,
        limit=query.limit + 1,
        parent=query.parent,
        path=query.path,
        with_deleted=query.deleted,
    )
    return page_of(rows, query.limit, shown)


def _get(conn: Connection, call: Call[None, None]) -> Done:
    account = account_by_id(conn, call.path["id"])
    if account is None:
        raise NotFound(
            "not_found",
            f"There is no account {call.path['id']}.",
            hint="GET /admin/accounts lists the accounts there are.",
        )
    return Done(shown(account), revision=account.revision)


def _update(conn: Connection, call: Call[ChangeAccount, None]) -> Done:
    before = living_account(conn, call.path["id"])
    call.expect(before.revision)
    body = call.body
    changes = given(
        kind=body.kind,
        cost_center=body.cost_center,
        timezone=body.timezone,
        metadata=body.metadata,
        status=body.status,
    )
    _check(**changes)
    after = change_account(conn, before, changes)
    name, parent = unless_absent(body.name, before.name), unless_absent(body.parent, before.parent)
    if (name, parent) != (before.name, before.parent):
        check_account_name(name)
        after = move_account(conn, after, parent=parent, name=name)
    answer = shown(after)
    return Done(answer, Change("account.update", after.id, shown(before), answer), after.revision)


def _delete(conn: Connection, call: Call[None, None]) -> Done:
    account = living_account(conn, call.path["id"])
    delete_account(conn, account, call.now_us)
    return Done(None, Change("account.delete", account.id, shown(account), None))


def _check(**values: Any) -> None:
    for name in ("kind", "cost_center"):
        if values.get(name) is not None:
            check_label(values[name], param=name)
    if "timezone" in values:
        check_timezone(values["timezone"])
    if "metadata" in values:
        check_metadata(values["metadata"])


OPERATIONS = (
    Operation(
        name="accounts.create",
        method="POST",
        path="/admin/accounts",
        summary="Create an account",
        run=_create,
        body=CreateAccount,
        answer=AccountAnswer,
        status=201,
        # A new account may be given credit, whose pool is a budget.
        topics=("accounts", "budgets"),
        problems=(404, 409),
    ),
    Operation(
        name="accounts.list",
        method="GET",
        path="/admin/accounts",
        summary="List accounts, oldest first",
        run=_list,
        query=AccountQuery,
        answer=Page[AccountAnswer],
    ),
    Operation(
        name="accounts.get",
        method="GET",
        path="/admin/accounts/{id}",
        summary="Read an account, deleted ones too",
        run=_get,
        answer=AccountAnswer,
        problems=(404,),
    ),
    Operation(
        name="accounts.update",
        method="PATCH",
        path="/admin/accounts/{id}",
        summary="Change, rename, move or block an account",
        run=_update,
        body=ChangeAccount,
        answer=AccountAnswer,
        topics=("accounts",),
        problems=(404, 409, 412),
    ),
    Operation(
        name="accounts.delete",
        method="DELETE",
        path="/admin/accounts/{id}",
        summary="Delete an account, its keys and its budgets; their history stays",
        run=_delete,
        answer=None,
        status=204,
        topics=("accounts", "keys", "budgets"),
        problems=(404, 409),
    ),
)
