"""Whose is what is stored at a provider, and which answers are still awaited."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine

from gateway.store.belongings import Belonging, keep, owners, release, where_kept
from tests.databases import backend, migrated_database, migrated_engine, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "migrated_engine", "postgres", "sqlite_template"]


@pytest.fixture
def conn(migrated_engine: Engine) -> Iterator[Connection]:
    with migrated_engine.begin() as opened:
        yield opened


def thing(id_: str, account: str = "acct_1", attempt: str = "att_1", *, awaited: bool = False) -> Belonging:
    return Belonging(id_, "openai", account, attempt, 1, awaited)


def test_a_thing_belongs_to_whoever_was_first_told_its_id(conn: Connection) -> None:
    keep(conn, [thing("resp_1"), thing("msg_1")])
    keep(conn, [thing("resp_1", "acct_2", "att_2")])
    assert owners(conn, "openai", ["resp_1", "msg_1", "resp_2"]) == {"resp_1": "acct_1", "msg_1": "acct_1"}
    assert owners(conn, "azure_openai", ["resp_1"]) == {}


def test_where_an_account_has_a_thing(conn: Connection) -> None:
    keep(conn, [thing("resp_1")])
    assert where_kept(conn, "resp_1", "acct_1") == "openai"
    assert where_kept(conn, "resp_1", "acct_2") is None
    assert where_kept(conn, "resp_2", "acct_1") is None


def test_an_answer_is_released_once(conn: Connection) -> None:
    keep(conn, [thing("resp_1", awaited=True)])
    assert release(conn, "resp_1", "openai")
    assert not release(conn, "resp_1", "openai")


def test_its_own_attempt_ends_the_wait_for_an_answer_and_no_other(conn: Connection) -> None:
    keep(conn, [thing("resp_1", awaited=True)])
    keep(conn, [thing("resp_1", "acct_2", "att_2")])
    assert release(conn, "resp_1", "openai")
    keep(conn, [thing("resp_2", awaited=True)])
    keep(conn, [thing("resp_2")])
    assert not release(conn, "resp_2", "openai")
