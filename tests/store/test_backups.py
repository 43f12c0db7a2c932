"""Copies of a database: what is written, what is refused, what is on a command line."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.backups import BackupFailed, address, backup, restore
from tests.databases import sqlite_template

__all__ = ["sqlite_template"]


def test_no_password_is_on_a_command_line() -> None:
    where, password = address("postgresql://someone:secret%21@db.example:5433/tollgate?sslmode=require")
    assert password == "secret!"
    assert "secret" not in where
    assert "host=db.example" in where
    assert address("postgresql+psycopg://db.example/tollgate")[1] is None


def test_a_copy_is_made_beside_a_writer_and_has_what_was_committed(
    tmp_path: Path, sqlite_template: bytes
) -> None:
    path, copy = tmp_path / "odd name?%.db", tmp_path / "copy.db"
    path.write_bytes(sqlite_template)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO meta (name, value) VALUES ('a', '')")
        writer.commit()
        writer.execute("INSERT INTO meta (name, value) VALUES ('b', '')")
        seen: list[tuple[int, int]] = []
        backup(f"sqlite:///{path}", copy, lambda done, total: seen.append((done, total)), {})
        writer.rollback()
    assert seen[-1][0] == seen[-1][1] > 0
    with closing(sqlite3.connect(copy)) as made:
        assert made.execute("SELECT name FROM meta").fetchall() == [("a",)]


def test_a_failing_restore_leaves_what_is_there(tmp_path: Path, sqlite_template: bytes) -> None:
    path, source = tmp_path / "tollgate.db", tmp_path / "damaged.db"
    path.write_bytes(sqlite_template)
    source.write_bytes(sqlite_template[:8192] + b"\xff" * (len(sqlite_template) - 8192))
    with pytest.raises(BackupFailed):
        restore(f"sqlite:///{path}", source, lambda done, total: None, {})
    assert path.read_bytes() == sqlite_template
    assert sorted(each.name for each in tmp_path.iterdir()) == ["damaged.db", "tollgate.db"]
