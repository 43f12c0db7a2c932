"""Which of the ways to serve a model a call takes: by what the key may use, priority, health and weight."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from gateway.domain.errors import Forbidden
from gateway.domain.scopes import allowed_model
from gateway.gate.breakers import Breakers
from gateway.gate.directory import Caller, Directory
from gateway.gate.plans import Plan, Router

__all__ = ["Chooser", "check_allowed"]


class Chooser:
    """Chooses for all calls of a worker. `draw` is a random number from 0 to below its argument."""

    def __init__(
        self, directory: Directory, router: Router, breakers: Breakers, draw: Callable[[int], int]
    ) -> None:
        self._directory = directory
        self._router = router
        self._breakers = breakers
        self._draw = draw

    def plan(self, caller: Caller, model: str, now_us: int) -> Plan:
        """A way to serve the model; what there is to choose from is remembered on the caller."""
        plans = caller.plans(model) or self._plans(caller, model, now_us)
        plan = plans[0] if len(plans) == 1 else self.chosen(plans, (), now_us)
        assert plan is not None, "nothing is avoided"
        return plan

    def _plans(self, caller: Caller, model: str, now_us: int) -> tuple[Plan, ...]:
        """Every way to serve a model that this key may use, at the prices its account pays."""
        found = self._router.plans(self._directory.catalogue, model, now_us)
        accounts = [account.id for account in caller.accounts]
        patterns = caller.key.models
        allowed = [
            replace(plan, card=plan.card.for_accounts(accounts))
            for plan in found
            if patterns is None or allowed_model(patterns, plan.provider, plan.model)
        ]
        if not allowed:
            check_allowed(patterns, found[0].provider, found[0].model)
        plans = tuple(allowed)
        caller.remember_plans(model, plans)
        return plans

    def chosen(self, plans: Sequence[Plan], avoid: Collection[str], now_us: int) -> Plan | None:
        """One of the plans: of the lowest priority there is, by weight, where the breakers allow it."""
        left = [plan for plan in plans if plan.upstream.name not in avoid]
        healthy = [plan for plan in left if self._breakers.allows(plan.upstream.name, now_us)]
        if not healthy and not avoid:
            healthy = left  # there is no elsewhere
        if not healthy:
            return None
        first = min(plan.upstream.priority for plan in healthy)
        equals = [plan for plan in healthy if plan.upstream.priority == first]
        at = self._draw(sum(plan.upstream.weight for plan in equals))
        for plan in equals:
            at -= plan.upstream.weight
            if at < 0:
                return plan
        return equals[-1]


def check_allowed(patterns: Sequence[str] | None, provider: str, model: str) -> None:
    """Raise Forbidden for a model that is not on a key's list."""
    if patterns is not None and not allowed_model(patterns, provider, model):
        raise Forbidden(
            "model_not_allowed",
            f"This key may not use {provider}/{model}.",
            hint=f"The key allows {', '.join(patterns)}; ask its owner to widen the list.",
            param="model",
        )
