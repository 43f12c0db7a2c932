"""The one door to Alembic; `gateway.store.migrate` opens it when there is something to migrate."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

__all__ = ["config", "downgrade", "run"]


def config(conn: Connection, folder: Path) -> Config:
    """Alembic's configuration without a file: the folder of revisions and an open connection."""
    made = Config()
    made.set_main_option("script_location", str(folder).replace("%", "%%"))
    made.attributes["connection"] = conn
    return made


def run(conn: Connection, folder: Path) -> None:
    """Every revision the database lacks, inside the connection's transaction."""
    command.upgrade(config(conn, folder), "head")


def downgrade(conn: Connection, folder: Path, revision: str) -> None:
    """Back to `revision` ("base" is before the first), inside the connection's transaction."""
    command.downgrade(config(conn, folder), revision)
