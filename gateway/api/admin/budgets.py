"""Budgets: create, list, read with the running window, change, delete."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import msgspec
from msgspec import Meta, UnsetType
from sqlalchemy import Connection

from gateway.api.admin.budget_bodies import BudgetAnswer, ChangeBudget, CreateBudget, shown_budget
from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import given
from gateway.api.admin.windows import any_budget, open_running, running_window
from gateway.domain.budget_checks import check_budget
from gateway.domain.budgets import Budget, cap_from_text
from gateway.store.accounts import living_account
from gateway.store.budget_changes import (
    change_budget,
    create_budget,
    delete_budget,
    list_budgets,
    living_budget,
)
from gateway.store.virtual_keys import living_key

__all__ = ["OPERATIONS"]


class BudgetQuery(PageQuery, kw_only=True):
    """Which budgets."""

    account: Annotated[str, Meta(max_length=40, description="Only those on this account.")] | None = None
    key: Annotated[str, Meta(max_length=40, description="Only those on this key.")] | None = None


class SubjectQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whose window, for a budget with `each`."""

    subject: Annotated[str, Meta(max_length=255)] | None = None


def _create(conn: Connection, call: Call[CreateBudget, None]) -> Done:
    new = _budget_of(call.body, call.new_id("bud"), call.now_us)
    check_budget(new)
    if new.account is not None:
        living_account(conn, new.account, param="account")
    if new.key is not None:
        living_key(conn, new.key, param="key")
    record = create_budget(conn, new)
    if new.each is None:
        # Opened now, so that the answer says what the running window has already seen.
        open_running(conn, new, "", call.now_us)
    answer = shown_budget(record, running_window(conn, new, None, call.now_us))
    return Done(answer, Change("budget.create", new.id, None, answer), record.revision)


def _budget_of(body: CreateBudget, budget_id: str, now_us: int) -> Budget:
    return Budget(
        id=budget_id,
        name=body.name,
        unit=body.unit,
        cap=cap_from_text(body.unit, body.cap),
        period=body.period,
        timezone=body.timezone,
        anchor_day=body.anchor_day,
        anchor_month=body.anchor_month,
        enforcement=body.enforcement,
        account=body.account,
        key=body.key,
        models=tuple(body.models),
        provider=body.provider,
        end_user=body.end_user,
        tags=body.tags,
        each=body.each,
        alert_at=tuple(body.alert_at),
        fallback=None if body.on_exhausted is None else body.on_exhausted.fallback,
        created_at_us=now_us,
        count_from=body.count_from,
    )


def _list(conn: Connection, call: Call[None, BudgetQuery]) -> Done:
    query = call.query
    rows = list_budgets(conn, after=query.after, limit=query.limit + 1, account=query.account, key=query.key)
    return page_of(
        rows, query.limit, lambda row: shown_budget(row, running_window(conn, row.rule, None, call.now_us))
    )


def _get(conn: Connection, call: Call[None, SubjectQuery]) -> Done:
    record = any_budget(conn, call.path["id"])
    running = running_window(conn, record.rule, call.query.subject, call.now_us)
    return Done(shown_budget(record, running), revision=record.revision)


def _update(conn: Connection, call: Call[ChangeBudget, None]) -> Done:
    before = living_budget(conn, call.path["id"])
    call.expect(before.revision)
    body, rule = call.body, before.rule
    changes = given(name=body.name, enforcement=body.enforcement)
    if not isinstance(body.cap, UnsetType):
        changes["cap"] = cap_from_text(rule.unit, body.cap)
    if not isinstance(body.alert_at, UnsetType):
        changes["alert_at"] = tuple(body.alert_at)
    if not isinstance(body.on_exhausted, UnsetType):
        changes["fallback"] = None if body.on_exhausted is None else body.on_exhausted.fallback
    check_budget(dataclasses.replace(rule, **changes))
    record = change_budget(conn, before, _columns(changes), call.now_us)
    was = shown_budget(before, running_window(conn, rule, None, call.now_us))
    answer = shown_budget(record, running_window(conn, record.rule, None, call.now_us))
    return Done(answer, Change("budget.update", rule.id, was, answer), record.revision)


def _delete(conn: Connection, call: Call[None, None]) -> Done:
    record = living_budget(conn, call.path["id"])
    delete_budget(conn, record.rule.id, call.now_us)
    was = shown_budget(record, running_window(conn, record.rule, None, call.now_us))
    return Done(None, Change("budget.delete", record.rule.id, was, None))


def _columns(changes: dict[str, Any]) -> dict[str, Any]:
    """As the table stores them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}


OPERATIONS = (
    Operation(
        name="budgets.create",
        method="POST",
        path="/admin/budgets",
        summary="Create a budget",
        run=_create,
        body=CreateBudget,
        answer=BudgetAnswer,
        status=201,
        topics=("budgets",),
        problems=(404, 409),
    ),
    Operation(
        name="budgets.list",
        method="GET",
        path="/admin/budgets",
        summary="List budgets with their running windows, oldest first",
        run=_list,
        query=BudgetQuery,
        answer=Page[BudgetAnswer],
    ),
    Operation(
        name="budgets.get",
        method="GET",
        path="/admin/budgets/{id}",
        summary="Read a budget with its running window, deleted ones too",
        run=_get,
        query=SubjectQuery,
        answer=BudgetAnswer,
        problems=(404,),
    ),
    Operation(
        name="budgets.update",
        method="PATCH",
        path="/admin/budgets/{id}",
        summary="Change a budget; a new cap reaches its running window at once",
        run=_update,
        body=ChangeBudget,
        answer=BudgetAnswer,
        topics=("budgets",),
        problems=(404, 409, 412),
    ),
    Operation(
        name="budgets.delete",
        method="DELETE",
        path="/admin/budgets/{id}",
        summary="Delete a budget; its windows and their history stay",
        run=_delete,
        answer=None,
        status=204,
        topics=("budgets",),
        problems=(404,),
    ),
)
