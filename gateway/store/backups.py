"""Copies of the database and the way back: SQLite's own online copy, PostgreSQL's own tools.

A copy of SQLite is made while the gateway serves. A copy is checked before it is called one, and what a
restore replaces is kept beside it.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.store.sessions import libpq_url, sqlite_path

__all__ = ["BackupFailed", "address", "backup", "restore"]

# SQLite pages between two reports of progress, and two chances for a writer to have its turn.
_PAGES: Final = 1024

Progress = Callable[[int, int], None]


class BackupFailed(Exception):
    """Why there is no copy, or no way back; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def backup(url: str, target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    """Write a copy of the database to `target`, which must not exist; `progress(done, total)` in pages.

    PostgreSQL's tools are looked for on the PATH of `environ`, and run with it.
    """
    if target.exists():
        raise BackupFailed(f"{target} is there already.", "Name a file that does not exist yet.")
    if not url.startswith("sqlite:///"):
        where, password = address(url)
        arguments = ["--format=custom", "--file", str(target), "--dbname", where]
        _run_tool("pg_dump", arguments, password, environ)
        return
    part = target.with_name(f"{target.name}.part")
    _copy(_existing(Path(sqlite_path(url))), part, progress)
    part.rename(target)


def restore(url: str, source: Path, progress: Progress, environ: Mapping[str, str]) -> Path | None:
    """Put the copy `source` in the database's place; where what was there is kept now, if anything was.

    Nobody may use the database meanwhile. PostgreSQL replaces its tables in one transaction and keeps none.
    """
    _existing(source)
    if not url.startswith("sqlite:///"):
        options = ["--clean", "--if-exists", "--no-owner", "--single-transaction"]
        where, password = address(url)
        _run_tool("pg_restore", [*options, "--dbname", where, str(source)], password, environ)
        return None
    path = Path(sqlite_path(url))
    part = path.with_name(f"{path.name}.part")
    _copy(source, part, progress)
    kept = _set_aside(path) if path.exists() else None
    part.rename(path)
    return kept


def _copy(source: Path, target: Path, progress: Progress) -> None:
    target.unlink(missing_ok=True)
    try:
        reading = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
        with closing(reading) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new, pages=_PAGES, progress=lambda _, left, total: progress(total - left, total))
            _check(new, source)
            # One file, without a log beside it that could be left behind.
            new.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        target.unlink(missing_ok=True)
        raise BackupFailed(
            f"{source} cannot be copied: {error}.", "Is it a database of the gateway?"
        ) from None
    except BackupFailed:
        target.unlink(missing_ok=True)
        raise


def _check(copy: sqlite3.Connection, source: Path) -> None:
    [verdict] = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise BackupFailed(f"{source} is damaged: {verdict}.", "Use an older copy.")
    known = copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    if known is None:
        raise BackupFailed(f"{source} is no database of the gateway.", "Name a file that `db backup` wrote.")


def _set_aside(path: Path) -> Path:
    """Rename the database; its log is copied back into it first, so that it is whole."""
    with closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        old.execute("PRAGMA journal_mode = DELETE")
    number = 1
    while (kept := path.with_name(f"{path.name}.before-restore-{number}")).exists():
        number += 1
    return path.rename(kept)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise BackupFailed(f"There is no file {path}.", "Check the path, and TOLLGATE_DATABASE__URL.")
    return path


def address(url: str) -> tuple[str, str | None]:
    """The address for a command line, which everybody on the machine can read, and the password apart."""
    parts = conninfo_to_dict(libpq_url(url))
    password = parts.pop("password", None)
    return make_conninfo("", **parts), None if password is None else str(password)


def _run_tool(name: str, arguments: Sequence[str], password: str | None, environ: Mapping[str, str]) -> None:
    tool = shutil.which(name, path=environ.get("PATH", ""))
    if tool is None:
        raise BackupFailed(
            f"{name} is not installed here.",
            f"Install PostgreSQL's client programs, or run {name} where they are.",
        )
    given = {**environ, "PGPASSWORD": password} if password else environ
    done = subprocess.run([tool, *arguments], env=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupFailed(f"{name} failed: {done.stderr.strip()[-500:]}", "Nothing was replaced.")
