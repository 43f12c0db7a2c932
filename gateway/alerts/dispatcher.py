"""Delivers: spreads events to the targets that want them, and sends what is due, one task for each target.

A worker owns the targets it sends to. Inside a target messages of one subject go one after the other, those
of different ones side by side. Outcomes are written in groups, as fast as the database takes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from gateway.alerts.channels.base import Mailbox
from gateway.alerts.messages import message_of
from gateway.alerts.schedule import next_attempt_us, rest_until_us
from gateway.alerts.sending import ATTEMPT_LIMIT_S, Result, Sender
from gateway.alerts.targets import Opened, Targets
from gateway.clock import Clock
from gateway.domain.errors import Unavailable
from gateway.store.engine import Database
from gateway.store.outbox import (
    Due,
    Outcome,
    Taken,
    due_targets,
    leave_target,
    rest_target,
    spread,
    take_target,
    write_outcomes,
)

__all__ = ["Dispatcher"]

logger = logging.getLogger("tollgate")

LOOK_EVERY_S: Final = 0.5
TARGETS_AT_ONCE: Final = 200
# Messages of different subjects under way to one target.
SIDE_BY_SIDE: Final = 8
STOP_LIMIT_S: Final = 5.0
LEASE_US: Final = 30_000_000
# With less of the lease left nothing new is sent: an attempt has to end inside it.
MARGIN_US: Final = int(ATTEMPT_LIMIT_S * 1_000_000) + 2_000_000
# How often a target is looked at that cannot be read with this encryption key.
UNREADABLE_US: Final = 60_000_000


class Dispatcher:
    """One worker's."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        entropy: Callable[[int], bytes],
        targets: Targets,
        sender: Sender,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._targets = targets
        self._sender = sender
        self._name = entropy(12).hex()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._is_stopping = False

    async def run(self) -> None:
        """Deliver for ever; a database that is away is asked again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Unavailable:
                continue

    async def look(self) -> None:
        """Spread what waits, and begin with the targets that have something due."""
        waits, due = await self._database.read(due_targets, self._clock.now_us())
        if waits:
            while await self._database.write(spread, self._clock.now_us()):
                pass
            _, due = await self._database.read(due_targets, self._clock.now_us())
        for webhook in due:
            if webhook not in self._running and len(self._running) < TARGETS_AT_ONCE:
                self._running[webhook] = asyncio.create_task(self._serve(webhook))

    async def idle(self) -> None:
        """Return when nothing is under way any more."""
        while self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def stop(self) -> None:
        """Begin nothing more, and write down what is under way; what takes too long others send again."""
        self._is_stopping = True
        if self._running:
            await asyncio.wait(self._running.values(), timeout=STOP_LIMIT_S)
        await self.abandon()

    async def abandon(self) -> None:
        """Stop at once and say nothing, as a process does that dies: others wait for the lease to run out."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _serve(self, webhook: str) -> None:
        """Send to one target until nothing is due there, or it does not answer."""
        try:
            while True:
                now_us = self._clock.now_us()
                until_us = now_us + LEASE_US
                taken = await self._database.write(take_target, webhook, self._name, until_us, now_us)
                if taken is None:
                    return
                opened = self._targets.open(taken.webhook, now_us)
                if opened is None:
                    logger.error("webhook %s was sealed with another encryption key", webhook)
                    await self._database.write(rest_target, webhook, self._name, now_us + UNREADABLE_US)
                    return
                if not taken.due:
                    break
                if not await _Round(self, taken, opened, until_us).run():
                    break
            await self._database.write(leave_target, webhook, self._name)
        except Unavailable:
            # The lease runs out by itself, and what was not written down is sent again.
            return
        except Exception:
            # A defect that one target brings to light is looked at again when the lease is over.
            logger.exception("alerts for webhook %s stopped", webhook)
        finally:
            del self._running[webhook]

    # What a round is given.

    async def attempt(self, due: Due, opened: Opened) -> Outcome:
        """Send once, and say what follows from the answer."""
        at_us = self._clock.now_us()
        message = message_of(due.event, due.dedupe, due.created_at_us, due.data)
        result = await self._sender.send(opened, message, at_us // 1_000_000)
        done_us = self._clock.now_us()
        return self._outcome(due, result, at_us, done_us)

    def _outcome(self, due: Due, result: Result, at_us: int, done_us: int) -> Outcome:
        next_us, rests_us = None, 0
        if not result.is_delivered and not result.is_gone:
            [chance] = self._entropy(1)
            next_us = next_attempt_us(due.attempts + 1, done_us, chance, result.retry_after_s)
            if result.is_the_targets:
                rests_us = rest_until_us(next_us or done_us, done_us)
        status = "delivered" if result.is_delivered else "dead" if next_us is None else "pending"
        return Outcome(
            delivery=due.id,
            subject=due.subject,
            at_us=at_us,
            took_us=max(0, done_us - at_us),
            http_status=result.status,
            error=result.error,
            status=status,
            next_us=next_us or done_us,
            rests_until_us=rests_us,
            gone=result.is_gone,
        )

    async def write(self, webhook: str, outcomes: list[Outcome]) -> int | None:
        """Write outcomes down; until when the target is ours now, None when it is not any more."""
        until_us = self._clock.now_us() + LEASE_US
        kept = await self._database.write(write_outcomes, webhook, self._name, outcomes, until_us)
        return until_us if kept else None

    def has_time(self, until_us: int) -> bool:
        """Whether another attempt would end before the lease does."""
        return not self._is_stopping and self._clock.now_us() <= until_us - MARGIN_US


class _Round:
    """One batch of a target: senders fill a list of outcomes, a writer empties it."""

    def __init__(self, dispatcher: Dispatcher, taken: Taken, opened: Opened, until_us: int) -> None:
        self._dispatcher = dispatcher
        self._webhook = taken.webhook.id
        self._opened = opened
        self._until_us = until_us
        self._subjects = _by_subject(taken.due)
        self._outcomes: list[Outcome] = []
        self._news = asyncio.Event()
        self._stops = False

    async def run(self) -> bool:
        """True when the target took what it was sent, and there may be more."""
        side_by_side = 1 if isinstance(self._opened.place, Mailbox) else SIDE_BY_SIDE
        senders = [asyncio.create_task(self._send()) for _ in range(min(side_by_side, len(self._subjects)))]
        try:
            while not all(task.done() for task in senders) or self._outcomes:
                self._news.clear()
                if self._outcomes:
                    await self._write()
                elif not all(task.done() for task in senders):
                    await self._news.wait()
        finally:
            for task in senders:
                task.cancel()
            for outcome in await asyncio.gather(*senders, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome
        return not self._stops and self._dispatcher.has_time(self._until_us)

    async def _send(self) -> None:
        try:
            while self._subjects and not self._stops:
                await self._send_subject(self._subjects.pop())
        finally:
            self._news.set()

    async def _send_subject(self, dues: list[Due]) -> None:
        for due in dues:
            if self._stops or not self._dispatcher.has_time(self._until_us):
                return
            outcome = await self._dispatcher.attempt(due, self._opened)
            self._outcomes.append(outcome)
            self._stops = self._stops or bool(outcome.rests_until_us) or outcome.gone
            self._news.set()
            if outcome.status == "pending":
                return

    async def _write(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        until_us = await self._dispatcher.write(self._webhook, outcomes)
        if until_us is None:
            self._stops = True
        else:
            self._until_us = until_us


def _by_subject(dues: Iterable[Due]) -> list[list[Due]]:
    """The messages of each subject in their order; the first subject is the last, to be taken first."""
    subjects: dict[str, list[Due]] = {}
    for due in dues:
        subjects.setdefault(due.subject, []).append(due)
    return list(reversed(subjects.values()))
