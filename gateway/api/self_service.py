"""What a virtual key may ask about itself: who am I, what would this cost, what did that cost, which models.

Nothing here holds or spends anything. Another key's things are answered like things that do not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.principals import Principals
from gateway.clock import Clock
from gateway.domain.amounts import format_amount
from gateway.domain.budgets import Budget
from gateway.domain.catalogue import ModelEntry
from gateway.domain.errors import BadRequest, NotFound
from gateway.domain.instants import rfc3339
from gateway.domain.money import format_price, format_usd
from gateway.domain.scopes import allowed_model, subject
from gateway.formats.base import Format
from gateway.gate.directory import Applicable, Caller
from gateway.gate.gate import Gate
from gateway.gate.inbound import InboundCall
from gateway.gate.receipts import entry_of_journal, entry_of_row, receipt
from gateway.store.engine import Database
from gateway.store.receipts import entries_of_call

__all__ = ["SelfService"]

DEFAULT_FORMAT = "openai_chat"
US_PER_S = 1_000_000


class SelfService:
    """The endpoints; each is an ASGI endpoint of Starlette."""

    def __init__(
        self,
        gate: Gate,
        database: Database,
        clock: Clock,
        principals: Principals,
        formats: Mapping[str, Format],
    ) -> None:
        self._gate = gate
        self._database = database
        self._clock = clock
        self._principals = principals
        self._formats = formats

    async def key(self, request: Request) -> Response:
        """`GET /v1/key`: the key, its account, and every budget that can apply to it."""
        caller = await self._principals.caller(request)
        key = caller.key
        budgets = [await self._standing(caller, *each) for each in self._budgets_of(caller)]
        return json_response(
            {
                "object": "key",
                "id": key.id,
                "name": key.name,
                "hint": key.hint,
                "account": {"id": key.account, "path": caller.accounts[0].path},
                "models": None if key.models is None else list(key.models),
                "max_output_tokens": key.max_output_tokens,
                "tags": dict(key.tags),
                "expires_at": _instant(key.expires_at_us),
                "budgets": budgets,
            }
        )

    async def estimate(self, request: Request) -> Response:
        """`POST /v1/estimate`: a call's body in; its worst case and which budgets could pay it out."""
        caller = await self._principals.caller(request)
        name = request.query_params.get("format", DEFAULT_FORMAT)
        wire_format = self._formats.get(name)
        if wire_format is None:
            known = ", ".join(sorted(self._formats))
            raise BadRequest(
                "invalid_value", f"There is no format {name[:64]!r}.", hint=f"One of {known}.", param="format"
            )
        inbound = InboundCall(wire_format, wire_format.paths[0], request.headers.raw, await request.body())
        offer = self._gate.desk.offer(caller, inbound, self._clock.now_us())
        return json_response(
            {
                "object": "estimate",
                "model": offer.plan.model,
                "provider": offer.plan.provider,
                "max_output_tokens": offer.output_cap,
                "clamped": offer.is_clamped,
                "input_tokens": offer.quote.input_tokens,
                "output_tokens": offer.quote.output_tokens,
                "quote_usd": format_usd(offer.quote.cost_nano),
                "budgets": [
                    {
                        **(await self._standing(caller, need.budget, need.subject)),
                        "needs": format_amount(need.amount, need.budget.unit),
                        "could_pay": self._could_pay(need.budget, need.subject, need.amount),
                    }
                    for need in offer.needs
                ],
            }
        )

    async def call(self, request: Request) -> Response:
        """`GET /v1/calls/{id}`: the receipt, readable once the call has ended."""
        caller = await self._principals.caller(request)
        call = request.path_params["call"]
        entries = [entry_of_row(row) for row in await self._database.read(entries_of_call, call)]
        posted = {entry.id for entry in entries}
        unposted = [entry_of_journal(*each) for each in self._gate.ledger.unposted(call)]
        entries += [entry for entry in unposted if entry.id not in posted]
        visible = [entry for entry in entries if self._may_see(caller, entry.key, entry.account)]
        if not visible:
            raise NotFound(
                "call_not_found", "There is no such call.", hint="A call's id is in x-tollgate-call-id."
            )
        return json_response(receipt(visible))

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: what this key may call, with prices in USD per million units."""
        caller = await self._principals.caller(request)
        return json_response(
            {"object": "list", "data": [self._model(entry) for entry in self._served(caller)]}
        )

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{id}`."""
        caller = await self._principals.caller(request)
        plan = self._gate.desk.plan(
            caller, request.path_params["model"], DEFAULT_FORMAT, self._clock.now_us()
        )
        entry = self._gate.directory.catalogue.resolve(plan.upstream.prices_of, plan.upstream_model)
        if entry is None:
            raise NotFound("model_not_found", "There is no such model.", param="model")
        return json_response(self._model(entry))

    def _served(self, caller: Caller) -> list[ModelEntry]:
        catalogue = self._gate.directory.catalogue
        return [
            entry
            for upstream in self._gate.desk.router.upstreams
            for entry in catalogue.entries(upstream.prices_of)
            if entry.card.is_priced and allowed_model(caller.key.models, upstream.name, entry.model)
        ]

    def _model(self, entry: ModelEntry) -> dict[str, Any]:
        now_us = self._clock.now_us()
        limits = entry.limits_at(now_us)
        rates = entry.card.rates(now_us)
        return {
            "id": entry.model,
            "object": "model",
            "created": 0,
            "owned_by": entry.provider,
            "context_window": entry.context_window(now_us),
            "max_output_tokens": limits.max_output if limits else None,
            "usd_per_million": {
                meter: format_price(row.price_pico)
                for meter, row in sorted(rates.rows.items())
                if row.meter == meter
            },
        }

    def _budgets_of(self, caller: Caller) -> list[Applicable]:
        """Every budget that could apply: those by end user or tag with the window of calls that name none."""
        scope = caller.scope("", "", None, caller.key.tags)
        return [(budget, subject(budget, scope)) for budget in caller.candidates]

    async def _standing(self, caller: Caller, budget: Budget, of: str) -> dict[str, Any]:
        state = await self._gate.ledger.balance(budget, of)
        shown = {
            "id": budget.id,
            "name": budget.name,
            "unit": budget.unit,
            "period": budget.period,
            "enforcement": budget.enforcement,
            "resets_at": _instant(state.resets_at_us),
        }
        if budget.account is not None and budget.account != caller.key.account:
            return (
                shown  # of budgets above the key's own account only the name and the reset are its business
            )
        left = state.cap - state.spent - state.held
        figures = {"cap": state.cap, "spent": state.spent, "held": state.held, "remaining": left}
        return {**shown, **{name: format_amount(amount, budget.unit) for name, amount in figures.items()}}

    def _could_pay(self, budget: Budget, of: str, amount: int) -> bool:
        left = self._gate.ledger.left(budget, of, self._clock.now_us())
        return not budget.is_hard or left is None or left >= amount

    @staticmethod
    def _may_see(caller: Caller, key: str, account: str) -> bool:
        return key == caller.key.id or (caller.key.sees_account and account == caller.key.account)


def _instant(at_us: int | None) -> str | None:
    return None if at_us is None else rfc3339(at_us)


def json_response(value: Any) -> Response:
    """An answer in JSON that no cache keeps."""
    return Response(
        msgspec.json.encode(value), headers={"cache-control": "no-store"}, media_type="application/json"
    )
