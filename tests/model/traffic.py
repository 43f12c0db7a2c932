"""Calls in the small world: admitted, checked, grown and closed, with every verdict predicted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from gateway.domain.budgets import Need
from gateway.domain.errors import BudgetExceeded, BudgetHeld, GatewayError, RateLimited, Unavailable
from gateway.domain.ids import attempt_id
from gateway.ledger.book import WindowState
from gateway.ledger.ledger import CallFacts, Closing, Hold
from gateway.ledger.records import frames
from tests.model.books import Call, End, Key, Part, Room, window_start
from tests.model.world import ACCOUNT, WAIT_S, Asking, Worker, World

__all__ = ["Quote", "Traffic"]

# A number that no column of a database takes: the row is refused, its money counts all the same.
POISON: Final = 1 << 63

Way = Literal["fast", "settled", "unsettled", "waiting"]


class Quote(NamedTuple):
    """What a call asks for at worst, in nano-USD and tokens; of which budgets; for which end user."""

    cost: int
    tokens: int
    budgets: Sequence[str]
    end_user: str


class Traffic(World):
    """A world with calls in it."""

    def needs(self, quote: Quote) -> list[Need]:
        """What a call must hold."""
        amounts = {"usd": quote.cost, "tokens": quote.tokens, "requests": 1, "concurrent": 1}
        found = []
        for name in quote.budgets:
            budget = self.budgets[name]
            subject = quote.end_user if budget.each else ""
            found.append(Need(budget, subject, amounts[budget.unit]))
        return found

    def rest(self, quote: Quote) -> int:
        """What calls that have ended, whether posted or not, leave of the narrowest cap."""
        windows = [self._key(need) for need in self.needs(quote)]
        return max(0, min((self.books.rest(key) for key in windows if key in self.books.windows), default=0))

    # Admission.

    async def call(self, worker: Worker, quote: Quote, way: Way) -> None:
        """A call comes in; `way` says what happens to it when the worker's leases do not cover it."""
        needs = self.needs(quote)
        facts = self._facts(worker, quote)
        expected = self._covers(worker, needs)
        hold = worker.ledger.admit(facts, needs)
        assert hold is not None or expected is not True, f"covered, and not admitted: {needs}"
        assert hold is None or expected is not False, f"admitted without cover: {needs}"
        if hold is not None:
            await self._admitted(worker, hold, needs)
        elif way == "waiting":
            task = asyncio.ensure_future(worker.ledger.acquire(facts, needs))
            worker.asking.append(Asking(needs, quote.end_user, task))
        elif way != "fast":
            await self._acquire(worker, quote, needs, is_settled=way == "settled")

    def _covers(self, worker: Worker, needs: Sequence[Need]) -> bool | None:
        """Whether the worker's leases pay for all of it; None when the auditor cannot know."""
        if self._is_behind(worker, needs):
            return False
        is_known = True
        for need in needs:
            key = self._key(need)
            state = next((each for each in worker.ledger.book if _key_of(each) == key), None)
            if not need.budget.is_hard or not need.amount or (state is not None and state.is_rowless):
                is_known = False  # this needs no lease, only the window to be known
            elif key not in self.books.windows or self.books.free(worker.journal, key) < need.amount:
                return False
        return True if is_known else None

    @staticmethod
    def _is_behind(worker: Worker, needs: Sequence[Need]) -> bool:
        """Whether others wait for the same budgets: first come, first served."""
        wanted = {(need.budget.id, need.subject) for need in needs}
        waiting = {(need.budget.id, need.subject) for asking in worker.asking for need in asking.needs}
        return bool(wanted & waiting)

    def _key(self, need: Need) -> Key:
        """The window of this instant."""
        return need.budget.id, need.subject, window_start(need.budget.period, self.clock.now_us())

    async def _acquire(
        self, worker: Worker, quote: Quote, needs: Sequence[Need], *, is_settled: bool
    ) -> None:
        """The slow way in, to its end. Settled before, its verdict is certain; otherwise it has bounds."""
        await self.let_go(worker)
        await self._prepare(worker, needs, is_settled=is_settled)
        held = [need for need in needs if need.budget.is_hard and need.amount]
        wanted = {self._key(need): need.amount for need in held if self._key(need) in self.books.windows}
        room = self._room(worker, wanted) if len(wanted) == len(held) else None
        is_wrong = self.books.believes_final(worker.journal, wanted)
        facts = self._facts(worker, quote)
        task = asyncio.ensure_future(worker.ledger.acquire(facts, needs))
        await self.drive(task.done)
        error = task.exception()
        if error is None:
            assert room is None or room.possibly, f"does not fit, and was admitted: {needs}"
            await self._admitted(worker, task.result(), needs)
            return
        assert isinstance(error, GatewayError), error
        if room is not None and worker.is_reachable:
            assert not room.surely or is_wrong, f"fits, and was refused: {needs}, {error}"
        if is_settled and room is not None:
            assert room.surely or not room.possibly or self._is_faulty(), f"the auditor is not sure: {room}"
            self._check_refusal(worker, error, wanted)

    async def _prepare(self, worker: Worker, needs: Sequence[Need], *, is_settled: bool) -> None:
        """Make a prediction possible: everything posted and answered, the windows open and just read."""
        if not is_settled or not worker.is_reachable or worker.asking:
            return
        worker.wire.faults.clear()
        await self.all_answer()
        for need in needs:
            await self.timely(worker.ledger.balance(need.budget, need.subject), WAIT_S)
        await self.all_answer()
        await self.snapshot()

    def _room(self, worker: Worker, wanted: Mapping[Key, int]) -> Room | None:
        """What the books say; None where others wait as well and they cannot say."""
        if any(each.asking for each in self.workers):
            return None
        perhaps = [each for each in self.workers if each.is_reachable]
        reachable = [each.journal for each in perhaps if not each.wire.faults]
        return self.books.room(worker.journal, wanted, reachable, [each.journal for each in perhaps])

    def _is_faulty(self) -> bool:
        return any(each.wire.faults for each in self.workers)

    def _check_refusal(self, worker: Worker, error: GatewayError, wanted: Mapping[Key, int]) -> None:
        """A refusal names a budget that cannot pay, with its figures."""
        if not worker.is_reachable:
            assert isinstance(error, (Unavailable, BudgetExceeded, RateLimited)), error
            return
        assert isinstance(error, (BudgetExceeded, BudgetHeld, RateLimited)), error
        named = [w for w in wanted if self.books.windows[w].rule.id == error.fields["budget_id"]]
        assert len(named) == 1, (error.fields, wanted)
        known, spent = self.books.windows[named[0]], self.books.spent[named[0]]
        assert (error.fields["cap"], error.fields["spent"]) == (known.cap, spent)
        if not isinstance(error, RateLimited):
            is_final = spent + wanted[named[0]] > known.cap
            assert isinstance(error, BudgetExceeded) == is_final, (error, known, spent)

    async def _admitted(self, worker: Worker, hold: Hold, needs: Sequence[Need]) -> None:
        """Enter a call that was let in, after a look at the windows it named."""
        await self.snapshot()
        worker.holds[hold.attempt] = hold
        parts = [Part(_key_of(each), each.unit, held, each.is_rowless) for each, held in hold.parts]
        for part, need in zip(parts, needs, strict=True):
            assert part.window[:2] == (need.budget.id, need.subject)
            assert part.held == (need.amount if need.budget.is_hard else None)
            is_limit = not need.budget.is_hard or need.budget.period == "minute"
            assert is_limit or not part.is_loose, f"held without a lease: {part}"
        (opened,) = frames(hold.open_frame)
        so_far = (opened.seq, hold.facts.charge_nano, hold.facts.tokens, parts)
        facts = hold.facts
        self.books.admit(Call(facts.attempt, worker.journal, facts.admitted_at_us, [so_far]))

    async def harvest(self, worker: Worker) -> None:
        """Calls that no longer wait: enter those that were admitted."""
        for asking in [each for each in worker.asking if each.task.done()]:
            worker.asking.remove(asking)
            error = asking.task.exception()
            if error is None:
                await self._admitted(worker, asking.task.result(), asking.needs)
            else:
                assert isinstance(error, (BudgetExceeded, BudgetHeld, RateLimited, Unavailable)), error

    # What becomes of a call.

    def check(self, worker: Worker, hold: Hold, charge: int, tokens: int) -> None:
        """A checkpoint: what it costs so far, never less than before."""
        call = self.books.calls[hold.attempt]
        _, charged, counted, parts = call.so_far[-1]
        charge, tokens = max(charge, charged), max(tokens, counted)
        worker.ledger.check(hold, _usage(tokens), charge, tokens)
        call.so_far.append((worker.ledger.journal.seq, charge, tokens, parts))

    def grow(self, worker: Worker, hold: Hold, needs: Sequence[Need]) -> None:
        """Hold more in the windows the call has named."""
        call = self.books.calls[hold.attempt]
        more = {}
        for part in call.parts:
            for need in needs:
                if (need.budget.id, need.subject) == part.window[:2] and part.held is not None:
                    more[part.window] = need.amount
        did_grow = worker.ledger.grow(hold, needs)
        if not any(part.is_loose for part in call.parts if part.window in more):
            frees = [self.books.free(worker.journal, window) - amount for window, amount in more.items()]
            assert did_grow == (min(frees, default=0) >= 0), f"grown by {more}: {did_grow}"
        if did_grow:
            grown = [
                part if part.held is None else part._replace(held=part.held + more.get(part.window, 0))
                for part in call.parts
            ]
            self.books.grow(call, worker.ledger.journal.seq, grown)

    def close(self, worker: Worker, hold: Hold, end: tuple[str, int, int], *, is_poison: bool) -> None:
        """The call ends; a second end changes nothing."""
        what, charge, tokens = end
        charge, tokens = (0, 0) if what == "void" else (charge, tokens)
        usage = {"output": POISON} if is_poison else _usage(tokens)
        closing = Closing(
            outcome=what,
            status=200,
            served_model="gpt-4.1-2025-04-14",
            usage=usage,
            usage_source="provider",
            raw_usage=b"{}",
            lines=[("output", tokens, "price_1", 1000, charge, charge)],
            flags=[],
            charge_nano=charge,
            list_nano=charge,
            tokens=tokens,
            closed_at_us=self.clock.now_us(),
            requests=int(what != "void"),
        )
        del worker.holds[hold.attempt]
        # Whoever waits for what comes free is admitted, and written down, in the same step.
        seq = worker.ledger.journal.seq + 1
        assert worker.ledger.close(hold, closing)
        call = self.books.calls[hold.attempt]
        call.end = End(seq, what, charge, tokens)
        call.is_poison = is_poison
        assert not worker.ledger.close(hold, closing), "the first end counts"

    # The end.

    async def recover(self) -> None:
        """The database is there for everybody, and answers at once."""
        for worker in self.workers:
            worker.wire.is_away = False
            worker.wire.faults.clear()
            await self.let_go(worker)

    async def hear_all_out(self) -> None:
        """Every call that waits is admitted or refused."""
        if any(worker.asking for worker in self.workers):
            await self.drive(lambda: not any(worker.asking for worker in self.workers))

    async def come_to_rest(self) -> None:
        """Nothing fails any more, all calls end, everybody dead is adopted: every figure is one figure."""
        await self.recover()
        while self.late:
            await self.deliver_late(0)
        for machine in sorted(set(self.dead.values()) - {worker.machine for worker in self.workers}):
            await self.start(machine)
        await self.hear_all_out()
        for worker in self.workers:
            for hold in list(worker.holds.values()):
                self.close(worker, hold, ("done", hold.facts.charge_nano, hold.facts.tokens), is_poison=False)
        await self.all_answer()
        for worker in self.workers:
            await self.adopt(worker)
        assert not self.dead, f"adopted by nobody: {self.dead}"
        for journal, window in [key for key in self.books.leases if key[0] in self.lost]:
            await self.release(journal, window)
        await self._be_idle()
        await self._spend_all()
        for worker in list(self.workers):
            await self.stop(worker)
        await self.audit()
        await self.audit_quiet()

    async def _be_idle(self) -> None:
        """Long enough for headroom to go back, that of windows leased ahead of their turn too."""
        for seconds in (61, 6):
            self.clock.advance(seconds)
            await self.all_answer()
        await self.audit()
        await self.audit_quiet()

    async def _spend_all(self) -> None:
        """What is left of each cap can be spent, to the last unit, in one call."""
        for worker in self.workers[:1]:
            for name, budget in self.budgets.items():
                window = self._key(Need(budget, "", 0))
                if budget.unit in ("usd", "tokens") and budget.is_hard and window in self.books.windows:
                    left = max(0, self.books.windows[window].cap - self.books.spent[window])
                    await self.call(worker, Quote(left, left, [name], "user-0"), "settled")
                    for hold in list(worker.holds.values()):
                        self.close(worker, hold, ("done", left, left), is_poison=False)
                    await self._be_idle()

    def _facts(self, worker: Worker, quote: Quote) -> CallFacts:
        prompt, tokens = min(1, quote.cost), min(1, quote.tokens)
        return CallFacts(
            attempt=attempt_id(self.random.randbytes(16)),
            call=f"call_{worker.journal}{self.random.randrange(10**11):011d}",
            key="key_1",
            account=ACCOUNT,
            end_user=quote.end_user,
            tags={},
            provider="openai",
            upstream="openai",
            model="gpt-4.1",
            format="openai_chat",
            streamed=True,
            admitted_at_us=self.clock.now_us(),
            hold_nano=quote.cost,
            usage=_usage(tokens),
            charge_nano=prompt,
            tokens=tokens,
        )


def _key_of(window: WindowState) -> Key:
    return window.line.budget.id, window.line.subject, window.starts_at_us


def _usage(tokens: int) -> dict[str, Any]:
    return {"input": tokens // 2, "output": tokens - tokens // 2}
