"""Webhooks: where alerts go. Create, list, read, change, delete, test, rotate, and what was delivered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection

from gateway.api.admin.deliveries import DeliveryAnswer, Status, shown_delivery
from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import Id, given, instant, known_instant
from gateway.domain.event_types import check_event_patterns
from gateway.store.accounts import living_account
from gateway.store.deliveries import list_deliveries, make_test
from gateway.store.webhooks import (
    NewWebhook,
    Webhook,
    change_webhook,
    create_webhook,
    delete_webhook,
    list_webhooks,
    living_webhook,
    rotate_webhook,
)

__all__ = ["OPERATIONS"]

Format = Literal["standard", "slack", "pagerduty", "email"]
Events = Annotated[
    list[str], Meta(description="Which events: names, or patterns such as `budget.*`; `*` is every one.")
]
_DAY_S: Final = 86_400


class CreateWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A webhook to be. With `account` it hears only of that account and those below it."""

    target: Annotated[str, Meta(min_length=1, max_length=2_000, description="A URL, a key or an address.")]
    format: Format = "standard"
    events: Events = msgspec.field(default_factory=lambda: ["budget.*"])
    account: Id | None = None


class ChangeWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change; absent fields stay. `active` takes up a webhook that was disabled."""

    events: Events | UnsetType = UNSET
    status: Literal["active", "disabled"] | UnsetType = UNSET


class RotateWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to rotate: for so long messages are signed with both secrets."""

    overlap_s: Annotated[int, Meta(ge=0, le=30 * _DAY_S)] = _DAY_S


class WebhookAnswer(msgspec.Struct, kw_only=True):
    """A webhook. `target` leaves out what is secret of it; `reason` says why the gateway disabled it;
    `resting_until` is set while it does not answer; `rotating_until` while two secrets sign."""

    id: str
    target: str
    format: Format
    events: list[str]
    account: str | None
    status: Literal["active", "disabled"]
    reason: str | None
    resting_until: datetime | None
    rotating_until: datetime | None
    created_at: datetime


class NewWebhookAnswer(WebhookAnswer, kw_only=True):
    """A webhook with its signing secret, which is shown this once; null where nothing is signed."""

    secret: str | None


class DeliveryQuery(PageQuery, kw_only=True):
    """Which deliveries."""

    status: Status | None = None


def _shown(webhook: Webhook, now_us: int) -> WebhookAnswer:
    return WebhookAnswer(**_fields(webhook, now_us))


def _fields(webhook: Webhook, now_us: int) -> dict[str, Any]:
    def still(until_us: int | None) -> datetime | None:
        return instant(until_us) if until_us is not None and until_us > now_us else None

    return {
        "id": webhook.id,
        "target": webhook.shown,
        "format": webhook.format,
        "events": list(webhook.events),
        "account": webhook.account,
        "status": webhook.status,
        "reason": webhook.reason,
        "resting_until": still(webhook.rests_until_us),
        "rotating_until": still(webhook.old_secret_until_us),
        "created_at": known_instant(webhook.created_at_us),
    }


async def _check(call: Call[CreateWebhook, None]) -> None:
    check_event_patterns(call.body.events)
    await call.deps.targets.check(call.body.format, call.body.target)


def _create(conn: Connection, call: Call[CreateWebhook, None]) -> Done:
    body, targets = call.body, call.deps.targets
    if body.account is not None:
        living_account(conn, body.account, param="account")
    channel = targets.channel(body.format)
    secret = targets.new_secret() if channel.is_signed else None
    new = NewWebhook(
        account=body.account,
        format=body.format,
        target=targets.seal(body.target),
        shown=channel.shown(body.target),
        events=tuple(body.events),
        secret="" if secret is None else targets.seal(secret),
    )
    made = create_webhook(conn, new, webhook_id=call.new_id("whk"), now_us=call.now_us)
    answer = NewWebhookAnswer(**_fields(made, call.now_us), secret=secret)
    return Done(answer, Change("webhook.create", made.id, None, _shown(made, call.now_us)), made.revision)


def _list(conn: Connection, call: Call[None, PageQuery]) -> Done:
    query = call.query
    rows = list_webhooks(conn, after=query.after, limit=query.limit + 1)
    return page_of(rows, query.limit, lambda row: _shown(row, call.now_us))


def _get(conn: Connection, call: Call[None, None]) -> Done:
    found = living_webhook(conn, call.path["id"])
    return Done(_shown(found, call.now_us), revision=found.revision)


