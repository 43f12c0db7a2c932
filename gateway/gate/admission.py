"""Everything that is decided about a call before money is held. No waiting, no side effect.

    identify -> read -> scope -> plan -> (translate) -> cap -> quote -> needs

Each step takes the last one's value. The result is an `Offer`: what the call may do and what it must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from gateway.domain.budgets import Budget, Need, need
from gateway.domain.catalogue import Catalogue, ModelEntry
from gateway.domain.errors import BadRequest, Forbidden, PriceMissing, Unauthenticated
from gateway.domain.names import NameGate, end_user_name, merge_tags
from gateway.domain.quotes import Quote, affordable_output, quote
from gateway.domain.scopes import Scope
from gateway.domain.tenancy import VirtualKey
from gateway.formats.base import Dialect, Intent
from gateway.formats.translation.base import Translations, Translator
from gateway.gate.breakers import Breakers
from gateway.gate.choosing import Chooser, check_allowed
from gateway.gate.directory import Applicable, Caller, Directory
from gateway.gate.inbound import InboundCall, asked_of_gateway
from gateway.gate.plans import Plan, Router
from gateway.gate.wording import Sent, check_served, sent_as

__all__ = ["FALLBACK", "Desk", "Headrooms", "Limits", "Offer"]

# A call that named no cap may hold at most this part of what a budget has left, so that one call does not
# starve the rest; never less than what `min_output_tokens` cost.
SHARE_OF_HEADROOM = 8
# Minute and hour token limits hold this much output and settle after.
RATE_OUTPUT_TOKENS = 1_024
# Flags a call that a spent budget moved to its cheaper model.
FALLBACK = "fallback"
# Where a body says who asks, by dialect; Gemini's cannot.
_NAMED_BY: Final[Mapping[Dialect, str | None]] = {
    "openai": "user",
    "anthropic": "metadata.user_id",
    "gemini": None,
}
_NAMED_IN_BODY: Final[Mapping[Dialect, str]] = {
    "openai": ", or `user` / `safety_identifier` in the body",
    "anthropic": ", or `metadata.user_id` in the body",
    "gemini": "",
}
# English prose has about four bytes a token, code and other scripts fewer.
BYTES_PER_TOKEN = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """The configured bounds admission works with."""

    default_output_tokens: int
    min_output_tokens: int


class Headrooms(Protocol):
    """What is left of a budget now, as far as this worker knows: cap - spent - held, or None when unknown."""

    def left(self, budget: Budget, subject: str, now_us: int) -> int | None: ...


class Offer(msgspec.Struct, frozen=True, gc=False):
    """What a call may do and what it must hold.

    `output_cap` is what each choice may generate, sent upstream; `is_clamped` says that the caller would
    have got more without the gateway. A stream whose counted output exceeds `cut_above` tokens is cut.
    """

    caller: Caller
    catalogue: Catalogue  # as it was at admission: a price that comes later is not this call's
    inbound: InboundCall
    sent: InboundCall  # the same in the words of its upstream: `inbound` itself where it is spoken there
    intent: Intent
    translator: Translator | None
    plan: Plan
    scope: Scope
    budgets: Sequence[Applicable]
    output_cap: int
    is_clamped: bool
    cut_above: int
    quote: Quote
    needs: Sequence[Need]
    admitted_at_us: int


class Desk:
    """The admission desk of one worker."""

    def __init__(
        self,
        directory: Directory,
        router: Router,
        translations: Translations,
        headrooms: Headrooms,
        names: NameGate,
        limits: Limits,
        breakers: Breakers,
        draw: Callable[[int], int],
    ) -> None:
        """`draw` is a random number from 0 to below its argument."""
        self.breakers = breakers
        self._chooser = Chooser(directory, router, breakers, draw)
        self._directory = directory
        self.router = router
        self._translations = translations
        self._headrooms = headrooms
        self._names = names
        self._limits = limits

    def offer(self, caller: Caller, inbound: InboundCall, now_us: int) -> Offer:
        """Judge a call of a known key; raise the refusal that applies."""
        check_caller(caller, now_us)
        intent = inbound.format.read(inbound.path, inbound.body)
        plan = self.plan(caller, intent.model, inbound.format.name, now_us)
        end_user, tags = self._names_of(caller, inbound, intent, now_us)
        scope, budgets = caller.scope(plan.provider, plan.model, end_user, tags)
        sent = sent_as(self._translations, inbound, intent, plan, now_us)
        return self._offer(caller, inbound, sent, plan, scope, budgets, now_us)

    def again(self, offer: Offer, prompt_tokens: int | None = None) -> Offer:
        """The same call judged anew: by headroom that is known by now, or with its prompt counted."""
        intent = offer.intent
        if prompt_tokens is not None:
            bound = min(intent.input_bound, prompt_tokens + intent.allowance)
            intent = msgspec.structs.replace(intent, input_bound=bound)
        sent = Sent(offer.sent, intent, offer.translator)
        return self._offer(
            offer.caller, offer.inbound, sent, offer.plan, offer.scope, offer.budgets, offer.admitted_at_us
        )

    def instead(self, offer: Offer, model: str) -> Offer:
        """The same call on another model, quoted anew: what an exhausted budget falls back to."""
        plan = self.plan(offer.caller, model, offer.inbound.format.name, offer.admitted_at_us)
        return self.anew(offer, replace(plan, flags=(*plan.flags, FALLBACK)))

    def elsewhere(self, offer: Offer, avoid: Collection[str]) -> Offer | None:
        """The same call at another upstream than these, quoted anew; None where there is no other."""
        name, spoken = offer.inbound.format.name, self._translations
        plans = [
            plan
            for plan in offer.caller.plans(self.asked(offer)) or ()
            if name in plan.upstream.provider.paths or spoken.between(name, plan.upstream.provider.paths)
        ]
        plan = self._chooser.chosen(plans, avoid, offer.admitted_at_us)
        return None if plan is None else self.anew(offer, plan)

    def anew(self, offer: Offer, plan: Plan) -> Offer:
        """The same call by this plan, from its first word on: nothing of an earlier attempt is left in it."""
        inbound, now_us = offer.inbound, offer.admitted_at_us
        scope, budgets = offer.caller.scope(plan.provider, plan.model, offer.scope.end_user, offer.scope.tags)
        intent = inbound.format.read(inbound.path, inbound.body)
        sent = sent_as(self._translations, inbound, intent, plan, now_us)
        return self._offer(offer.caller, inbound, sent, plan, scope, budgets, now_us)

    @staticmethod
    def asked(offer: Offer) -> str:
        """The model that the caller named."""
        return offer.inbound.format.read(offer.inbound.path, offer.inbound.body).model

    def fits(self, offer: Offer) -> bool:
        """Whether every hard budget has room for the offer, as far as this worker knows."""
        for each in offer.needs:
            left = self._headrooms.left(each.budget, each.subject, offer.admitted_at_us)
            if each.budget.is_hard and left is not None and left < each.amount:
                return False
        return True

    def unknown(self, offer: Offer) -> list[Applicable]:
        """The budgets that would clamp the call if this worker knew what they have left."""
        if offer.intent.output_cap is not None:
            return []
        return [
            (budget, subject)
            for budget, subject in offer.budgets
            if _clamps(budget) and self._headrooms.left(budget, subject, offer.admitted_at_us) is None
        ]

    def plan(self, caller: Caller, model: str, format_name: str, now_us: int) -> Plan:
        """The route of a model for this key, at the prices its account pays; remembered on the caller."""
        plan = self._chooser.plan(caller, model, now_us)
        check_served(self._translations, plan, format_name)
        return plan

    def _names_of(
        self, caller: Caller, inbound: InboundCall, intent: Intent, now_us: int
    ) -> tuple[str | None, Mapping[str, str]]:
        tags: Mapping[str, str] = caller.key.tags
        account = caller.key.account
        asked = asked_of_gateway(inbound.headers)
        sent = asked.get(b"x-tollgate-tags")
        if sent is not None:
            merged = merge_tags(caller.key.tags, sent.decode("utf-8", "replace"))
            tags = self._names.admit_tags(account, merged, caller.key.tags, now_us)
        named = asked.get(b"x-tollgate-end-user")
        end_user = named.decode("utf-8", "replace") if named else intent.end_user
        if end_user:
            end_user = self._names.admit(account, "end_user", end_user_name(end_user), now_us)
        elif caller.key.require_end_user:
            raise BadRequest(
                "invalid_value",
                "This key requires an end user on every call.",
                hint=f"Send the header x-tollgate-end-user{_NAMED_IN_BODY[inbound.format.dialect]}.",
                param=_NAMED_BY[inbound.format.dialect],
            )
        return end_user or None, tags

    def _offer(
        self,
        caller: Caller,
        inbound: InboundCall,
        sent: Sent,
        plan: Plan,
        scope: Scope,
        budgets: Sequence[Applicable],
        now_us: int,
    ) -> Offer:
        intent = sent.intent
        cap = self._cap(caller.key, intent, plan)
        if intent.output_cap is None:
            cap = self._affordable(intent, plan, budgets, cap, now_us)
            is_clamped = cap != plan.max_output
        else:
            is_clamped = cap < intent.output_cap
        worst = quote(plan.card, intent, cap, plan.context_window, now_us)
        for other in intent.others:
            worst = worst.plus(self._quote_of_other(other, caller.key, plan, scope, now_us))
        if not worst.is_priced and self.router.unpriced.refuses:
            raise _unpriced(plan, worst)
        return Offer(
            caller=caller,
            catalogue=self._directory.catalogue,
            inbound=inbound,
            sent=sent.call,
            intent=intent,
            translator=sent.translator,
            plan=plan,
            scope=scope,
            budgets=budgets,
            output_cap=cap,
            is_clamped=is_clamped,
            cut_above=_cut_above(plan, cap * intent.choices),
            quote=worst,
            needs=[Need(budget, subject, _needed(budget, worst, intent, cap)) for budget, subject in budgets],
            admitted_at_us=now_us,
        )

    def _quote_of_other(self, part: Intent, key: VirtualKey, plan: Plan, scope: Scope, now_us: int) -> Quote:
        """The worst case of a part of a call that another model of the same provider may serve."""
        entry = self._directory.catalogue.resolve(plan.upstream.prices_of, part.model)
        check_allowed(key.models, plan.provider, entry.model if entry else part.model)
        priced = entry is not None and entry.card.is_priced
        cap = self._cap_of_other(part, entry, now_us)
        if entry is None or not priced:
            if self.router.unpriced.refuses:
                raise _unpriced_model(plan, part.model)
            return quote(self.router.unpriced.card, part, cap, None, now_us)
        card = entry.card.for_accounts(scope.accounts)
        return quote(card, part, cap, entry.context_window(now_us), now_us)

    def _cap_of_other(self, part: Intent, entry: ModelEntry | None, now_us: int) -> int:
        """As much as the part asks for, else as much as its model writes."""
        if part.output_cap is not None:
            return part.output_cap
        limits = entry.limits_at(now_us) if entry else None
        if limits is None or limits.max_output is None:
            return self._limits.default_output_tokens
        return limits.max_output

    def _cap(self, key: VirtualKey, intent: Intent, plan: Plan) -> int:
        """The smallest of the caller's, the key's and the model's cap; the key may refuse instead."""
        asked, of_key = intent.output_cap, key.max_output_tokens
        if asked is not None and of_key is not None and asked > of_key and key.on_over_cap == "refuse":
            raise BadRequest(
                "max_tokens_exceeded",
                f"The call asks for up to {asked} output tokens; this key allows {of_key}.",
                hint=f"Ask for {of_key} or fewer.",
                param=plan.cap_field,
                fields={"max_output_tokens": of_key},
            )
        if asked is None and plan.max_output is None:
            asked = self._limits.default_output_tokens
        cap = plan.max_output if asked is None else asked
        assert cap is not None, "without a model's limit the default was asked for"
        if plan.max_output is not None and plan.max_output < cap:
            cap = plan.max_output
        return cap if of_key is None or of_key > cap else of_key

    def _affordable(
        self, intent: Intent, plan: Plan, budgets: Sequence[Applicable], cap: int, now_us: int
    ) -> int:
        """The cap of a call that named none: what a share of the tightest hard budget's headroom can pay.

        Never below the smallest useful cap: holding that succeeds, or is refused with the figures of the
        budget that fell short.
        """
        floor = min(cap, self._limits.min_output_tokens)
        for budget, subject in budgets:
            left = self._headrooms.left(budget, subject, now_us) if _clamps(budget) else None
            if left is not None:
                share = max(0, left) // SHARE_OF_HEADROOM
                cap = min(cap, max(floor, _fitting(budget, intent, plan, share, cap, now_us)))
        return cap


