"""The database as the rest of the gateway sees it: functions on a connection, run in threads, awaited.

One writer thread with one connection does every transaction that changes something, by rank: asks for
headroom before returns, before posting, before admin changes. Readers never write and never delay it; the
ledger's own look-ups have a reader to themselves, so that a long report does not hold up a recall.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection

from gateway.domain.errors import Unavailable
from gateway.store.lanes import Lane
from gateway.store.outcomes import DatabaseAway, DatabaseRefused, DatabaseUnknown
from gateway.store.sessions import PostgresSession, SqliteReader, SqliteWriter, sqlite_path

__all__ = ["ADMIN", "ASK", "POST", "RETURN", "Database"]

P = ParamSpec("P")
T = TypeVar("T")

# Ranks of the writer's queue: lower goes first.
ASK: Final = 0
RETURN: Final = 1
POST: Final = 2
ADMIN: Final = 3


class Database:
    """One database, from one process. Functions get a `Connection` inside a transaction that is theirs."""

    def __init__(self, url: str, *, readers: int = 2) -> None:
        """`url`: `sqlite:///path` or `postgresql://...` in libpq's form. Nothing is opened yet."""
        self.url = url
        if url.startswith("sqlite:///"):
            path = sqlite_path(url)
            self.dialect = "sqlite"
            write, read = (lambda: SqliteWriter(path)), (lambda: SqliteReader(path))
            self._writer, self._watcher = Lane("writer", write), Lane("watcher", read)
            self._readers = Lane("reader", read, readers)
        elif url.startswith(("postgresql://", "postgresql+psycopg://")):
            self.dialect = "postgresql"
            self._writer = Lane("writer", lambda: PostgresSession(url, is_writer=True))
            self._watcher = Lane("watcher", lambda: PostgresSession(url, is_writer=False))
            self._readers = Lane("reader", lambda: PostgresSession(url, is_writer=False), readers)
        else:
            raise ValueError("a database URL begins with sqlite:/// or postgresql://")

    async def account(
        self,
        rank: int,
        fn: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run an accounting transaction. Raises what `store.outcomes` lists, or what `fn` raised."""
        result: T = await self._writer.submit(rank, lambda conn: fn(conn, *args, **kwargs))
        return result

    async def watch(
        self, fn: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one of the ledger's reads in a snapshot; raises like `account`."""
        result: T = await self._watcher.submit(ASK, lambda conn: fn(conn, *args, **kwargs))
        return result

    async def write(
        self, fn: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an admin change: one transaction, after any accounting that waits.

        Raises `Unavailable` when the database cannot be reached or the outcome is not known, and the
        driver's error (an IntegrityError, say) when it refused.
        """
        result: T = await _answered(self._writer.submit(ADMIN, lambda conn: fn(conn, *args, **kwargs)))
        return result

    async def read(
        self, fn: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a read for the admin plane or a report, in a snapshot of its own; raises like `write`."""
        result: T = await _answered(self._readers.submit(ADMIN, lambda conn: fn(conn, *args, **kwargs)))
        return result

    async def stop(self) -> None:
        """Finish what is queued and close every connection."""
        loop = asyncio.get_running_loop()
        for lane in (self._readers, self._watcher, self._writer):
            await loop.run_in_executor(None, lane.stop)


async def _answered(future: asyncio.Future[Any]) -> Any:
    try:
        return await future
    except DatabaseRefused as refused:
        raise refused.cause from None
    except DatabaseAway as away:
        raise Unavailable(
            "ledger_unavailable",
            "The database cannot be reached.",
            hint=f"Nothing was changed; try again. The database says: {away}",
            retry_after_s=1,
        ) from None
    except DatabaseUnknown as unknown:
        raise Unavailable(
            "ledger_unavailable",
            "The connection to the database broke while it committed.",
            hint=f"The change may have been made; look before repeating it. The database says: {unknown}",
            retry_after_s=1,
        ) from None
