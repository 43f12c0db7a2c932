"""The audit log: every change, newest first, and whether the log is whole."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import known_instant
from gateway.domain.errors import BadRequest
from gateway.store.audit import AuditEntry, entries, verify

__all__ = ["OPERATIONS"]


class AuditAnswer(msgspec.Struct, kw_only=True):
    """One change: who (`actor`, an admin key's id), what, on which thing, before and after."""

    id: str
    at: datetime
    actor: str
    action: str
    object: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    hash: str


class VerificationAnswer(msgspec.Struct, kw_only=True):
    """Whether every row's hash fits the one before, and the newest is the last that was written."""

    rows: int
    intact: bool
    broken_at: str | None
    cut_off: bool


def _shown(entry: AuditEntry) -> AuditAnswer:
    return AuditAnswer(
        id=str(entry.id),
        at=known_instant(entry.at_us),
        actor=entry.actor,
        action=entry.action,
        object=entry.object,
        before=None if entry.before is None else dict(entry.before),
        after=None if entry.after is None else dict(entry.after),
        hash=entry.hash.hex(),
    )


def _list(conn: Connection, call: Call[None, PageQuery]) -> Done:
    query, before_id = call.query, None
    if query.after is not None:
        if not (query.after.isascii() and query.after.isdigit()) or len(query.after) > 18:
            raise BadRequest(
                "invalid_value",
                f"{query.after!a} is no row of the log.",
                hint="Give the `next` of the page before.",
                param="after",
            )
        before_id = int(query.after)
    return page_of(entries(conn, before_id=before_id, limit=query.limit + 1), query.limit, _shown)


def _verify(conn: Connection, call: Call[None, None]) -> Done:
    found = verify(conn)
    broken_at = None if found.broken_at is None else str(found.broken_at)
    return Done(
        VerificationAnswer(rows=found.rows, intact=found.is_intact, broken_at=broken_at, cut_off=found.is_cut)
    )


OPERATIONS = (
    Operation(
        name="audit.list",
        method="GET",
        path="/admin/audit",
        summary="List changes, newest first",
        run=_list,
        query=PageQuery,
        answer=Page[AuditAnswer],
    ),
    Operation(
        name="audit.verify",
        method="GET",
        path="/admin/audit/verification",
        summary="Read the whole log and compare its hashes",
        run=_verify,
        answer=VerificationAnswer,
    ),
)
