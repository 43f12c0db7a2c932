"""The gate of one worker: what every exchange needs, and the beat that checkpoints them.

It wires admission, ledger and relay together and holds the state that outlives a single call: streams in
flight, abandoned answers being read on, counts for the metrics. Exchanges come and go; there is one gate.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.domain.costing import cost
from gateway.domain.errors import GatewayError, Unavailable
from gateway.domain.ids import attempt_id, call_id_under, call_prefix
from gateway.domain.usage import Usage
from gateway.formats.base import StreamMeter
from gateway.gate.admission import Desk, Offer, prompt_estimate
from gateway.gate.attempts import Attempt
from gateway.gate.background import Background
from gateway.gate.belongings import Belongings
from gateway.gate.counting import SLICE_CHARS, Counters
from gateway.gate.directory import Directory
from gateway.gate.exchange import Exchange
from gateway.gate.figures import Figures
from gateway.gate.inbound import Downstream, InboundCall
from gateway.gate.own_counts import OwnCounts
from gateway.gate.replies import Remaining
from gateway.gate.retries import Retries
from gateway.gate.settlement import Ending, Settlement, cards_of, settle, told_tier
from gateway.gate.upstream_requests import UpstreamRequests
from gateway.gate.waiting_room import WaitingRoom
from gateway.ledger.ledger import CallFacts, Closing, Ledger
from gateway.relay.calls import UpstreamFailure
from gateway.relay.client import Client
from gateway.store.engine import Database
from gateway.store.receipts import others_complete_until
from gateway.telemetry import CallLine, CallLog, RefusalsLine

__all__ = ["Gate", "GateLimits", "InFlight"]

logger = logging.getLogger("tollgate.gate")

CHECKPOINT_EVERY_S = 0.2
CHECKPOINTS_AT_ONCE = 8
US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class GateLimits:
    """The configured bounds of the gate."""

    drains: int
    drain_s: float
    max_reply_bytes: int


class Readiness(NamedTuple):
    """Can this worker take calls; what is not well; figures of the ledger."""

    is_ready: bool
    reasons: list[str]
    details: dict[str, object]


class InFlight(NamedTuple):
    """A call that has not ended: its tokens, and its charge in nano-USD, by its last checkpoint."""

    facts: CallFacts
    tokens: int
    charge_nano: int


class Gate:
    """Everything an exchange asks of its worker."""

    def __init__(
        self,
        desk: Desk,
        directory: Directory,
        ledger: Ledger,
        client: Client,
        belongings: Belongings,
        database: Database,
        counters: Counters,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        log: CallLog,
        limits: GateLimits,
        retries: Retries,
    ) -> None:
        self.desk = desk
        self.retries = retries
        self.directory = directory
        self.ledger = ledger
        self.client = client
        self.belongings = belongings
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.max_reply_bytes = limits.max_reply_bytes
        self.streams: set[Attempt] = set()
        self.moving: set[Attempt] = set()  # streams with something to note at the next beat
        self.tasks: set[asyncio.Task[None]] = set()
        self.refusals: Counter[str] = Counter()
        self.figures = Figures()
        self.failures: Counter[str] = Counter()
        self._refusals_logged: Counter[str] = Counter()
        self.counters = counters
        self._random = random_bytes
        self._log = log
        self._limits = limits
        self._complete_until_us = clock.now_us()
        self.own_counts = OwnCounts(desk, counters)
        self.waiting_room = WaitingRoom(desk, directory, ledger, counters, self.facts)
        self._abandoned: dict[Attempt, asyncio.TimerHandle] = {}  # answers read on, and until when
        self._is_draining = False
        self.background = Background(self, database)
        self._call_prefix = call_prefix(ledger.journal_bytes)
        self.requests = UpstreamRequests()

    # Admission.

    def exchange(self, inbound: InboundCall, downstream: Downstream) -> Exchange:
        """A new call; its owner calls `begin`."""
        return Exchange(self, inbound, downstream)

    def check_open(self) -> None:
        """Refuse new calls while the worker stops."""
        if self._is_draining:
            raise Unavailable("draining", "This worker is stopping.", hint="Try again.", retry_after_s=1)

    def new_call_id(self) -> str:
        """An id that tells which journal the call is in."""
        return call_id_under(self._call_prefix, self._random(8))

    def facts(self, offer: Offer, call: str) -> CallFacts:
        """What the open record says: enough to settle the call if this process dies now."""
        intent, plan, scope = offer.intent, offer.plan, offer.scope
        prompt = prompt_estimate(intent)
        usage = {"input": prompt}
        charge = cost(usage, plan.card, offer.admitted_at_us, intent.service_tier)
        return CallFacts(
            attempt=attempt_id(self._random(16)),
            call=call,
            key=scope.key,
            account=offer.caller.key.account,
            end_user=scope.end_user,
            tags=scope.tags,
            provider=plan.provider,
            upstream=plan.upstream.name,
            model=plan.model,
            format=offer.inbound.format.name,
            streamed=intent.stream,
            admitted_at_us=offer.admitted_at_us,
            hold_nano=offer.quote.cost_nano,
            usage=usage,
            charge_nano=charge.total_nano,
            tokens=prompt,
            lines=charge.lines,
            list_nano=charge.list_nano,
            service_tier=told_tier(intent.service_tier),
        )

    # Metering.

    def count_slice(self, offer: Offer, meter: StreamMeter) -> bool:
        """Count a slice of what was relayed; True once nothing is left to count."""
        counter = self.counters.ready(offer.plan.model)
        return counter is not None and meter.count(counter, SLICE_CHARS)

    def so_far(self, offer: Offer, meter: StreamMeter | None) -> tuple[Usage, int, int]:
        """Usage, charge in nano-USD and tokens of a call that may never report its own."""
        usage = {"input": prompt_estimate(offer.intent)}
        if meter is not None and meter.relayed_output:
            usage["output"] = meter.relayed_output
        charge = cost(usage, offer.plan.card, offer.admitted_at_us, offer.intent.service_tier)
        return usage, charge.total_nano, sum(usage.values())

    async def count(self, offer: Offer, meter: StreamMeter | None, text: str) -> Usage:
        """Prompt and output counted by tokenizer, for what the provider did not report."""
        model = offer.plan.model
        prompt = await self.counters.prompt(model, offer.sent.format, offer.sent.body)
        if meter is not None:
            output = await self.counters.finish(model, meter)
        else:
            output = await self.counters.count(model, text) if text else 0
        return {"input": prompt, "output": output}

    def settle(self, offer: Offer, ending: Ending) -> Settlement:
        """Price what became of a call."""
        card_of = cards_of(offer.catalogue, offer.plan, offer.scope.accounts)
        return settle(offer, ending, card_of, self.clock.now_us())

    def keep_made(self, offer: Offer, closing: Closing, made: Sequence[str]) -> None:
        """Whose is what a call left at its provider: in its close record, and known here from now on."""
        if made:
            closing.made = made
            self.belongings.keep(offer.plan.upstream.name, made, offer.caller.key.account)

    # Telling.

    def remaining(self, offer: Offer) -> Remaining:
        """What the budgets of a call have left, for its response headers."""
        usd: list[int] = []
        limits: list[tuple[bytes, int, int, int]] = []
        now_us = offer.admitted_at_us
        account = offer.caller.key.account
        for budget, subject in offer.budgets:
            if budget.unit == "usd" and budget.is_hard:
                is_theirs = budget.key is not None or budget.account == account
                left = self.ledger.left(budget, subject, self.clock.now_us()) if is_theirs else None
                if left is not None:
                    usd.append(max(0, left))
            elif budget.is_rate and budget.key is not None:
                state = self.ledger.headroom(budget, subject)
                if state is not None:
                    resets_s = max(0, ((state.resets_at_us or now_us) - now_us) // US_PER_S)
                    limits.append((budget.unit.encode(), state.cap, max(0, state.free), resets_s))
        return Remaining(min(usd) if usd else None, limits)

    def finished(self, call: str, offer: Offer, settlement: Settlement) -> None:
        """A call has ended and is in the journal."""
        closing = settlement.closing
        took_us = closing.closed_at_us - offer.admitted_at_us
        self.figures.ended(
            offer.plan.provider,
            offer.plan.model,
            closing,
            streamed=offer.intent.stream,
            took_us=took_us,
            hold_nano=offer.quote.cost_nano,
        )
        self._log.add(
            CallLine(
                event="call",
                call=call,
                key=offer.scope.key,
                account=offer.caller.key.account,
                provider=offer.plan.provider,
                model=offer.plan.model,
                status=closing.status,
                outcome=closing.outcome,
                admitted_at_us=offer.admitted_at_us,
                took_us=took_us,
                charge_nano=closing.charge_nano,
                usage=closing.usage,
                usage_source=closing.usage_source,
                flags=closing.flags,
            )
        )

    def running(self, call: str) -> CallFacts | None:
        """What is known of a call of this worker that has not ended."""
        return next((each.facts for each in self.ledger.holds.open.values() if each.call == call), None)

    def in_flight(self) -> list[InFlight]:
        """The calls of this worker that have not ended, oldest first."""
        return [InFlight(hold.facts, *hold.so_far) for hold in self.ledger.holds.open.values()]

    @property
    def is_stopping(self) -> bool:
        """Whether the worker takes no new calls because it stops."""
        return self._is_draining

    def noted(self, attempt: Attempt) -> None:
        """What an attempt says of its upstream's health."""
        upstream, answer = attempt.offer.plan.upstream.name, attempt.answer
        breakers = self.desk.breakers
        if attempt.was_failed:
            if breakers.failed(upstream, self.clock.now_us()):
                logger.error("%s fails: its calls go elsewhere where they can", upstream)
        elif breakers.is_needed and answer is not None and breakers.succeeded(upstream):
            logger.warning("%s answers again", upstream)

    def refused(self, error: GatewayError) -> None:
        """A call was refused before anything was held."""
        self.refusals[error.code] += 1

    def upstream_failed(self, offer: Offer, failure: UpstreamFailure) -> None:
        """An upstream was not reached or went away."""
        self.failures[failure.kind] += 1
        logger.warning("%s: %s (%s)", offer.plan.upstream.name, failure.kind, failure.detail)

    def credential_refused(self, offer: Offer, status: int) -> None:
        """A provider refused our credential: every call to it fails until the operator does something."""
        self.failures["credential"] += 1
        logger.error(
            "%s refuses the gateway's credential, or its account has no funds: status %d",
            offer.plan.upstream.name,
            status,
        )

    def crashed(self, call: str, bug: BaseException) -> None:
        """A defect of ours in one call."""
        self.failures["gateway"] += 1
        logger.error("call %s failed inside the gateway", call or "(none)", exc_info=bug)

    # Running.

    def may_read_on(self, attempt: Attempt, offer: Offer) -> bool:
        """Read an abandoned answer to its end? Bounded in number and time; past the time it is stopped."""
        if not offer.plan.upstream.drains or len(self._abandoned) >= self._limits.drains:
            return False
        self._abandoned[attempt] = self.loop.call_later(self._limits.drain_s, attempt.stop)
        return True

    def closed(self, attempt: Attempt) -> None:
        """The attempt's close record is appended: it neither streams nor is read on any more."""
        self.streams.discard(attempt)
        self.moving.discard(attempt)
        if attempt.offer.intent.background:
            self.background.closed(attempt)
        timer = self._abandoned.pop(attempt, None)
        if timer is not None:
            timer.cancel()

    @property
    def posted_until_us(self) -> int:
        """The instant up to which this worker's calls are in SQL, by the last beat."""
        return self._complete_until_us

    def complete_until(self, conn: Connection) -> int:
        """The instant up to which every call of every worker is in SQL; called from a reader's thread.

        Of this worker's calls the last beat knows; of others it is their last word to SQL, while they hold.
        """
        return min(self._complete_until_us, others_complete_until(conn, self.ledger.journal_id))

    def _own_calls_complete_until(self) -> int:
        """No call of this worker that is not in SQL was admitted before this instant."""
        open_calls = (hold.facts.admitted_at_us for hold in self.ledger.holds.open.values())
        oldest = min(chain(open_calls, self.waiting_room.since_us.values()), default=self.clock.now_us())
        return oldest if not self.ledger.poster.unposted else min(oldest, self._complete_until_us)

    def readiness(self) -> Readiness:
        """Whether new calls are taken, why not, and what an operator should know."""
        health = self.ledger.health
        reasons = []
        if self._is_draining:
            reasons.append("draining: the worker is stopping")
        if health.is_finished:
            reasons.append("ledger: this worker's journal was finished by somebody else")
        if health.journal_failure:
            reasons.append(f"journal: {health.journal_failure}")
        if health.journal_bytes >= health.journal_limit_bytes:
            reasons.append("journal: full; calls are refused until the database returns")
        warnings = [f"upstream: {name} fails; calls avoid it" for name in self.desk.breakers.open_now()]
        if health.database_away_since_us is not None:
            warnings.append(f"database: away ({health.database_reason}); serving inside the leases")
        return Readiness(not reasons, [*reasons, *warnings], health._asdict())

    async def quiet(self) -> None:
        """Stop what is still under way, and wait until it is settled."""
        await self.background.stop()
        for attempt in (*self.streams, *self._abandoned):
            attempt.stop()
        while self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def beat(self) -> None:
        """Checkpoint the streams that move and write the log, for ever.

        Every one of them has its turn each 200 ms, a few at a time: counting what 300 of them relayed takes
        20 ms, and no call may wait for that.
        """
        while True:
            streams = tuple(self.moving)
            pause_s = CHECKPOINT_EVERY_S / max(1, -(-len(streams) // CHECKPOINTS_AT_ONCE))
            for at in range(0, len(streams) or 1, CHECKPOINTS_AT_ONCE):
                for attempt in streams[at : at + CHECKPOINTS_AT_ONCE]:
                    attempt.checkpoint()
                await asyncio.sleep(pause_s)
            self._complete_until_us = self._own_calls_complete_until()
            self._log_refusals()
            self._log.flush()

    def _log_refusals(self) -> None:
        new = self.refusals - self._refusals_logged
        if new:
            self._refusals_logged = self.refusals.copy()
            self._log.add(RefusalsLine("refusals", self.clock.now_us(), dict(new)))

    def drain(self) -> None:
        """Take no new calls."""
        self._is_draining = True