def _update(conn: Connection, call: Call[ChangeWebhook, None]) -> Done:
    before = living_webhook(conn, call.path["id"])
    call.expect(before.revision)
    changes = given(events=call.body.events, status=call.body.status)
    if "events" in changes:
        check_event_patterns(changes["events"])
    after = change_webhook(conn, before, changes)
    answer, was = _shown(after, call.now_us), _shown(before, call.now_us)
    return Done(answer, Change("webhook.update", after.id, was, answer), after.revision)


def _delete(conn: Connection, call: Call[None, None]) -> Done:
    found = living_webhook(conn, call.path["id"])
    delete_webhook(conn, found, call.now_us)
    return Done(None, Change("webhook.delete", found.id, _shown(found, call.now_us), None))


def _test(conn: Connection, call: Call[None, None]) -> Done:
    found = living_webhook(conn, call.path["id"])
    ids = {"event_id": call.new_id("test"), "delivery_id": call.new_id("dlv")}
    answer = shown_delivery(make_test(conn, found, now_us=call.now_us, **ids))
    return Done(answer, Change("webhook.test", found.id, None, answer))


def _rotate(conn: Connection, call: Call[RotateWebhook, None]) -> Done:
    before = living_webhook(conn, call.path["id"])
    targets = call.deps.targets
    secret = targets.new_secret()
    until_us = call.now_us + call.body.overlap_s * 1_000_000
    after = rotate_webhook(conn, before, targets.seal(secret), until_us)
    answer = NewWebhookAnswer(**_fields(after, call.now_us), secret=secret)
    was, now = _shown(before, call.now_us), _shown(after, call.now_us)
    return Done(answer, Change("webhook.rotate", after.id, was, now), after.revision)


def _deliveries(conn: Connection, call: Call[None, DeliveryQuery]) -> Done:
    found, query = living_webhook(conn, call.path["id"]), call.query
    rows = list_deliveries(conn, found.id, status=query.status, after=query.after, limit=query.limit + 1)
    return page_of(rows, query.limit, shown_delivery)


OPERATIONS = (
    Operation(
        name="webhooks.create",
        method="POST",
        path="/admin/webhooks",
        summary="Create a webhook; its signing secret is shown this once",
        run=_create,
        check=_check,
        body=CreateWebhook,
        answer=NewWebhookAnswer,
        status=201,
        topics=("webhooks",),
        problems=(404, 409),
    ),
    Operation(
        name="webhooks.list",
        method="GET",
        path="/admin/webhooks",
        summary="List webhooks, oldest first",
        run=_list,
        query=PageQuery,
        answer=Page[WebhookAnswer],
    ),
    Operation(
        name="webhooks.get",
        method="GET",
        path="/admin/webhooks/{id}",
        summary="Read a webhook",
        run=_get,
        answer=WebhookAnswer,
        problems=(404,),
    ),
    Operation(
        name="webhooks.update",
        method="PATCH",
        path="/admin/webhooks/{id}",
        summary="Choose other events, or disable a webhook and take it up again",
        run=_update,
        body=ChangeWebhook,
        answer=WebhookAnswer,
        topics=("webhooks",),
        problems=(404, 412),
    ),
    Operation(
        name="webhooks.delete",
        method="DELETE",
        path="/admin/webhooks/{id}",
        summary="Delete a webhook; its log stays",
        run=_delete,
        answer=None,
        status=204,
        topics=("webhooks",),
        problems=(404,),
    ),
    Operation(
        name="webhooks.test",
        method="POST",
        path="/admin/webhooks/{id}/test",
        summary="Send a webhook.test to this webhook alone",
        run=_test,
        answer=DeliveryAnswer,
        status=201,
        topics=("webhooks",),
        problems=(404, 409),
    ),
    Operation(
        name="webhooks.rotate",
        method="POST",
        path="/admin/webhooks/{id}/rotate",
        summary="Give a webhook another signing secret; both sign for a while",
        run=_rotate,
        body=RotateWebhook,
        may_be_empty=True,
        answer=NewWebhookAnswer,
        topics=("webhooks",),
        problems=(404, 409),
    ),
    Operation(
        name="webhooks.deliveries",
        method="GET",
        path="/admin/webhooks/{id}/deliveries",
        summary="List what went or is to go to a webhook, oldest first",
        run=_deliveries,
        query=DeliveryQuery,
        answer=Page[DeliveryAnswer],
        problems=(404,),
    ),
)
