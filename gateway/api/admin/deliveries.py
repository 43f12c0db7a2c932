"""Deliveries: what went to a webhook, every attempt, and sending it once more."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import Connection

from gateway.alerts.messages import message_id
from gateway.api.admin.operations import Call, Change, Done, Operation
from gateway.api.admin.values import instant, known_instant
from gateway.store.deliveries import Attempt, Delivery, delivery_by_id, replay

__all__ = ["OPERATIONS", "DeliveryAnswer", "Status", "shown_delivery"]

Status = Literal["pending", "delivered", "dead"]


class AttemptAnswer(msgspec.Struct, kw_only=True):
    """One attempt: the status that came back, or why there was none."""

    at: datetime
    took_ms: int
    status: int | None
    error: str | None


class DeliveryAnswer(msgspec.Struct, kw_only=True):
    """An event on its way to a webhook. `event_id` is the `webhook-id` it carries at every attempt; `next_at`
    is set while another attempt is to come; `log` has the latest attempts, newest first."""

    id: str
    webhook: str
    event: str
    event_id: str
    subject: str
    status: Status
    attempts: int
    next_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    log: list[AttemptAnswer]


def shown_delivery(delivery: Delivery) -> DeliveryAnswer:
    """A delivery as an administrator sees it."""
    is_pending = delivery.status == "pending"
    return DeliveryAnswer(
        id=delivery.id,
        webhook=delivery.webhook,
        event=delivery.event,
        event_id=message_id(delivery.dedupe),
        subject=delivery.subject,
        status=msgspec.convert(delivery.status, Status),
        attempts=delivery.attempts,
        next_at=known_instant(delivery.due_at_us) if is_pending else None,
        created_at=known_instant(delivery.created_at_us),
        finished_at=instant(delivery.finished_at_us),
        log=[_shown_attempt(each) for each in delivery.log],
    )


def _shown_attempt(attempt: Attempt) -> AttemptAnswer:
    return AttemptAnswer(
        at=known_instant(attempt.at_us),
        took_ms=attempt.took_us // 1_000,
        status=attempt.status,
        error=attempt.error,
    )


def _get(conn: Connection, call: Call[None, None]) -> Done:
    return Done(shown_delivery(delivery_by_id(conn, call.path["id"])))


def _replay(conn: Connection, call: Call[None, None]) -> Done:
    before = delivery_by_id(conn, call.path["id"])
    after = shown_delivery(replay(conn, before.id, call.now_us))
    return Done(after, Change("delivery.replay", before.id, shown_delivery(before), after))


OPERATIONS = (
    Operation(
        name="deliveries.get",
        method="GET",
        path="/admin/deliveries/{id}",
        summary="Read a delivery and its latest attempts",
        run=_get,
        answer=DeliveryAnswer,
        problems=(404,),
    ),
    Operation(
        name="deliveries.replay",
        method="POST",
        path="/admin/deliveries/{id}/replay",
        summary="Deliver once more, now, with the same event id",
        run=_replay,
        answer=DeliveryAnswer,
        topics=("webhooks",),
        problems=(404, 409),
    ),
)
