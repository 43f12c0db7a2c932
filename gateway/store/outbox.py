"""The dispatcher's transactions: events become deliveries, workers take targets, outcomes are written.

One worker at a time owns a target, by a lease that it renews with everything it writes. Whoever dies loses it
when the lease is over; what it had sent and not written down is sent again, with the same id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from gateway.domain.event_types import matches_event
from gateway.domain.ids import new_id
from gateway.store.sql import many, placeholders, run
from gateway.store.tables import webhooks
from gateway.store.webhooks import Webhook, bury_pending, webhook_of_row

__all__ = [
    "Due",
    "Outcome",
    "Taken",
    "due_targets",
    "leave_target",
    "rest_target",
    "spread",
    "take_target",
    "write_outcomes",
]

BATCH: Final = 100
SPREAD: Final = 500


class Due(NamedTuple):
    """A delivery whose time has come, with its event."""

    id: str
    subject: str
    attempts: int
    event: str
    dedupe: str
    created_at_us: int
    data: dict[str, Any]


class Taken(NamedTuple):
    """A target that this worker owns, and what is due there, in the order of the events."""

    webhook: Webhook
    due: list[Due]


class Outcome(NamedTuple):
    """One attempt. `status` is what the delivery is now, `next_us` when it is tried again while pending.

    `rests_until_us` is set when the target is to be left alone, `gone` when it wants nothing any more.
    """

    delivery: str
    subject: str
    at_us: int
    took_us: int
    http_status: int | None
    error: str | None
    status: str
    next_us: int
    rests_until_us: int
    gone: bool


def due_targets(conn: Connection, now_us: int) -> tuple[bool, list[str]]:
    """Whether events wait to be spread, and the targets that have something due and no owner. Only reads."""
    waits = run(conn, "SELECT 1 FROM events WHERE spread_at IS NULL LIMIT 1").first() is not None
    rows = run(
        conn,
        "SELECT w.id FROM webhooks w WHERE w.deleted_at IS NULL AND w.status = 'active'"
        " AND w.rests_until <= ? AND w.owned_until <= ? AND EXISTS (SELECT 1 FROM deliveries d"
        " WHERE d.webhook = w.id AND d.status = 'pending' AND d.due_at <= ?) ORDER BY w.id",
        (now_us, now_us, now_us),
    )
    return waits, [row[0] for row in rows]


def spread(conn: Connection, now_us: int) -> int:
    """Make a delivery for each target that wants an event; how many events were looked at."""
    lock = " FOR UPDATE SKIP LOCKED" if conn.dialect.name == "postgresql" else ""
    events = run(
        conn,
        "SELECT id, event, dedupe, account, subject FROM events WHERE spread_at IS NULL"
        f" ORDER BY id LIMIT {SPREAD}{lock}",
    ).all()
    if not events:
        return 0
    targets = [webhook_of_row(row) for row in conn.execute(_active())]
    above = _parents(conn) if any(each.account for each in targets) else {}
    rows = [
        (_delivery_id(dedupe, target.id), number, target.id, subject, target.id, subject, now_us, now_us)
        for number, event, dedupe, account, subject in events
        for target in targets
        if matches_event(target.events, event) and _covers(target.account, account, above)
    ]
    many(
        conn,
        "INSERT INTO deliveries (id, event, webhook, subject, status, attempts, due_at, created_at)"
        # Behind a delivery of the same subject that is tried again later it would only be looked at in vain.
        " VALUES (?, ?, ?, ?, 'pending', 0, COALESCE((SELECT MAX(p.due_at) FROM deliveries p"
        " WHERE p.webhook = ? AND p.subject = ? AND p.status = 'pending'), ?), ?) ON CONFLICT DO NOTHING",
        rows,
    )
    ids = [row[0] for row in events]
    run(conn, f"UPDATE events SET spread_at = ? WHERE id IN ({placeholders(len(ids))})", (now_us, *ids))
    return len(events)


def take_target(conn: Connection, webhook: str, owner: str, until_us: int, now_us: int) -> Taken | None:
    """Own the target until `until_us` and read what is due; None when another worker owns it, or it rests."""
    taken = run(
        conn,
        "UPDATE webhooks SET owner = ?, owned_until = ? WHERE id = ? AND deleted_at IS NULL"
        " AND status = 'active' AND rests_until <= ? AND (owned_until <= ? OR owner = ?)",
        (owner, until_us, webhook, now_us, now_us, owner),
    )
    if taken.rowcount != 1:
        return None
    target = webhook_of_row(conn.execute(select(webhooks).where(webhooks.c.id == webhook)).one())
    # What comes behind a delivery of the same subject that is tried again later has to wait for it.
    rows = run(
        conn,
        "SELECT d.id, d.subject, d.attempts, e.event, e.dedupe, e.created_at, e.data"
        " FROM deliveries d JOIN events e ON e.id = d.event"
        " WHERE d.webhook = ? AND d.status = 'pending' AND d.due_at <= ? AND NOT EXISTS (SELECT 1"
        " FROM deliveries p WHERE p.webhook = d.webhook AND p.subject = d.subject AND p.status = 'pending'"
        f" AND p.due_at > ? AND p.event < d.event) ORDER BY d.event LIMIT {BATCH}",
        (webhook, now_us, now_us),
    )
    return Taken(target, [Due(*row)._replace(data=msgspec.json.decode(row[6])) for row in rows])


def write_outcomes(
    conn: Connection, webhook: str, owner: str, outcomes: Sequence[Outcome], until_us: int
) -> bool:
    """Write attempts down and stay the owner; False when another has become it. What was sent is written
    down either way, unless the other did."""
    many(
        conn,
        "INSERT INTO delivery_attempts (delivery, at, took_us, status, error) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [(each.delivery, each.at_us, each.took_us, each.http_status, each.error) for each in outcomes],
    )
    many(
        conn,
        "UPDATE deliveries SET status = ?, attempts = attempts + 1, due_at = ?, finished_at = ?"
        " WHERE id = ? AND status = 'pending'",
        [
            (each.status, each.next_us, None if each.status == "pending" else each.at_us, each.delivery)
            for each in outcomes
        ],
    )
    for each in outcomes:
        if each.status == "pending":
            _put_off(conn, webhook, each)
        if each.gone:
            _disable(conn, webhook, each)
    rests_until_us = max((each.rests_until_us for each in outcomes), default=0)
    kept = run(
        conn,
        "UPDATE webhooks SET owned_until = ?, rests_until = ? WHERE id = ? AND owner = ?",
        (until_us, rests_until_us, webhook, owner),
    )
    return kept.rowcount == 1


def leave_target(conn: Connection, webhook: str, owner: str) -> None:
    """Own the target no longer."""
    run(conn, "UPDATE webhooks SET owned_until = 0 WHERE id = ? AND owner = ?", (webhook, owner))


def rest_target(conn: Connection, webhook: str, owner: str, until_us: int) -> None:
    """Own the target no longer, and have it left alone until then."""
    run(
        conn,
        "UPDATE webhooks SET owned_until = 0, rests_until = ? WHERE id = ? AND owner = ?",
        (until_us, webhook, owner),
    )


def _active() -> Any:
    return select(webhooks).where(webhooks.c.deleted_at.is_(None), webhooks.c.status == "active")


def _parents(conn: Connection) -> dict[str, str | None]:
    return {row[0]: row[1] for row in run(conn, "SELECT id, parent FROM accounts")}


def _covers(wanted: str | None, account: str | None, above: dict[str, str | None]) -> bool:
    """Whether the account is the wanted one or below it; without a wanted one, everything is covered."""
    while wanted is not None and account is not None and account != wanted:
        account = above.get(account)
    return wanted is None or account == wanted


def _delivery_id(dedupe: str, webhook: str) -> str:
    return new_id("dlv", hashlib.sha256(f"{dedupe} {webhook}".encode()).digest()[:16])


def _put_off(conn: Connection, webhook: str, outcome: Outcome) -> None:
    """What follows of the same subject is not even looked at before."""
    run(
        conn,
        "UPDATE deliveries SET due_at = ? WHERE webhook = ? AND subject = ? AND status = 'pending'"
        " AND due_at < ? AND event > (SELECT event FROM deliveries WHERE id = ?)",
        (outcome.next_us, webhook, outcome.subject, outcome.next_us, outcome.delivery),
    )


def _disable(conn: Connection, webhook: str, outcome: Outcome) -> None:
    run(
        conn,
        "UPDATE webhooks SET status = 'disabled', reason = ? WHERE id = ?",
        (f"it answered {outcome.http_status}", webhook),
    )
    bury_pending(conn, webhook, outcome.at_us)
