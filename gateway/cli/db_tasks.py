"""What `tollgate db` does, apart from `cli.db`: it loads SQL, which other commands need not wait for."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.progress import Progress

from gateway.cli.client import FOUND_A_PROBLEM, USAGE, CommandFailed
from gateway.cli.session import Session
from gateway.settings import Settings, SettingsError, load
from gateway.store.backups import BackupFailed, backup, restore
from gateway.store.migrate import SchemaVersion, check, upgrade

__all__ = ["backup_to", "check_version", "restore_from", "upgrade_now"]

T = TypeVar("T")


def upgrade_now(session: Session, config: str | None) -> SchemaVersion:
    """Bring the database up to date; where it stood before."""
    settings = _settings(session, config)
    with session.working("Migrating ..."):
        return upgrade(settings.database_url)


def check_version(session: Session, config: str | None) -> SchemaVersion:
    """Where the database stands."""
    return check(_settings(session, config).database_url)


def backup_to(session: Session, config: str | None, target: Path) -> None:
    """Write a copy."""
    url = _settings(session, config).database_url
    _with_progress(session, "Copying", lambda progress: backup(url, target, progress, session.environ))


def restore_from(session: Session, config: str | None, source: Path) -> Path | None:
    """Put a copy in the database's place; where what was there is now."""
    settings = _settings(session, config)
    _refuse_while_serving(Path(settings.server.data_dir))
    url = settings.database_url
    return _with_progress(
        session, "Restoring", lambda progress: restore(url, source, progress, session.environ)
    )


def _settings(session: Session, config: str | None) -> Settings:
    try:
        return load(session.environ, config or session.environ.get("TOLLGATE_CONFIG"))
    except SettingsError as error:
        raise CommandFailed(str(error), exit_status=USAGE) from None


def _with_progress(session: Session, what: str, work: Callable[[Callable[[int, int], None]], T]) -> T:
    """Run `work` with a bar on a terminal; its failure becomes words."""
    with Progress(console=session.words, transient=True, disable=not session.words.is_terminal) as shown:
        task = shown.add_task(what, total=None)

        def advance(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        try:
            return work(advance)
        except BackupFailed as failure:
            raise CommandFailed(failure.message, failure.hint) from None


def _refuse_while_serving(data_dir: Path) -> None:
    """A worker holds the lock of its journal as long as it lives."""
    for lock in sorted(data_dir.glob("journals/*/lock")):
        handle = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandFailed(
                f"A gateway is running in {data_dir}.", "Stop it first.", FOUND_A_PROBLEM
            ) from None
        finally:
            os.close(handle)
