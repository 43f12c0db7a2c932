"""One worker's way to the database: what it sends, what becomes of it, and what it hears.

Everything that networks and crashes do to a transaction is done here: it is lost before it is sent, after it
was executed, or on its way, to be executed at any later time; it is held up while the worker goes on. Each
execution notes, inside the same transaction, how the journal stands before and after it, so that an auditor
knows what a worker that heard the answer may believe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast

from sqlalchemy import Connection

from gateway.ledger.courier import Accounting, Identity
from gateway.store.outcomes import DatabaseAway, DatabaseUnknown
from gateway.store.sql import run

__all__ = ["Executed", "Fault", "Listener", "Sent", "Wire"]

T = TypeVar("T")

# away: never sent. unheard: executed, the answer is lost. late: neither executed nor heard, until delivered.
Fault = Literal["away", "unheard", "late"]
Place = Literal["sent", "answered"]


class Sent(NamedTuple):
    """A transaction: `name` is its body's, not that of the wrapper that moves the serial."""

    name: str
    journal: str
    args: Sequence[Any]


class Executed(NamedTuple):
    """What an execution did to its journal: the leases before and after, `posted` after, and every window's
    (cap, spent) after."""

    result: Any
    before: Mapping[int, int]
    after: Mapping[int, int]
    posted: int
    figures: Mapping[int, tuple[int, int]]


class Listener(Protocol):
    """Whoever keeps books about what a worker has sent and heard."""

    def sent(self, transaction: Sent) -> None: ...

    def heard(self, transaction: Sent, executed: Executed) -> None: ...

    def failed(self, transaction: Sent) -> None: ...

    def looked(self, windows: Sequence[int], figures: Mapping[int, tuple[int, int]]) -> None: ...

    def opening(self, conn: Connection, transaction: Sent) -> None: ...


class Wire:
    """A faulty connection in front of a database, made for one worker and told what to do by a test.

    `faults` are used up by accounting transactions one by one. `hold_up` parks the next one where it says.
    `planted` maps a piece of SQL to what it is replaced by: a defect, to see that somebody notices.
    """

    def __init__(
        self,
        database: Accounting,
        late: list[Callable[[], Awaitable[Any]]],
        planted: Mapping[str, str],
    ) -> None:
        self.database = database
        self.listener: Listener | None = None
        self.is_away = False
        self.faults: deque[Fault] = deque()
        self.hold_up: Place | None = None
        self.parked: asyncio.Event | None = None
        self.has_parked = asyncio.Event()
        self._late = late
        self._planted = planted

    async def account(self, rank: int, fn: Callable[..., T], /, *args: Any) -> T:
        transaction = _describe(fn, args)
        if self.is_away:
            raise DatabaseAway(OSError("no route to the database"))
        fault = self.faults.popleft() if self.faults else None
        if fault == "away":
            raise DatabaseAway(OSError("connection refused"))
        self._listener.sent(transaction)
        try:
            await self._park("sent")
        except asyncio.CancelledError:
            # Its sender is dead, and it is still on its way.
            self._late.append(lambda: self._execute(rank, transaction, fn, args))
            raise
        if fault == "late":
            self._late.append(lambda: self._execute(rank, transaction, fn, args))
            raise DatabaseUnknown("connection lost during COMMIT")
        try:
            executed = await self._execute(rank, transaction, fn, args)
        except BaseException:
            self._listener.failed(transaction)
            raise
        await self._park("answered")
        if fault == "unheard":
            raise DatabaseUnknown("connection lost during COMMIT")
        self._listener.heard(transaction, executed)
        return cast(T, executed.result)

    async def watch(self, fn: Callable[..., T], /, *args: Any) -> T:
        if self.is_away:
            raise DatabaseAway(OSError("no route to the database"))
        result, figures = await self.database.watch(_look, fn, args)
        self._listener.looked(args[1], figures)
        return cast(T, result)

    @property
    def _listener(self) -> Listener:
        assert self.listener is not None, "somebody keeps books"
        return self.listener

    async def _park(self, place: Place) -> None:
        if self.hold_up == place:
            self.hold_up = None
            self.parked = asyncio.Event()
            self.has_parked.set()
            await self.parked.wait()

    def let_go(self) -> None:
        """Whatever is parked goes on."""
        self.hold_up = None
        self.has_parked.clear()
        if self.parked is not None:
            self.parked.set()
            self.parked = None

    async def _execute(
        self, rank: int, transaction: Sent, fn: Callable[..., Any], args: Sequence[Any]
    ) -> Executed:
        def observed(conn: Connection) -> Executed:
            if transaction.name == "open_window":
                self._listener.opening(conn, transaction)
            before = _leases(conn, transaction.journal)
            spoken = cast(Connection, _Planted(conn, self._planted)) if self._planted else conn
            result = fn(spoken, *args)
            after = _leases(conn, transaction.journal)
            return Executed(result, before, after, _posted(conn, transaction.journal), _figures(conn))

        return await self.database.account(rank, observed)


class _Planted:
    """A connection that says something else than it was told where a defect is planted."""

    def __init__(self, conn: Connection, planted: Mapping[str, str]) -> None:
        self._conn = conn
        self._planted = planted

    def exec_driver_sql(self, statement: str, parameters: Any = None) -> Any:
        for piece, other in self._planted.items():
            statement = statement.replace(piece, other)
        return self._conn.exec_driver_sql(statement, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


def _describe(fn: Callable[..., Any], args: Sequence[Any]) -> Sent:
    if len(args) == 5 and callable(args[3]):
        # The journal, its serial and the time go before the body that has its turn.
        return Sent(args[3].__name__, args[0], args[4])
    journal = args[0].journal if args and isinstance(args[0], Identity) else ""
    return Sent(fn.__name__, journal, args)


def _look(
    conn: Connection, fn: Callable[..., Any], args: Sequence[Any]
) -> tuple[Any, dict[int, tuple[int, int]]]:
    return fn(conn, *args), _figures(conn)


def _leases(conn: Connection, journal: str) -> dict[int, int]:
    return dict(iter(run(conn, "SELECT win, amount FROM leases WHERE journal = ?", (journal,)).all()))


def _posted(conn: Connection, journal: str) -> int:
    row = run(conn, "SELECT posted FROM journals WHERE id = ?", (journal,)).one_or_none()
    return 0 if row is None else int(row[0])


def _figures(conn: Connection) -> dict[int, tuple[int, int]]:
    return {row[0]: (row[1], row[2]) for row in run(conn, "SELECT id, cap, spent FROM windows").all()}
