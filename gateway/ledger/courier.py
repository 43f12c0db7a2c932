"""Carries one journal's transactions to SQL, one at a time, and knows what became of each.

Each transaction moves the journal's serial from the number last heard, so it happens once or never. When its
outcome is not known the next thing carried is a resync, which moves the serial past it and reads how things
stand; until that is heard nothing is added back and nothing else is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.clock import Clock
from gateway.ledger.timer import Timer
from gateway.store.journals import FINISHED, SerialMoved, Standing, begin, register, resync
from gateway.store.outcomes import DatabaseAway, DatabaseFailed, DatabaseRefused, DatabaseUnknown

__all__ = ["Accounting", "Courier", "Errand", "ErrandFailed", "Identity", "Source", "deliver"]

T = TypeVar("T")

BACK_OFF_S: Final = 0.05
BACK_OFF_MAX_S: Final = 2.0
# So many asks in a row, and a return or a post has its turn: others may be waiting for it.
STREAK: Final = 8


class Accounting(Protocol):
    """The database, as far as the ledger uses it: `store.engine.Database`, or a test's faulty one."""

    async def account(self, rank: int, fn: Callable[..., T], /, *args: Any) -> T: ...

    async def watch(self, fn: Callable[..., T], /, *args: Any) -> T: ...


class Identity(NamedTuple):
    """Which journal a courier carries for."""

    journal: str
    data_dir: str
    host: str


class Errand(NamedTuple):
    """One transaction: `body(conn, *args)` after the serial has moved, and what to do with its outcome.

    `sync_to` is the seq up to which the journal must be on disk before it is sent. `prepare` makes the last
    argument, in a thread and before the transaction, so that no lock is held over it. `heard` gets the
    body's result; `failed` means that nothing happened; an unknown outcome calls neither: the resync that
    follows tells how things stand.
    """

    rank: int
    body: Callable[..., Any]
    args: Sequence[Any]
    heard: Callable[[Any], None]
    failed: Callable[[Exception], None]
    sync_to: int = 0
    prepare: Callable[[], Any] | None = None


class ErrandFailed(Exception):
    """An errand's own work went wrong; nothing happened, and the same will go wrong again."""


class Source(Protocol):
    """Something that has errands: it debits, and names the transaction, in one step of the event loop."""

    def next_errand(self) -> Errand | None: ...


