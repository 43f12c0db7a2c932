"""Revisions: how a worker learns, by one small poll, that something it keeps in memory has changed.

A change takes its topic's next number inside its own transaction and stamps it on the rows it touches. The
row lock makes numbers commit in order: whoever has read number n finds every change up to n, so a worker
reads `numbers` first and the rows after, and then knows n.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select, text

from gateway.store.tables import revisions

__all__ = ["TOPICS", "next_number", "numbers"]

TOPICS: Final[tuple[str, ...]] = ("accounts", "keys", "budgets", "prices", "admin_keys", "webhooks")

# Both databases speak this form. A topic begins with its first change, and two first changes at once
# queue like any other two.
_NEXT = text(
    "INSERT INTO revisions (topic, number) VALUES (:topic, 1)"
    " ON CONFLICT (topic) DO UPDATE SET number = revisions.number + 1 RETURNING number"
)


def next_number(conn: Connection, topic: str) -> int:
    """Take the topic's next number; other changes of the topic wait until this transaction ends."""
    assert topic in TOPICS, topic
    return int(conn.execute(_NEXT, {"topic": topic}).scalar_one())


def numbers(conn: Connection) -> dict[str, int]:
    """Each topic's latest committed number, 0 for one that never changed."""
    known = {row.topic: int(row.number) for row in conn.execute(select(revisions))}
    return {topic: known.get(topic, 0) for topic in TOPICS}
