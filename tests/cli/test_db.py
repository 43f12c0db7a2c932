"""`tollgate db`: upgrade, check, backup and restore, without a gateway."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.cli.conftest import Tollgate
from tests.databases import Postgres


@pytest.fixture
def db(run: Tollgate, empty_database: str, tmp_path: Path) -> Tollgate:
    environ = {"TOLLGATE_DATABASE__URL": empty_database, "TOLLGATE_SERVER__DATA_DIR": str(tmp_path)}
    return lambda *arguments: run("db", *arguments, environ=environ)


def test_upgrade_and_check(db: Tollgate) -> None:
    behind = db("check")
    assert (behind.status, behind.out) == (1, "behind: at nothing, this release brings 0001\n")
    assert db("check", "--json").json == {"current": None, "head": "0001", "behind": True}
    assert db("upgrade").out == "upgraded from nothing to 0001\n"
    assert db("upgrade").out == "up to date at 0001\n"
    assert db("upgrade", "--json").json == {"before": "0001", "now": "0001"}
    assert (db("check").status, db("check", "--json").json["behind"]) == (0, False)


def test_a_bad_setting_is_2(run: Tollgate) -> None:
    result = run("db", "check", environ={"TOLLGATE_SERVER__PRT": "1"})
    assert result.status == 2
    assert "server.prt" in result.err


def names(url: str) -> list[str]:
    with create_engine(url, poolclass=NullPool).connect() as conn:
        return list(conn.execute(text("SELECT name FROM meta ORDER BY name")).scalars())


def add(url: str, name: str) -> None:
    with create_engine(url, poolclass=NullPool).begin() as conn:
        conn.execute(text("INSERT INTO meta (name, value) VALUES (:name, '')"), {"name": name})


class TestSqlite:
    @pytest.fixture
    def backend(self) -> str:
        return "sqlite"

    def test_a_copy_is_made_and_comes_back(self, db: Tollgate, empty_database: str, tmp_path: Path) -> None:
        db("upgrade")
        add(empty_database, "kept")
        copy = tmp_path / "copy.db"
        made = db("backup", str(copy))
        assert (made.status, made.out) == (0, f"{copy}\n")
        add(empty_database, "later")
        assert db("backup", str(copy)).status == 1
        restored = db("restore", str(copy), "--json")
        assert restored.status == 0
        assert names(empty_database) == ["kept"]
        assert names(f"sqlite:///{restored.json['kept']}") == ["kept", "later"]
        again = db("restore", str(copy))
        assert "before-restore-2" in again.err
        assert sorted(path.name for path in tmp_path.iterdir() if ".part" in path.name) == []

    def test_what_is_no_copy_is_refused(self, db: Tollgate, empty_database: str, tmp_path: Path) -> None:
        db("upgrade")
        add(empty_database, "kept")
        junk, other = tmp_path / "junk", tmp_path / "other.db"
        junk.write_bytes(b"x" * 10_000)
        with create_engine(f"sqlite:///{other}", poolclass=NullPool).begin() as conn:
            conn.execute(text("CREATE TABLE something (id INTEGER)"))
        for source in (junk, other, tmp_path / "missing"):
            refused = db("restore", str(source))
            assert (refused.status, refused.out) == (1, "")
            assert refused.err
        assert names(empty_database) == ["kept"]

    def test_a_running_gateway_is_not_restored_under(
        self, db: Tollgate, empty_database: str, tmp_path: Path
    ) -> None:
        db("upgrade")
        copy = tmp_path / "copy.db"
        db("backup", str(copy))
        lock = tmp_path / "journals" / "j1" / "lock"
        lock.parent.mkdir(parents=True)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            refused = db("restore", str(copy))
            assert refused.status == 1
            assert "running" in refused.err
        assert db("restore", str(copy)).status == 0


@pytest.mark.slow
class TestPostgres:
    @pytest.fixture
    def backend(self) -> str:
        return "postgresql"

    def test_a_copy_is_made_and_comes_back(
        self, run: Tollgate, postgres: Postgres, empty_database: str, tmp_path: Path
    ) -> None:
        environ = {"TOLLGATE_DATABASE__URL": empty_database, "TOLLGATE_SERVER__DATA_DIR": str(tmp_path)}
        with_tools = {**environ, "PATH": str(postgres.programs)}
        run("db", "upgrade", environ=environ)
        add(empty_database, "kept")
        copy = tmp_path / "copy.dump"
        without = run("db", "backup", str(copy), environ={**environ, "PATH": str(tmp_path)})
        assert without.status == 1
        assert "pg_dump is not installed here." in without.err
        made = run("db", "backup", str(copy), environ=with_tools)
        assert (made.status, made.out) == (0, f"{copy}\n")
        add(empty_database, "later")
        assert run("db", "restore", str(copy), environ=with_tools).status == 0
        assert names(empty_database) == ["kept"]
        copy.write_bytes(b"x" * 1000)
        broken = run("db", "restore", str(copy), environ=with_tools)
        assert broken.status == 1
        assert "pg_restore failed" in broken.err
        assert names(empty_database) == ["kept"]
