"""What Alembic runs around a revision: which database, and which tables the models say there should be.

The gateway hands in an open connection, whose transaction it owns. A developer's `alembic` command has none
and names the database with `-x url=...`.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from gateway.store.tables import metadata
from gateway.store.tables.answers import answers

assert answers.metadata is metadata


def _run(connection: Connection) -> None:
    # SQLite alters tables by copying them, which Alembic calls batch mode.
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


def _run_online() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run(connection)
        return
    url = context.get_x_argument(as_dictionary=True).get("url")
    if url is None:
        raise SystemExit("Say which database: alembic -x url=sqlite:///data/tollgate.db ...")
    with create_engine(url, poolclass=NullPool).begin() as opened:
        _run(opened)


_run_online()
