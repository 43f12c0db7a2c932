"""A generated ledger on each kind of database, made once and only read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, create_engine

from tests.databases import (
    BACKENDS,
    Postgres,
    backend,
    migrated_database,
    migrated_engine,
    postgres,
    sqlite_template,
)
from tests.reports.book import Entry, generate, instant, posted_book

__all__ = ["backend", "migrated_database", "migrated_engine", "postgres", "sqlite_template"]

# Three weeks in which Europe and then America set their clocks back.
FIRST_US = instant("2026-10-19T00:00:00Z")
LAST_US = instant("2026-11-09T00:00:00Z")


@dataclass(frozen=True, repr=False)
class Book:
    """A database, and what was posted into it: too much to be shown."""

    url: str
    engine: Engine
    entries: list[Entry]


@pytest.fixture(scope="session", params=BACKENDS)
def book(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: bytes
) -> Iterator[Book]:
    """Three thousand calls and their corrections."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("book") / "tollgate.db"
        path.write_bytes(sqlite_template)
        yield from _filled(f"sqlite:///{path}")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.take()
        yield from _filled(url)
        server.give_back(url)


def _filled(url: str) -> Iterator[Book]:
    engine = create_engine(url)
    entries = generate(3_000, seed=7, start_us=FIRST_US, end_us=LAST_US)
    posted_book(engine, entries)
    yield Book(url, engine, entries)
    engine.dispose()
