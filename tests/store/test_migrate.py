"""Migrating at start: cheap when there is nothing to do, once when many start, all or nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from gateway.store import alembic_runner, migrate
from tests.databases import backend, empty_database, postgres

__all__ = ["backend", "empty_database", "postgres"]


@pytest.fixture
def engine(empty_database: str) -> Iterator[Engine]:
    made = create_engine(empty_database)
    yield made
    made.dispose()


def test_an_empty_database_is_behind_and_then_current(empty_database: str) -> None:
    assert migrate.check(empty_database) == migrate.SchemaVersion(None, "0001")
    assert migrate.check(empty_database).is_behind
    assert migrate.upgrade(empty_database).current is None
    assert migrate.check(empty_database) == migrate.SchemaVersion("0001", "0001")
    assert not migrate.upgrade(empty_database).is_behind


def test_a_database_ahead_is_left_alone(empty_database: str, engine: Engine) -> None:
    migrate.upgrade(empty_database)
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert not migrate.check(empty_database).is_behind
    assert migrate.upgrade(empty_database).current == "9999"


def test_many_starting_at_once_migrate_once(empty_database: str) -> None:
    def start(_: int) -> str | None:
        return migrate.upgrade(empty_database).current

    with ThreadPoolExecutor(6) as pool:
        found = sorted(str(each) for each in pool.map(start, range(6)))
    assert found == ["0001"] * 5 + ["None"]


def test_a_failing_revision_leaves_nothing_behind(
    empty_database: str, engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    versions = folder / "versions"
    versions.mkdir(parents=True)
    (folder / "env.py").write_text((migrate.FOLDER / "env.py").read_text())
    good = next((migrate.FOLDER / "versions").glob("0001_*.py"))
    (versions / good.name).write_text(good.read_text())
    (versions / "0002_fail_half_way.py").write_text(
        "from alembic import op\nrevision = '0002'\ndown_revision = '0001'\n"
        "def upgrade() -> None:\n"
        "    op.execute('CREATE TABLE half (id INTEGER)')\n"
        "    op.execute('SELECT nothing FROM nowhere')\n"
    )

    with pytest.raises(Exception, match="nowhere"), migrate.transaction(empty_database) as conn:
        alembic_runner.run(conn, folder)
    with engine.connect() as conn:
        assert inspect(conn).get_table_names() == []


def test_a_current_database_does_not_load_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tollgate.db'}"
    program = (
        "import sys; from gateway.store import migrate;"
        f"migrate.upgrade({url!r}); print('alembic' in sys.modules)"
    )
    loaded = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [each.stdout.strip() for each in loaded] == ["True", "False"]
    assert [each.stderr for each in loaded] == ["", ""]
