"""The database from the event loop: outcomes, ranks, threads, and two databases that behave alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.domain.errors import Unavailable
from gateway.store.engine import ADMIN, ASK, POST, RETURN, Database
from gateway.store.outcomes import DatabaseAway, DatabaseFailed, DatabaseRefused, DatabaseUnknown, of_commit
from gateway.store.sql import run
from gateway.store.tables import metadata
from tests.databases import Postgres, backend, migrated_database, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "postgres", "sqlite_template"]


@pytest.fixture
async def database(migrated_database: str) -> AsyncIterator[Database]:
    made = Database(migrated_database)
    yield made
    await made.stop()


@pytest.fixture
async def on_postgres(postgres: Postgres) -> AsyncIterator[Database]:
    made = Database(postgres.create())
    await made.write(metadata.create_all)
    yield made
    await made.stop()


def put(conn: Connection, name: str) -> str:
    run(conn, "INSERT INTO meta (name, value) VALUES (?, '1')", (name,))
    return name


def add_one(conn: Connection) -> None:
    run(conn, "UPDATE meta SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) WHERE name = 'count'")


def names(conn: Connection) -> list[str]:
    return [row[0] for row in run(conn, "SELECT name FROM meta ORDER BY name")]


async def test_a_transaction_commits_and_returns(database: Database) -> None:
    assert await database.account(ASK, put, "a") == "a"
    assert await database.write(put, "b") == "b"
    assert await database.read(names) == await database.watch(names) == ["a", "b"]


async def test_what_the_database_refuses_is_rolled_back_whole(database: Database) -> None:
    def twice(conn: Connection) -> None:
        put(conn, "a")
        put(conn, "a")

    with pytest.raises(DatabaseRefused):
        await database.account(POST, twice)
    with pytest.raises(IntegrityError):
        await database.write(twice)
    assert await database.read(names) == []


async def test_an_exception_of_the_body_travels_as_it_is(database: Database) -> None:
    def doubting(conn: Connection) -> None:
        put(conn, "a")
        raise KeyError("serial")

    with pytest.raises(KeyError):
        await database.account(ASK, doubting)
    assert await database.read(names) == []


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises((Unavailable, DBAPIError)):
        await database.read(put, "a")
    assert await database.read(names) == []


async def test_a_read_sees_one_state(database: Database) -> None:
    first_read, go_on = threading.Event(), threading.Event()

    def twice(conn: Connection) -> tuple[list[str], list[str]]:
        before = names(conn)
        first_read.set()
        go_on.wait(10)
        return before, names(conn)

    reading = asyncio.ensure_future(database.read(twice))
    await asyncio.get_running_loop().run_in_executor(None, first_read.wait, 10)
    await database.write(put, "a")
    go_on.set()
    assert await reading == ([], [])


async def test_asks_go_before_returns_before_posts_before_admin(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()
    order: list[int] = []

    def first(conn: Connection) -> None:
        begun.set()
        go_on.wait(10)

    def note(conn: Connection, rank: int) -> None:
        order.append(rank)

    blocking = asyncio.ensure_future(database.account(ASK, first))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
    queued = [
        asyncio.ensure_future(database.account(rank, note, rank)) for rank in (ADMIN, POST, RETURN, ASK)
    ]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(blocking, *queued)
    assert order == [ASK, RETURN, POST, ADMIN]


async def test_what_is_cancelled_before_its_turn_is_not_done(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def first(conn: Connection) -> None:
        begun.set()
        go_on.wait(10)

    blocking = asyncio.ensure_future(database.account(ASK, first))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
    dropped = asyncio.ensure_future(database.write(put, "a"))
    await asyncio.sleep(0)
    dropped.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await blocking
    await database.write(put, "b")
    assert await database.read(names) == ["b"]


async def test_two_writers_wait_for_each_other(database: Database) -> None:
    other = Database(database.url)
    await database.write(put, "count")
    await asyncio.gather(*(each.account(ASK, add_one) for each in [database, other] * 50))
    assert await database.read(lambda conn: run(conn, "SELECT value FROM meta").scalar_one()) == "101"
    await other.stop()


@pytest.mark.parametrize(
    "url", ["postgresql:///nothing?host=/nonexistent", "sqlite:////nonexistent/folder/tollgate.db"]
)
async def test_a_database_that_cannot_be_reached_is_reported(url: str) -> None:
    database = Database(url)
    with pytest.raises(DatabaseAway):
        await database.account(ASK, put, "a")
    for plane in (database.write, database.read):
        with pytest.raises(Unavailable) as away:
            await plane(names)
        assert away.value.code == "ledger_unavailable"
    await database.stop()


def test_an_unknown_kind_of_database_is_refused() -> None:
    with pytest.raises(ValueError, match="sqlite:///"):
        Database("mysql://localhost/tollgate")


@pytest.mark.slow
async def test_a_connection_lost_before_commit_is_a_failure_and_the_next_one_works(
    on_postgres: Database,
) -> None:
    def lost(conn: Connection) -> None:
        put(conn, "a")
        run(conn, "SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseAway):
        await on_postgres.account(ASK, lost)
    assert await on_postgres.account(ASK, put, "b") == "b"
    assert await on_postgres.read(names) == ["b"]


_AT_COMMIT = """
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER last_word AFTER INSERT ON meta DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION at_commit();
"""


@pytest.mark.slow
async def test_a_connection_lost_during_commit_leaves_the_outcome_unknown(on_postgres: Database) -> None:
    """The server may have committed or not; here it had not, and nobody could know."""
    kill = _AT_COMMIT.format("PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10)")
    await on_postgres.write(lambda conn: conn.exec_driver_sql(kill) and None)
    with pytest.raises(DatabaseUnknown):
        await on_postgres.account(ASK, put, "a")
    with pytest.raises(Unavailable) as unknown:
        await on_postgres.write(put, "a")
    assert "may have been made" in unknown.value.hint
    assert await on_postgres.read(names) == []


@pytest.mark.slow
async def test_a_constraint_that_fails_at_commit_is_a_failure(on_postgres: Database) -> None:
    """The server said that it rolled back: that is known."""
    fail = _AT_COMMIT.format("RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'")
    await on_postgres.write(lambda conn: conn.exec_driver_sql(fail) and None)
    with pytest.raises(DatabaseFailed):
        await on_postgres.account(ASK, put, "a")
    assert await on_postgres.account(RETURN, names) == []


@pytest.mark.slow
async def test_a_lock_held_by_others_is_waited_for_only_so_long(on_postgres: Database) -> None:
    """`lock_timeout`: the same transaction may succeed later."""
    other = Database(on_postgres.url)
    await on_postgres.write(put, "count")
    begun, go_on = threading.Event(), threading.Event()

    def holding(conn: Connection) -> None:
        add_one(conn)
        begun.set()
        go_on.wait(10)

    holder = asyncio.ensure_future(other.account(ASK, holding))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
    with pytest.raises(DatabaseAway):
        await on_postgres.account(ASK, add_one)
    go_on.set()
    await holder
    await on_postgres.account(ASK, add_one)
    await other.stop()


@pytest.mark.slow
async def test_libpq_s_own_form_with_a_socket(postgres: Postgres) -> None:
    database = Database(postgres.create().replace("postgresql+psycopg://", "postgresql://"))
    assert await database.write(lambda conn: run(conn, "SELECT 1").scalar_one()) == 1
    await database.stop()


def test_a_commit_that_left_the_transaction_open_did_not_happen() -> None:
    """SQLite answers BUSY and keeps the transaction; anything else during COMMIT is unknown."""
    assert isinstance(of_commit(OSError("busy"), is_open=True), DatabaseAway)
    assert isinstance(of_commit(OSError("input/output error"), is_open=False), DatabaseUnknown)


async def test_the_lock_is_given_up_after_a_failure(database: Database, tmp_path: Path) -> None:
    """A second writer gets its turn although the first one's transaction failed."""
    other = Database(database.url)
    with pytest.raises(DatabaseRefused):
        await database.account(ASK, lambda conn: [put(conn, "a"), put(conn, "a")])
    assert await other.account(ASK, put, "a") == "a"
    await other.stop()
