"""The revisions: up and down on both databases, and the shape they make is the one the models describe."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.schema import CreateIndex, CreateTable

from gateway.store import alembic_runner, migrate
from gateway.store.tables import metadata
from gateway.store.tables.answers import answers

TABLES = {*metadata.tables, answers.name}


@pytest.fixture
def engine(empty_database: str) -> Iterator[Engine]:
    made = create_engine(empty_database)
    yield made
    made.dispose()


def tables_of(conn: Connection) -> set[str]:
    return set(inspect(conn).get_table_names()) - {"alembic_version"}


def test_models_equal_migrations(engine: Engine, empty_database: str) -> None:
    migrate.upgrade(empty_database)
    with engine.connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_up_down_up(engine: Engine, empty_database: str) -> None:
    migrate.upgrade(empty_database)
    with migrate.transaction(empty_database) as conn:
        assert tables_of(conn) == TABLES
        alembic_runner.downgrade(conn, migrate.FOLDER, "base")
        assert tables_of(conn) == set()
    assert migrate.check(empty_database).is_behind
    migrate.upgrade(empty_database)
    with engine.connect() as conn:
        assert tables_of(conn) == TABLES


def sqlite_schema(conn: Connection) -> dict[str, list[str]]:
    rows = conn.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {row.name: clauses(row.sql) for row in rows if row.name != "alembic_version"}


def clauses(statement: str) -> list[str]:
    """The words of a statement's clauses, in an order of their own: constraints may stand in any."""
    return sorted(re.split(r"[\s,]+", statement))


def test_sqlite_gets_the_very_statements_of_the_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`compare_metadata` does not see CHECKs, WITHOUT ROWID or a partial index's condition; this does."""
    folder = tmp_path_factory.mktemp("schemas")
    by_models = create_engine(f"sqlite:///{folder / 'models.db'}")
    migrated = f"sqlite:///{folder / 'migrations.db'}"
    by_migrations = create_engine(migrated)
    metadata.create_all(by_models)
    migrate.upgrade(migrated)
    with by_models.connect() as one, by_migrations.connect() as other:
        assert sqlite_schema(one) == sqlite_schema(other)
    by_models.dispose()
    by_migrations.dispose()


@pytest.mark.slow
def test_postgresql_gets_the_checks_and_conditions_of_the_models(request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres")
    migrated = server.create()
    by_models, by_migrations = create_engine(server.create()), create_engine(migrated)
    metadata.create_all(by_models)
    migrate.upgrade(migrated)
    with by_models.connect() as one, by_migrations.connect() as other:
        assert postgres_constraints(one) == postgres_constraints(other)
    by_models.dispose()
    by_migrations.dispose()


def postgres_constraints(conn: Connection) -> set[tuple[str, str]]:
    checks = conn.execute(
        text(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%'"
        )
    )
    indexes = conn.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"))
    return {
        (str(name), str(definition))
        for name, definition in [*checks, *indexes]
        if not name.startswith("alembic")
    }


def test_history_is_one_line_and_files_are_named_by_it() -> None:
    script = ScriptDirectory(str(migrate.FOLDER))
    revisions = list(script.walk_revisions())
    assert [script.get_current_head()] == script.get_heads()
    assert script.get_current_head() == migrate.SchemaVersion(None, max(r.revision for r in revisions)).head
    for revision in revisions:
        assert revision.module.__file__ is not None
        assert f"/{revision.revision}_" in revision.module.__file__


def test_every_model_can_be_created_from_its_own_statement() -> None:
    """A model that only one database understands would first fail at a customer."""
    for table in metadata.sorted_tables:
        assert str(CreateTable(table))
        for index in table.indexes:
            assert str(CreateIndex(index))
