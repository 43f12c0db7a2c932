"""The windows of budgets: the running one, those there were, and raises of one window's cap."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from gateway.api.admin.budget_bodies import Amount, WindowAnswer, shown_window
from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import Label, known_instant
from gateway.domain.amounts import format_amount
from gateway.domain.budgets import Budget, cap_from_text
from gateway.domain.errors import BadRequest, NotFound
from gateway.domain.periods import Window, window
from gateway.domain.tenancy_checks import check_label
from gateway.store.budget_changes import Increase, increase_window, list_increases, living_budget
from gateway.store.budgets import BudgetRecord, record_by_id
from gateway.store.window_figures import WindowFigures, list_windows, window_at
from gateway.store.windows import Opening, open_window

__all__ = ["OPERATIONS", "any_budget", "open_running", "running_window"]


class CreateIncrease(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """By how much to raise the running window's cap, and why; `subject` says whose, under an `each`."""

    amount: Amount
    reason: Label
    subject: Annotated[str, Meta(max_length=255)] = ""


class IncreaseAnswer(msgspec.Struct, kw_only=True):
    """A raise of one window's cap."""

    id: str
    window: str
    amount: str
    reason: str
    made_by: str
    created_at: datetime


class WindowQuery(PageQuery, kw_only=True):
    """Which windows."""

    subject: Annotated[str, Meta(max_length=255, description="Only of this value of `each`.")] | None = None


def any_budget(conn: Connection, budget: str) -> BudgetRecord:
    """The budget, deleted ones too."""
    record = record_by_id(conn, budget)
    if record is None:
        raise NotFound(
            "not_found",
            f"There is no budget {budget}.",
            hint="GET /admin/budgets lists the budgets there are.",
        )
    return record


def running_window(conn: Connection, rule: Budget, subject: str | None, now_us: int) -> WindowFigures | None:
    """The window that a call admitted now would be in; None for all of an `each` budget's at once."""
    if rule.each is not None and subject is None:
        return None
    now = _window_of(rule, now_us)
    figures = window_at(conn, rule.id, subject or "", now.start_us, now_us)
    if figures is not None:
        return figures
    return WindowFigures(None, subject or "", now.start_us, now.end_us, rule.cap, 0, 0, 0, 0, 0, 0)


def open_running(conn: Connection, rule: Budget, subject: str, now_us: int) -> int:
    """The row of the window that a call admitted now would be in, made if nothing has touched it yet."""
    now = _window_of(rule, now_us)
    opened = open_window(conn, Opening(rule.id, subject, now.start_us, now.end_us))
    assert opened is not None, "the budget was read in this transaction"
    return opened.window


def _window_of(rule: Budget, now_us: int) -> Window:
    return window(rule.period, now_us, rule.timezone, rule.anchor_day, rule.anchor_month)


def _windows(conn: Connection, call: Call[None, WindowQuery]) -> Done:
    rule, query = any_budget(conn, call.path["id"]).rule, call.query
    rows = list_windows(
        conn,
        rule.id,
        subject=query.subject,
        after=_window_id(query.after),
        limit=query.limit + 1,
        now_us=call.now_us,
    )
    return page_of(rows, query.limit, lambda figures: shown_window(figures, rule.unit))


def _increase(conn: Connection, call: Call[CreateIncrease, None]) -> Done:
    rule, body = living_budget(conn, call.path["id"]).rule, call.body
    check_label(body.reason, param="reason")
    amount = cap_from_text(rule.unit, body.amount, param="amount")
    if not amount:
        raise BadRequest("invalid_value", "amount raises nothing.", hint="Give more than 0.", param="amount")
    _check_subject(rule, body.subject)
    win = open_running(conn, rule, body.subject, call.now_us)
    increase = increase_window(
        conn,
        win,
        amount,
        increase_id=call.new_id("inc"),
        reason=body.reason,
        made_by=call.admin.id,
        now_us=call.now_us,
    )
    answer = _shown_increase(increase, rule.unit)
    return Done(answer, Change("budget.increase", rule.id, None, answer))


def _increases(conn: Connection, call: Call[None, PageQuery]) -> Done:
    rule, query = any_budget(conn, call.path["id"]).rule, call.query
    rows = list_increases(conn, rule.id, after=query.after, limit=query.limit + 1)
    return page_of(rows, query.limit, lambda increase: _shown_increase(increase, rule.unit))


def _shown_increase(increase: Increase, unit: str) -> IncreaseAnswer:
    return IncreaseAnswer(
        id=increase.id,
        window=str(increase.win),
        amount=format_amount(increase.amount, unit),
        reason=increase.reason,
        made_by=increase.made_by,
        created_at=known_instant(increase.created_at_us),
    )


def _check_subject(rule: Budget, subject: str) -> None:
    if (rule.each is None) == bool(subject):
        hint = "Leave it out." if rule.each is None else f"Say which {rule.each} is meant."
        raise BadRequest("invalid_value", f"This budget has each {rule.each}.", hint=hint, param="subject")


def _window_id(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest("invalid_value", f"{text!a} is no window.", hint="Give `next`.", param="after")
    return int(text)


OPERATIONS = (
    Operation(
        name="budgets.windows",
        method="GET",
        path="/admin/budgets/{id}/windows",
        summary="List a budget's windows, latest first",
        run=_windows,
        query=WindowQuery,
        answer=Page[WindowAnswer],
        problems=(404,),
    ),
    Operation(
        name="budgets.increase",
        method="POST",
        path="/admin/budgets/{id}/increases",
        summary="Raise the cap of the running window alone",
        run=_increase,
        body=CreateIncrease,
        answer=IncreaseAnswer,
        status=201,
        topics=("budgets",),
        problems=(404,),
    ),
    Operation(
        name="budgets.increases",
        method="GET",
        path="/admin/budgets/{id}/increases",
        summary="List the raises of a budget's windows, oldest first",
        run=_increases,
        query=PageQuery,
        answer=Page[IncreaseAnswer],
        problems=(404,),
    ),
)
