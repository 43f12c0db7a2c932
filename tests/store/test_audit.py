"""The audit log under writers at once: one chain, whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool

from gateway.store.audit import entries, record, verify
from tests.databases import backend, migrated_database, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "postgres", "sqlite_template"]


def test_an_empty_log_is_intact(migrated_database: str) -> None:
    with create_engine(migrated_database, poolclass=NullPool).begin() as conn:
        assert verify(conn).is_intact
        assert entries(conn, before_id=None, limit=5) == []


def test_writers_at_once_make_one_chain(migrated_database: str) -> None:
    engine = create_engine(migrated_database, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        # As the gateway's writer does: a deferred transaction that turns to writing may fail at once.
        event.listen(engine, "connect", lambda conn, _: setattr(conn, "isolation_level", None))
        event.listen(engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN IMMEDIATE"))

    def write(number: int) -> None:
        for step in range(10):
            with engine.begin() as conn:
                record(
                    conn,
                    at_us=step,
                    actor=f"akey_{number}",
                    action="account.update",
                    object_id="acct_1",
                    before={"name": "é", "n": 2**53 + 1, "f": 0.1},
                    after=None,
                )

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    with engine.begin() as conn:
        verdict = verify(conn)
        assert (verdict.rows, verdict.is_intact) == (60, True)
        [newest] = entries(conn, before_id=None, limit=1)
        assert len({entry.id for entry in entries(conn, before_id=newest.id, limit=100)}) == 59


def test_a_long_log_is_read_in_parts(migrated_database: str) -> None:
    with create_engine(migrated_database, poolclass=NullPool).begin() as conn:
        for number in range(2_000):
            record(conn, at_us=number, actor="a", action="x", object_id="o", before=None, after={"n": number})
        assert verify(conn).rows == 2_000
        assert verify(conn).is_intact
