"""What a budget and its windows look like in requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.api.admin.values import Id, Label, Tags, instant, known_instant
from gateway.domain.amounts import format_amount
from gateway.domain.budgets import Unit
from gateway.domain.periods import PERIODS
from gateway.store.budgets import BudgetRecord
from gateway.store.window_figures import WindowFigures

__all__ = [
    "Amount",
    "BudgetAnswer",
    "ChangeBudget",
    "CreateBudget",
    "WindowAnswer",
    "shown_budget",
    "shown_window",
]

Amount = Annotated[
    str,
    Meta(max_length=48, description="USD as a decimal string; tokens, requests and calls as whole numbers."),
]
Thresholds = Annotated[list[int], Meta(description="Percentages of the cap at which to alert.")]
Period = Annotated[str, Meta(extra_json_schema={"enum": list(PERIODS)})]
Enforcement = Literal["hard", "soft"]


class OnExhausted(msgspec.Struct, forbid_unknown_fields=True):
    """What to do with a call that the budget cannot pay: serve it by a cheaper model."""

    fallback: Annotated[str, Meta(min_length=1, max_length=255)]


class CreateBudget(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A budget to be. It applies to the calls that match every scope field that is set."""

    name: Label
    cap: Amount
    period: Period
    unit: Unit = "usd"
    account: Id | None = None
    key: Id | None = None
    models: list[str] = []
    provider: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    end_user: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    tags: Tags = {}
    each: (
        Annotated[
            str,
            Meta(
                max_length=128, description="end_user, key or tag:NAME: a window of its own for each of them."
            ),
        ]
        | None
    ) = None
    timezone: Annotated[str, Meta(max_length=64)] = "UTC"
    anchor_day: int = 1
    anchor_month: int = 1
    enforcement: Enforcement = "hard"
    alert_at: Thresholds = []
    on_exhausted: OnExhausted | None = None
    count_from: Annotated[
        Literal["window", "now"], Meta(description="Whether the running window's spend so far counts.")
    ] = "window"


class ChangeBudget(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change. Scope, unit and period stay what they are: another one is another budget."""

    name: Label | UnsetType = UNSET
    cap: Amount | UnsetType = UNSET
    enforcement: Enforcement | UnsetType = UNSET
    alert_at: Thresholds | UnsetType = UNSET
    on_exhausted: OnExhausted | UnsetType | None = UNSET


class WindowAnswer(msgspec.Struct, kw_only=True):
    """A window's figures, in the budget's unit. `id` is null for one that nothing has touched yet."""

    id: str | None
    subject: str
    start: datetime
    end: datetime | None
    cap: str
    spent: str
    held: str
    leased: str
    stranded: str
    overrun: str
    released: str
    remaining: str


class BudgetAnswer(msgspec.Struct, kw_only=True):
    """A budget. `window` is the running one; null for a budget with `each`, unless `subject` names whose.

    `funded` marks an account's pool of granted credit.
    """

    id: str
    name: str
    account: str | None
    key: str | None
    models: list[str]
    provider: str | None
    end_user: str | None
    tags: Tags
    each: str | None
    unit: Unit
    cap: str
    period: Period
    timezone: str
    anchor_day: int
    anchor_month: int
    enforcement: Enforcement
    alert_at: list[int]
    on_exhausted: OnExhausted | None
    count_from: Literal["window", "now"]
    funded: bool
    created_at: datetime
    deleted_at: datetime | None
    spent: str | None
    window: WindowAnswer | None


def shown_budget(record: BudgetRecord, running: WindowFigures | None) -> BudgetAnswer:
    """A budget as an administrator sees it."""
    rule = record.rule
    return BudgetAnswer(
        id=rule.id,
        name=rule.name,
        account=rule.account,
        key=rule.key,
        models=list(rule.models),
        provider=rule.provider,
        end_user=rule.end_user,
        tags=dict(rule.tags),
        each=rule.each,
        unit=rule.unit,
        cap=format_amount(rule.cap, rule.unit),
        period=rule.period,
        timezone=rule.timezone,
        anchor_day=rule.anchor_day,
        anchor_month=rule.anchor_month,
        enforcement="hard" if rule.is_hard else "soft",
        alert_at=list(rule.alert_at),
        on_exhausted=None if rule.fallback is None else OnExhausted(rule.fallback),
        count_from="now" if rule.count_from == "now" else "window",
        funded=record.is_funded,
        created_at=known_instant(rule.created_at_us),
        deleted_at=instant(record.deleted_at_us),
        spent=None if running is None else format_amount(running.spent, rule.unit),
        window=None if running is None else shown_window(running, rule.unit),
    )


def shown_window(figures: WindowFigures, unit: str) -> WindowAnswer:
    """A window as an administrator sees it."""
    return WindowAnswer(
        id=None if figures.id is None else str(figures.id),
        subject=figures.subject,
        start=known_instant(figures.start_us),
        end=instant(figures.end_us),
        cap=format_amount(figures.cap, unit),
        spent=format_amount(figures.spent, unit),
        held=format_amount(figures.held, unit),
        leased=format_amount(figures.leased, unit),
        stranded=format_amount(figures.stranded, unit),
        overrun=format_amount(figures.overrun, unit),
        released=format_amount(figures.released, unit),
        remaining=format_amount(figures.remaining, unit),
    )
