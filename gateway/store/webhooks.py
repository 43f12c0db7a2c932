"""Targets of alerts. What is secret of them comes sealed and is kept sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from gateway.domain.errors import Conflict, NotFound
from gateway.store.pages import page
from gateway.store.revisions import next_number
from gateway.store.sql import run
from gateway.store.tables import webhooks

__all__ = [
    "NewWebhook",
    "Webhook",
    "change_webhook",
    "create_webhook",
    "delete_webhook",
    "list_webhooks",
    "living_webhook",
    "rotate_webhook",
]


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A target to be, checked before it comes here; `target` and `secret` are sealed."""

    account: str | None
    format: str
    target: str
    shown: str
    events: tuple[str, ...]
    secret: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """A target. `reason` says why the gateway disabled it; an administrator needs none."""

    id: str
    account: str | None
    format: str
    target: str
    shown: str
    events: tuple[str, ...]
    status: str
    reason: str | None
    secret: str
    old_secret: str | None
    old_secret_until_us: int | None
    rests_until_us: int
    created_at_us: int
    deleted_at_us: int | None
    revision: int


def create_webhook(conn: Connection, new: NewWebhook, *, webhook_id: str, now_us: int) -> Webhook:
    """Add a target, whose account the caller has found living. It gets the events from now on."""
    conn.execute(
        insert(webhooks).values(
            id=webhook_id,
            account=new.account,
            format=new.format,
            target=new.target,
            shown=new.shown,
            events=list(new.events),
            status="active",
            reason=None,
            secret=new.secret,
            old_secret=None,
            old_secret_until=None,
            rests_until=0,
            owner=None,
            owned_until=0,
            created_at=now_us,
            deleted_at=None,
            revision=next_number(conn, "webhooks"),
        )
    )
    return living_webhook(conn, webhook_id)


def living_webhook(conn: Connection, webhook: str) -> Webhook:
    """The target; NotFound when there is none or it is deleted."""
    row = conn.execute(select(webhooks).where(webhooks.c.id == webhook)).one_or_none()
    if row is None or row.deleted_at is not None:
        raise NotFound(
            "not_found",
            f"There is no webhook {webhook}.",
            hint="GET /admin/webhooks lists the webhooks there are.",
        )
    return webhook_of_row(row)


def change_webhook(conn: Connection, webhook: Webhook, changes: Mapping[str, Any]) -> Webhook:
    """Set columns of the target: events, status, target with shown."""
    changed = update(webhooks).where(webhooks.c.id == webhook.id)
    again = {"reason": None, "rests_until": 0}
    conn.execute(changed.values(**{**again, **changes}, revision=next_number(conn, "webhooks")))
    return living_webhook(conn, webhook.id)


def rotate_webhook(conn: Connection, webhook: Webhook, secret: str, overlap_until_us: int) -> Webhook:
    """Give the target another secret; the present one signs beside it until then."""
    if not webhook.secret:
        raise Conflict(
            "conflict",
            f"What goes to {webhook.format} targets is not signed.",
            hint="Make another webhook with another target instead.",
        )
    changes = {"secret": secret, "old_secret": webhook.secret, "old_secret_until": overlap_until_us}
    return change_webhook(conn, webhook, {**changes, "reason": webhook.reason})


def delete_webhook(conn: Connection, webhook: Webhook, now_us: int) -> None:
    """End the target; its log stays, what was still to be delivered is dead."""
    ended = update(webhooks).where(webhooks.c.id == webhook.id)
    conn.execute(ended.values(deleted_at=now_us, revision=next_number(conn, "webhooks")))
    bury_pending(conn, webhook.id, now_us)


def bury_pending(conn: Connection, webhook: str, now_us: int) -> None:
    """What was still to be delivered to the target is dead: kept, and never sent by itself."""
    run(
        conn,
        "UPDATE deliveries SET status = 'dead', finished_at = ? WHERE webhook = ? AND status = 'pending'",
        (now_us, webhook),
    )


def list_webhooks(conn: Connection, *, after: str | None, limit: int) -> list[Webhook]:
    """Living targets from the oldest on, those after the id `after`."""
    query = select(webhooks).where(webhooks.c.deleted_at.is_(None))
    rows = conn.execute(page(conn, query, webhooks, after=after, limit=limit))
    return [webhook_of_row(row) for row in rows]


def webhook_of_row(row: Row[Any]) -> Webhook:
    """A target from a full row of its table."""
    return Webhook(
        id=row.id,
        account=row.account,
        format=row.format,
        target=row.target,
        shown=row.shown,
        events=tuple(row.events),
        status=row.status,
        reason=row.reason,
        secret=row.secret,
        old_secret=row.old_secret,
        old_secret_until_us=row.old_secret_until,
        rests_until_us=row.rests_until,
        created_at_us=row.created_at,
        deleted_at_us=row.deleted_at,
        revision=row.revision,
    )