class Courier:
    """One per journal. `serial` is as last heard."""

    def __init__(
        self,
        database: Accounting,
        identity: Identity,
        clock: Clock,
        timer: Timer,
        *,
        posted: Callable[[], int],
        synced: Callable[[int], Any],
        on_resync: Callable[[Standing], None],
        on_finished: Callable[[Standing | None], None],
    ) -> None:
        """`posted` is as last heard; `synced(seq)` awaits the journal's disk; `on_resync` applies what SQL
        says; `on_finished` hears that the journal is at its end, None where SQL has none of it."""
        self._database = database
        self._identity = identity
        self._clock = clock
        self._timer = timer
        self._posted = posted
        self._synced = synced
        self._on_resync = on_resync
        self._on_finished = on_finished
        self._sources: list[Source] = []
        self._wake = asyncio.Event()
        self._halt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._back_off_s = 0.0
        self._streak = 0  # errands of the most urgent source in a row
        self.serial = 0
        self.is_adrift = True  # until registered, and after an unknown outcome
        self.is_registered = False
        self.is_finished = False
        self.heard_at_us = 0  # when a transaction was last heard of
        self.away_since_us: int | None = None
        self.away_reason = ""

    def attach(self, sources: Sequence[Source]) -> None:
        """Whose errands are carried, the most urgent first."""
        self._sources = list(sources)

    def drift(self) -> None:
        """Have how the journal stands read before the next errand."""
        self.is_adrift = True

    def wake(self) -> None:
        """There may be an errand."""
        self._wake.set()

    async def run(self) -> None:
        """Carry whatever there is, until halted; never cancelled with a transaction under way."""
        while not self._halt.done():
            if not await self.step():
                wake = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait((wake, self._halt), return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
            else:
                await self.back_off(self._halt)

    def halt(self) -> None:
        """End `run` after the transaction under way."""
        if not self._halt.done():
            self._halt.set_result(None)

    async def back_off(self, until: asyncio.Future[None]) -> None:
        """Wait as long as the last failures ask for, or until that."""
        if self._back_off_s:
            pause = asyncio.ensure_future(self._timer.pause(self._back_off_s))
            await asyncio.wait((pause, until), return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()

    async def step(self) -> bool:
        """Carry one errand (a resync first, if one is due); False when there was nothing to do."""
        self._wake.clear()
        if self.is_finished:
            return False
        if self.is_adrift:
            await self.resync()
            return True
        errand = self._next()
        if errand is None:
            return False
        await self._carry(errand)
        return True

    def _next(self) -> Errand | None:
        """The most urgent errand; now and then one of the others, so that none waits for ever."""
        sources = self._sources
        if self._streak >= STREAK:
            sources = [*sources[1:], *sources[:1]]
        for source in sources:
            errand = source.next_errand()
            if errand is not None:
                self._streak = self._streak + 1 if source is self._sources[0] else 0
                return errand
        return None

    async def _carry(self, errand: Errand) -> None:
        try:
            await self._synced(errand.sync_to)
        except OSError as error:
            errand.failed(error)
            self._delay()
            return
        serial = self.serial
        try:
            result = await deliver(
                self._database, errand, self._identity.journal, serial, self._clock.now_us()
            )
        except DatabaseUnknown as unknown:
            self._lost(str(unknown))
        except SerialMoved as moved:
            # Nothing of it happened; who moved the serial, the resync will tell.
            self.is_adrift = True
            errand.failed(moved)
        except DatabaseAway as away:
            errand.failed(away)
            self._gone(str(away))
        except (DatabaseRefused, ErrandFailed) as error:
            errand.failed(error)
        else:
            self.serial = serial + 1
            self._came_back()
            errand.heard(result)

    async def resync(self) -> None:
        """Register the journal, or find out how it stands after an outcome that was not heard."""
        identity = self._identity
        try:
            standing = await self._database.account(
                0, _stand, identity, not self.is_registered, self._clock.now_us()
            )
        except (DatabaseUnknown, DatabaseFailed) as error:
            self._gone(str(error))
        else:
            self._came_back()
            self._apply(standing)

    def _apply(self, standing: Standing | None) -> None:
        # A row that is gone, or has less than was heard: the database was restored to an earlier state.
        if standing is None or standing.state in FINISHED or standing.posted < self._posted():
            self.is_finished = True
            self._on_finished(standing)
            return
        self.serial = standing.serial
        self.is_adrift = False
        self.is_registered = True
        self._on_resync(standing)

    def _lost(self, reason: str) -> None:
        self.is_adrift = True
        self._gone(reason)

    def _gone(self, reason: str) -> None:
        if self.away_since_us is None:
            self.away_since_us = self._clock.now_us()
        self.away_reason = reason
        self._delay()

    def _delay(self) -> None:
        self._back_off_s = min(BACK_OFF_MAX_S, self._back_off_s * 2 or BACK_OFF_S)

    def _came_back(self) -> None:
        self.heard_at_us = self._clock.now_us()
        self.away_since_us = None
        self.away_reason = ""
        self._back_off_s = 0.0


async def deliver(database: Accounting, errand: Errand, journal: str, serial: int, now_us: int) -> Any:
    """Carry out one errand as the journal's next transaction; raises what became of it otherwise."""
    args = errand.args
    if errand.prepare is not None:
        made = await asyncio.get_running_loop().run_in_executor(None, _guarded, errand.prepare)
        args = (*args, made)
    return await database.account(errand.rank, _in_turn, journal, serial, now_us, errand.body, args)


def _in_turn(
    conn: Connection, journal: str, serial: int, now_us: int, body: Callable[..., T], args: Sequence[Any]
) -> T:
    """The body of every errand's transaction: the serial first."""
    begin(conn, journal, serial, now_us)
    return _guarded(body, conn, *args)


def _guarded(work: Callable[..., T], *args: Any) -> T:
    """Do an errand's own work. What it finds wrong itself (a value no driver can send, a record it cannot
    read) is a failure of the errand, not of the courier: nothing of it was committed."""
    try:
        return work(*args)
    except DBAPIError:
        raise
    except Exception as error:
        raise ErrandFailed(f"{type(error).__name__}: {error}") from error


def _stand(conn: Connection, identity: Identity, is_new: bool, now_us: int) -> Standing | None:
    if is_new:
        register(conn, identity.journal, identity.data_dir, identity.host, now_us)
    return resync(conn, identity.journal)
