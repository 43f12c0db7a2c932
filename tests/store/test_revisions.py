"""Revisions: numbers commit in order, so that a poll misses nothing."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from gateway.store.revisions import TOPICS, next_number, numbers
from tests.databases import Postgres, backend, migrated_database, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "postgres", "sqlite_template"]


def test_topics_count_apart_and_begin_at_0(migrated_database: str) -> None:
    engine = create_engine(migrated_database, poolclass=NullPool)
    with engine.begin() as conn:
        assert numbers(conn) == dict.fromkeys(TOPICS, 0)
        assert [next_number(conn, "keys") for _ in range(3)] == [1, 2, 3]
        assert next_number(conn, "accounts") == 1
    with engine.begin() as conn:
        assert numbers(conn) == {**dict.fromkeys(TOPICS, 0), "keys": 3, "accounts": 1}


@pytest.mark.slow
def test_a_later_number_never_commits_first(postgres: Postgres) -> None:
    """Two changes at once: the second waits for the first, also when both are the topic's first."""
    url = postgres.take()
    engine = create_engine(url, poolclass=NullPool)
    taken: list[int] = []

    def second() -> None:
        with engine.begin() as conn:
            taken.append(next_number(conn, "keys"))

    with engine.begin() as first:
        assert next_number(first, "keys") == 1
        thread = threading.Thread(target=second)
        thread.start()
        with engine.connect() as watcher:
            # The second is there and waits: it is not merely slow to begin.
            while not watcher.execute(
                text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            ).scalar():
                watcher.rollback()
            assert numbers(watcher)["keys"] == 0
        assert taken == []
    thread.join()
    assert taken == [2]
    postgres.give_back(url)
