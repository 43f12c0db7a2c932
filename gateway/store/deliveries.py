"""The delivery log: what went where, every attempt, and sending it once more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select, update

from gateway.domain.errors import Conflict, NotFound
from gateway.domain.event_types import TEST_EVENT
from gateway.store.events import Event, write_events
from gateway.store.pages import page
from gateway.store.tables import deliveries, delivery_attempts, events
from gateway.store.webhooks import Webhook, living_webhook

__all__ = ["Attempt", "Delivery", "delivery_by_id", "list_deliveries", "make_test", "replay"]

_SHOWN_ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: a status, or why there was none."""

    at_us: int
    took_us: int
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one target, with its latest attempts, newest first.

    `dedupe` is the event's own name, from which its id is made.
    """

    id: str
    webhook: str
    event: str
    dedupe: str
    subject: str
    status: str
    attempts: int
    due_at_us: int
    created_at_us: int
    finished_at_us: int | None
    log: tuple[Attempt, ...] = field(default=())


def delivery_by_id(conn: Connection, delivery: str) -> Delivery:
    """The delivery with its log; NotFound when there is none."""
    row = conn.execute(_query().where(deliveries.c.id == delivery)).one_or_none()
    if row is None:
        raise NotFound(
            "not_found",
            f"There is no delivery {delivery}.",
            hint="GET /admin/webhooks/{id}/deliveries lists a webhook's deliveries.",
        )
    return _of_row(row, _log(conn, delivery))


def list_deliveries(
    conn: Connection, webhook: str, *, status: str | None, after: str | None, limit: int
) -> list[Delivery]:
    """A target's deliveries, oldest first, those after the id `after`; of one status when given."""
    query = _query().where(deliveries.c.webhook == webhook)
    if status is not None:
        query = query.where(deliveries.c.status == status)
    rows = conn.execute(page(conn, query, deliveries, after=after, limit=limit)).all()
    return [_of_row(row, _log(conn, row.id)) for row in rows]


def make_test(
    conn: Connection, webhook: Webhook, *, event_id: str, delivery_id: str, now_us: int
) -> Delivery:
    """Put a `webhook.test` on its way to this target alone; Conflict when it is disabled."""
    _require_active(webhook)
    data = {"webhook": webhook.id, "words": "Tollgate can reach you."}
    write_events(conn, [Event(TEST_EVENT, event_id, webhook.account, event_id, data)], now_us)
    number = conn.execute(select(events.c.id).where(events.c.dedupe == event_id)).scalar_one()
    conn.execute(update(events).where(events.c.id == number).values(spread_at=now_us))
    conn.execute(
        deliveries.insert().values(
            id=delivery_id,
            event=number,
            webhook=webhook.id,
            subject=event_id,
            status="pending",
            attempts=0,
            due_at=now_us,
            created_at=now_us,
        )
    )
    return delivery_by_id(conn, delivery_id)


def replay(conn: Connection, delivery: str, now_us: int) -> Delivery:
    """Send it once more, now, with the same id and a schedule that begins anew.

    Conflict when the target is disabled; NotFound when it is deleted.
    """
    found = delivery_by_id(conn, delivery)
    _require_active(living_webhook(conn, found.webhook))
    again = update(deliveries).where(deliveries.c.id == delivery)
    conn.execute(again.values(status="pending", attempts=0, due_at=now_us, finished_at=None))
    return delivery_by_id(conn, delivery)


def _require_active(webhook: Webhook) -> None:
    if webhook.status != "active":
        raise Conflict(
            "conflict",
            f"Webhook {webhook.id} is disabled{'' if webhook.reason is None else f': {webhook.reason}'}.",
            hint='PATCH it with {"status": "active"} first.',
        )


def _query() -> Select[Any]:
    source = deliveries.join(events, events.c.id == deliveries.c.event)
    return select(deliveries, events.c.event.label("type"), events.c.dedupe).select_from(source)


def _log(conn: Connection, delivery: str) -> tuple[Attempt, ...]:
    attempts = delivery_attempts.c
    query = select(delivery_attempts).where(attempts.delivery == delivery)
    rows = conn.execute(query.order_by(attempts.at.desc()).limit(_SHOWN_ATTEMPTS))
    return tuple(Attempt(row.at, row.took_us, row.status, row.error) for row in rows)


def _of_row(row: Row[Any], log: tuple[Attempt, ...]) -> Delivery:
    return Delivery(
        id=row.id,
        webhook=row.webhook,
        event=row.type,
        dedupe=row.dedupe,
        subject=row.subject,
        status=row.status,
        attempts=row.attempts,
        due_at_us=row.due_at,
        created_at_us=row.created_at,
        finished_at_us=row.finished_at,
        log=log,
    )
