"""The slow way in: calls that the leases at hand do not cover, or whose budgets are not known yet.

Here a call may wait: for figures from SQL, for headroom out of other workers' leases, for its prompt to be
counted. Calls that are covered never come here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from gateway.domain.budgets import Budget
from gateway.domain.errors import BudgetExceeded, GatewayError, Unavailable
from gateway.gate.admission import Desk, Offer
from gateway.gate.counting import Counters
from gateway.gate.directory import Applicable, Directory
from gateway.gate.refusals import for_caller
from gateway.ledger.ledger import Balance, CallFacts, Hold, Ledger
from gateway.store.outcomes import DatabaseFailed, DatabaseUnknown

__all__ = ["WaitingRoom"]

logger = logging.getLogger("tollgate.gate")

# Figures that a database which comes and goes is asked for, a tenth of a second each.
LEARN_TRIES = 5


class WaitingRoom:
    """Where calls wait for their hold. `since_us` tells when those waiting now were admitted, by call."""

    def __init__(
        self,
        desk: Desk,
        directory: Directory,
        ledger: Ledger,
        counters: Counters,
        facts: Callable[[Offer, str], CallFacts],
    ) -> None:
        self._desk = desk
        self._directory = directory
        self._ledger = ledger
        self._counters = counters
        self._facts = facts
        self.since_us: dict[str, int] = {}

    async def acquire(self, offer: Offer, call: str) -> tuple[Offer, Hold]:
        """Hold what a call needs when the leases at hand do not cover it; raise the refusal that applies.

        Where a spent budget names a cheaper model, the call is quoted for that one and tried once more.
        """
        self.since_us[call] = offer.admitted_at_us
        try:
            try:
                return await self._held(offer, call)
            except BudgetExceeded as spent:
                cheaper = self._cheaper(offer, spent)
                if cheaper is None:
                    raise
                return await self._held(cheaper, call)
        except GatewayError as error:
            raise for_caller(error, offer.caller) from None
        finally:
            del self.since_us[call]

    async def _held(self, offer: Offer, call: str) -> tuple[Offer, Hold]:
        offer = await self.judged_well(offer)
        return offer, await self._ledger.acquire(self._facts(offer, call), offer.needs)

    def _cheaper(self, offer: Offer, spent: BudgetExceeded) -> Offer | None:
        """The call on the model that the spent budget falls back to; None where it may not or cannot."""
        budget = self._directory.budget(str(spent.fields["budget_id"]))
        if budget is None or budget.fallback is None:
            return None
        try:
            return self._desk.instead(offer, budget.fallback)
        except GatewayError as error:
            logger.warning("budget %s cannot fall back to %s: %s", budget.id, budget.fallback, error)
            return None

    async def judged_well(self, offer: Offer) -> Offer:
        """The offer by all that can be known, for a call that may wait a moment.

        A call that named no cap is clamped by what its budgets have left, so that has to be known. And where
        the bound on the prompt does not fit and the model's own tokenizer is at hand, the prompt is counted:
        bytes are three to four times the tokens of English.
        """
        unknown = self._desk.unknown(offer)
        if unknown:
            await self._learn(unknown)
            offer = self._desk.again(offer)
        if offer.plan.counts_exactly and not self._desk.fits(offer):
            sent = offer.sent
            prompt = await self._counters.prompt(offer.plan.model, sent.format, sent.body)
            offer = self._desk.again(offer, prompt)
        return offer

    async def _learn(self, budgets: Sequence[Applicable]) -> None:
        """Make known what these budgets have left; a database that is away is asked a few times."""
        for _ in range(LEARN_TRIES):
            try:
                for budget, subject in budgets:
                    await self.standing(budget, subject)
                return
            except Unavailable:
                continue  # a try takes a tenth of a second; after the last, leasing will tell why it fails

    async def standing(self, budget: Budget, subject: str) -> Balance:
        """A window's figures read now or, while the database is away, as last heard; raises Unavailable."""
        try:
            return await self._ledger.balance(budget, subject)
        except (DatabaseFailed, DatabaseUnknown) as error:
            known = self._ledger.headroom(budget, subject)
            if known is None:
                raise Unavailable(
                    "ledger_unavailable", f"The database cannot be reached: {error}", hint="Try again."
                ) from None
            return known
