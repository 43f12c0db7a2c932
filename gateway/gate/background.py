"""Answers that are made in the background: their holds live until it is known how they end.

The worker that began such an answer asks for it, ever less often, until it has ended, and settles its
attempt then; a client that looks it up here settles it sooner. Its id is in SQL before the client has it,
so that any worker answers for it, and in the journal, so that a crash does not lose it: the attempt is then
booked as interrupted, and whoever finds it there asks for its end and corrects what was booked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.domain.errors import GatewayError, Unavailable, UpstreamFailed
from gateway.domain.quotes import Quote
from gateway.formats.base import Intent, Report
from gateway.formats.responses_envelope import ENDED, open_answer, read_reply
from gateway.formats.responses_made import name_of
from gateway.formats.responses_meter import ResponsesMeter
from gateway.gate.answers import Answer
from gateway.gate.lookups import Asked, ask, request_for
from gateway.gate.plans import Upstream
from gateway.gate.settlement import Agreed, Ending, cards_of, settle
from gateway.ledger.ledger import Closing
from gateway.store.belongings import Awaited, Belonging, awaited, keep, release
from gateway.store.engine import Database
from gateway.store.outcomes import DatabaseFailed, DatabaseUnknown

if TYPE_CHECKING:
    from gateway.gate.attempts import Attempt
    from gateway.gate.gate import Gate

__all__ = ["Background", "has_ended", "unfinished"]

logger: Final = logging.getLogger("tollgate.gate")

# Seconds between two looks: the first, by how much it grows, the most. Answers are kept for ten minutes.
LOOK_FIRST_S: Final = 1.0
LOOK_GROWS: Final = 1.5
LOOK_MOST_S: Final = 15.0
# An answer that is not there any more so many times in a row is lost, and so is one that takes for ever.
GONE_TIMES: Final = 3
GIVE_UP_US: Final = 24 * 3_600_000_000
RECOVER_EVERY_S: Final = 30.0
RECOVER_AT_ONCE: Final = 50
# How long a client that looks an answer up waits for its attempt to be settled.
SETTLE_S: Final = 5.0


def unfinished(answer: Answer) -> str | None:
    """The id of an answer that goes on at the provider; None for one that has ended or told no id."""
    if answer.meter is None:
        told = open_answer(answer.body) if answer.status < 300 else None
        return None if told is None or told.standing in ENDED else name_of(told)
    meter = answer.meter
    return meter.unfinished if isinstance(meter, ResponsesMeter) else None


def has_ended(body: bytes) -> bool:
    """Whether what a provider says of an answer is its last word."""
    told = open_answer(body)
    return told is not None and told.standing in ENDED


class _Followed:
    """One answer whose end this worker waits for."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.look_now = asyncio.Event()
        self.settled = asyncio.Event()

    def written(self, failure: OSError | None) -> None:
        """The close record is written, or never will be."""
        self.settled.set()


