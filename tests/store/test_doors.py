"""Where workers are reached by those of other machines."""

from __future__ import annotations

from sqlalchemy import Engine

from gateway.store.doors import Whereabouts, close_door, open_door, whereabouts
from gateway.store.journals import finish, register
from tests.databases import backend, migrated_database, migrated_engine, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "migrated_engine", "postgres", "sqlite_template"]


def test_a_worker_is_found_while_it_lives(migrated_engine: Engine) -> None:
    with migrated_engine.begin() as conn:
        for journal in ("one", "two"):
            register(conn, journal, "dir", "host", 1)
        assert whereabouts(conn, "three") is None
        assert whereabouts(conn, "one") == Whereabouts("live", "")
        open_door(conn, "one", "http://10.0.0.1:8080")
        open_door(conn, "one", "http://10.0.0.2:8080")
        assert whereabouts(conn, "one") == Whereabouts("live", "http://10.0.0.2:8080")
        close_door(conn, "one")
        assert whereabouts(conn, "one") == Whereabouts("live", "")


def test_the_doors_of_those_that_are_gone_are_cleared_away(migrated_engine: Engine) -> None:
    with migrated_engine.begin() as conn:
        for journal in ("dead", "living"):
            register(conn, journal, "dir", "host", 1)
        open_door(conn, "dead", "http://10.0.0.1:8080")
        finish(conn, "dead", "finished")
        open_door(conn, "living", "http://10.0.0.2:8080")
        assert whereabouts(conn, "dead") == Whereabouts("finished", "")
        assert whereabouts(conn, "living") == Whereabouts("live", "http://10.0.0.2:8080")