def _clamps(budget: Budget) -> bool:
    """Token limits by the minute or hour hold little and settle after; they never clamp."""
    is_pool = budget.unit == "usd" or (budget.unit == "tokens" and not budget.is_rate)
    return is_pool and budget.is_hard


def _fitting(budget: Budget, intent: Intent, plan: Plan, share: int, cap: int, now_us: int) -> int:
    """The largest output cap, up to `cap`, that this much of the budget can pay."""
    if budget.unit == "tokens":
        taken = quote(plan.card, intent, 0, plan.context_window, now_us).tokens
        return min(cap, max(0, share - taken) // intent.choices)
    return affordable_output(plan.card, intent, share, cap, plan.context_window, now_us)


def _cut_above(plan: Plan, tokens: int) -> int:
    """How many tokens may be counted in a stream before it is cut at its cap.

    Our count of an honest answer may be a little over the provider's: by seams in text without blanks
    where the tokenizer is the model's own, by much where it is only the nearest one. An honest answer
    must never be cut, for its usage would be lost with its end.
    """
    return tokens + (tokens // 32 + 16 if plan.counts_exactly else tokens + 64)


def _unpriced(plan: Plan, worst: Quote) -> PriceMissing:
    missing = ", ".join(worst.flags)
    return PriceMissing(
        "price_missing",
        f"This call of {plan.provider}/{plan.model} may use what has no price: {missing}.",
        hint="POST /admin/prices for what is named, or set prices.unpriced to 'ceiling' or 'flag'.",
        param="model",
    )


def _unpriced_model(plan: Plan, model: str) -> PriceMissing:
    return PriceMissing(
        "price_missing",
        f"A part of this call may be served by {model}, which has no price at {plan.provider}.",
        hint="POST /admin/prices for it, or set prices.unpriced to 'ceiling' or 'flag'.",
        param="model",
    )


def _needed(budget: Budget, worst: Quote, intent: Intent, cap: int) -> int:
    """What one call holds of a budget, in the budget's unit."""
    if budget.unit == "tokens" and budget.is_rate:
        return prompt_estimate(intent) + intent.choices * min(cap, RATE_OUTPUT_TOKENS)
    return need(budget.unit, worst.cost_nano, worst.tokens)


def prompt_estimate(intent: Intent) -> int:
    """A likely size of the prompt in tokens, for rates and for calls that die before any usage is known."""
    return -(-intent.input_bound // BYTES_PER_TOKEN)


def check_caller(caller: Caller, now_us: int) -> None:
    """Refuse a key that was revoked, has expired, or is blocked anywhere up its tree."""
    key = caller.key
    if key.status == "revoked" or key.is_expired(now_us):
        raise Unauthenticated(
            "invalid_api_key",
            f"The key {key.hint} {'was revoked' if key.status == 'revoked' else 'has expired'}.",
            hint="Ask the account's administrator for a new key.",
        )
    blocked_by = caller.blocked_by
    if blocked_by is not None:
        raise Forbidden(
            "blocked", f"Calls are blocked: {blocked_by}.", hint="Ask the account's administrator."
        )