class Background:
    """The answers in the background of one worker. `run` looks after those of workers that are gone."""

    def __init__(self, gate: Gate, database: Database) -> None:
        self._gate = gate
        self._database = database
        self._followed: dict[tuple[str, str], _Followed] = {}  # by upstream and id
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    # Of this worker.

    def follow(self, attempt: Attempt, id_: str) -> None:
        """Wait for the end of an attempt's answer; its checkpoint is in the journal."""
        if self._is_stopping:
            attempt.queued()
        else:
            self._spawn(self._follow(attempt, id_))

    def announce(self, attempt: Attempt, id_: str) -> None:
        """Let all workers know whose the answer is."""
        self._spawn(self._announce(attempt, id_))

    async def _announce(self, attempt: Attempt, id_: str) -> None:
        offer = attempt.offer
        upstream, account = offer.plan.upstream.name, offer.caller.key.account
        thing = Belonging(id_, upstream, account, attempt.id, offer.admitted_at_us, True)
        try:
            await self._database.write(keep, [thing])
        except Unavailable as away:
            # It is in the journal, and this worker knows it; the others will when the attempt is posted.
            logger.warning("answer %s is known to this worker only: %s", id_, away)

    async def _follow(self, attempt: Attempt, id_: str) -> None:
        key = (attempt.offer.plan.upstream.name, id_)
        followed = self._followed[key] = _Followed(attempt)
        try:
            await self._announce(attempt, id_)
            attempt.queued()
            await self._watch(followed, attempt.offer.plan.upstream, id_)
        finally:
            del self._followed[key]

    async def _watch(self, followed: _Followed, upstream: Upstream, id_: str) -> None:
        attempt, pause_s, gone = followed.attempt, LOOK_FIRST_S, 0
        while attempt.settlement is None:
            await _wait(pause_s, followed.look_now, followed.settled)
            if followed.settled.is_set():
                return  # a client saw its end before we did
            followed.look_now.clear()
            pause_s = min(pause_s * LOOK_GROWS, LOOK_MOST_S)
            told = await self._look(upstream, id_)
            gone = gone + 1 if told is not None and told.status == 404 else 0
            if told is not None and told.status == 200 and has_ended(told.body):
                attempt.conclude(told.body)
            elif gone >= GONE_TIMES or self._is_old(attempt.offer.admitted_at_us):
                attempt.lost()
            if attempt.is_over:
                await _wait(SETTLE_S, followed.settled)

    async def _look(self, upstream: Upstream, id_: str) -> Asked | None:
        """What the provider says of an answer; None when it cannot be asked."""
        request = request_for(upstream, "GET", id_)
        try:
            return await ask(self._gate.client, upstream, request, self._gate.max_reply_bytes)
        except UpstreamFailed:
            return None

    def _is_old(self, since_us: int) -> bool:
        return self._gate.clock.now_us() - since_us > GIVE_UP_US

    def closed(self, attempt: Attempt) -> None:
        """An attempt is settled: whoever looked its answer up may have it once the record is written."""
        for followed in self._followed.values():
            if followed.attempt is attempt:
                self._gate.ledger.after_write(followed.written)

    async def heard(self, upstream: str, id_: str, body: bytes) -> None:
        """A client was told this of an answer: where it has ended, its attempt is settled first."""
        followed = self._followed.get((upstream, id_))
        if followed is not None and has_ended(body):
            followed.attempt.conclude(body)
            await _wait(SETTLE_S, followed.settled)

    def look_soon(self, upstream: str, id_: str) -> None:
        """A client has seen how an answer goes on: look now instead of later."""
        followed = self._followed.get((upstream, id_))
        if followed is not None:
            followed.look_now.set()

    def deleted(self, upstream: str, id_: str) -> None:
        """A client had an answer deleted: what it came to will never be told."""
        followed = self._followed.get((upstream, id_))
        if followed is not None:
            followed.attempt.lost()

    # Of workers that are gone.

    async def run(self) -> None:
        """Find the ends of interrupted attempts, for ever; what cannot be asked is asked again."""
        while True:
            try:
                await self.recover()
            except Unavailable:
                pass
            await asyncio.sleep(RECOVER_EVERY_S)

    async def recover(self) -> int:
        """Ask for the answers that nobody waits for any more; returns how many attempts were corrected."""
        upstreams = {each.name: each for each in self._gate.desk.router.upstreams}
        corrected = 0
        for lost in await self._database.read(awaited, RECOVER_AT_ONCE):
            upstream = upstreams.get(lost.upstream)
            told = None if upstream is None else await self._look(upstream, lost.id)
            if told is not None and told.status == 200 and has_ended(told.body):
                corrected += await self._correct(lost, told.body)
            elif self._is_old(lost.admitted_at_us) or (told is not None and told.status == 404):
                await self._database.write(release, lost.id, lost.upstream)
        return corrected

    async def _correct(self, lost: Awaited, body: bytes) -> bool:
        """Book the difference to what the attempt came to. Whoever releases it first does it."""
        report, _ = read_reply(body)
        try:
            agreed = self._agreed(lost)
        except GatewayError as error:
            logger.error("attempt %s cannot be priced any more: %s", lost.attempt, error)
            return False
        if not await self._database.write(release, lost.id, lost.upstream) or report is None:
            return False
        exact = self._settled(agreed, lost.account, report)
        try:
            return await self._gate.ledger.correct(
                lost.attempt, exact, "the answer in the background has ended"
            )
        except (DatabaseFailed, DatabaseUnknown):
            # Nothing was booked: somebody has to ask again.
            again = Belonging(lost.id, lost.upstream, lost.account, lost.attempt, lost.admitted_at_us, True)
            await self._database.write(keep, [again])
            return False

    def _settled(self, agreed: Agreed, account: str, report: Report) -> Closing:
        """What an attempt comes to, at the prices that its account pays."""
        directory = self._gate.directory
        accounts = directory.lineage(account)
        plan = replace(agreed.plan, card=agreed.plan.card.for_accounts(accounts))
        card_of = cards_of(directory.catalogue, plan, accounts)
        ending = Ending("done", 200, report)
        return settle(agreed._replace(plan=plan), ending, card_of, self._gate.clock.now_us()).closing

    def _agreed(self, lost: Awaited) -> Agreed:
        """What the attempt was admitted on, as far as it is still known; prices are those of its own time."""
        plan = self._gate.desk.router.plan(
            self._gate.directory.catalogue, f"{lost.upstream}/{lost.model}", lost.admitted_at_us
        )
        intent = Intent(model=lost.model, stream=False, output_cap=None, choices=1, input_bound=0)
        return Agreed(plan, intent, Quote(0, 0, lost.hold_nano), lost.admitted_at_us)

    # Stopping.

    async def stop(self) -> None:
        """Leave what is still being made: its hold is closed as interrupted, and taken up again later."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._gate.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._gate.crashed("", error)


async def _wait(seconds: float, *events: asyncio.Event) -> None:
    """Wait for one of the events, but no longer than this."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
