"""An event loop and a database that do everything at once, in one thread, so that a run repeats exactly.

Sessions, SQL and the sorting of outcomes are the gateway's own; only threads are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.store.outcomes import of_body, of_commit
from gateway.store.sessions import PostgresSession, Session, SqliteWriter, sqlite_path

__all__ = ["InlineDatabase", "InlineLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class InlineLoop(asyncio.SelectorEventLoop):
    """Blocking work is done where it is asked for."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """A future that is done already."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class InlineDatabase:
    """One connection, one transaction after the other."""

    def __init__(self, url: str) -> None:
        self._session: Session
        if url.startswith("sqlite:///"):
            self._session = SqliteWriter(sqlite_path(url))
        else:
            self._session = PostgresSession(url, is_writer=True)

    async def account(self, rank: int, fn: Callable[..., T], /, *args: Any) -> T:
        """An accounting transaction; raises what `store.outcomes` lists."""
        session = self._session
        conn = session.begin()
        try:
            result = fn(conn, *args)
        except DBAPIError as error:
            session.rollback()
            raise of_body(error) from None
        except BaseException:
            session.rollback()
            raise
        try:
            session.commit()
        except DBAPIError as error:
            session.rollback()
            raise of_commit(error, session.is_open) from None
        return result

    async def watch(self, fn: Callable[..., T], /, *args: Any) -> T:
        """A read of the ledger's."""
        return await self.account(0, fn, *args)

    def now(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """A change or a read by somebody else."""
        conn: Connection = self._session.begin()
        try:
            result = fn(conn, *args, **kwargs)
        except BaseException:
            self._session.rollback()
            raise
        self._session.commit()
        return result

    def close(self) -> None:
        """Let go of the connection."""
        self._session.close()
