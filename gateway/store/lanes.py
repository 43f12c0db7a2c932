"""A lane: threads with a connection each, working off one queue of transactions in order of rank.

The event loop never waits for SQL; it hands a function over and hears the outcome. A thread that has begun a
transaction is always waited for, never abandoned: only so is its outcome known.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.store.outcomes import DatabaseAway, of_body, of_commit
from gateway.store.sessions import Opener, Session

__all__ = ["Lane"]


class _Job(NamedTuple):
    """Ordered by rank, then by arrival; `body` None ends a thread."""

    rank: int
    number: int
    body: Callable[[Connection], Any] | None
    future: asyncio.Future[Any] | None
    loop: asyncio.AbstractEventLoop | None


class Lane:
    """`threads` threads that open their connections when they are first needed."""

    def __init__(self, name: str, opener: Opener, threads: int = 1) -> None:
        self._opener = opener
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, rank: int, body: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Run `body(conn)` as one transaction. Cancelling the future before its turn drops the job; after
        that the transaction runs on and nobody hears of it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put(_Job(rank, next(self._numbers), body, future, loop))
        return future

    def stop(self) -> None:
        """Let the threads finish what is queued, close their connections, and wait for them. Blocks."""
        for _ in self._threads:
            self._jobs.put(_Job(1 << 30, next(self._numbers), None, None, None))
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        session: Session | None = None
        while True:
            job = self._jobs.get()
            if job.body is None:
                break
            assert job.future is not None
            assert job.loop is not None
            if job.future.cancelled():
                continue
            result, error, session = self._run(job.body, session)
            _tell(job.loop, job.future, result, error)
        if session is not None:
            _close(session)

    def _run(
        self, body: Callable[[Connection], Any], session: Session | None
    ) -> tuple[Any, BaseException | None, Session | None]:
        """One transaction: its result or error, and the session if it can be used again."""
        try:
            session = self._opener() if session is None else session
            conn = session.begin()
        except (DBAPIError, OSError) as error:
            if session is not None:
                _close(session)
            return None, DatabaseAway(error), None
        try:
            result = body(conn)
        except Exception as error:
            outcome = of_body(error) if isinstance(error, DBAPIError) else error
            return None, outcome, _rolled_back(session)
        try:
            session.commit()
        except (DBAPIError, OSError) as error:
            return None, of_commit(error, session.is_open), _rolled_back(session)
        return result, None, session


def _rolled_back(session: Session) -> Session | None:
    try:
        session.rollback()
    except (DBAPIError, OSError):
        _close(session)
        return None
    return session


def _close(session: Session) -> None:
    try:
        session.close()
    except (DBAPIError, OSError):
        # It is gone already, which is why it is being closed.
        pass


def _tell(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    result: Any,
    error: BaseException | None,
) -> None:
    try:
        loop.call_soon_threadsafe(_settle, future, result, error)
    except RuntimeError:
        # The loop has ended; there is nobody left to tell.
        pass


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
