"""What a virtual key may ask about itself: who am I, what would this cost, what did that cost, which models.

Nothing here holds or spends anything. Another key's things are answered like things that do not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.principals import Principals
from gateway.clock import Clock
from gateway.domain.amounts import format_amount
from gateway.domain.budgets import Budget
from gateway.domain.errors import BadRequest, NotFound
from gateway.domain.ids import journal_of
from gateway.domain.instants import rfc3339
from gateway.domain.money import format_usd
from gateway.domain.scopes import subject
from gateway.domain.tenancy import VirtualKey
from gateway.formats.base import Format
from gateway.gate.directory import Applicable, Caller
from gateway.gate.gate import Gate
from gateway.gate.inbound import InboundCall
from gateway.gate.receipts import (
    Entry,
    entry_of_journal,
    entry_of_row,
    receipt,
    receipt_of_running,
)
from gateway.gate.resumables import may_see
from gateway.store.engine import Database
from gateway.store.receipts import charged_windows, entries_of_call, may_be_posted_soon

__all__ = ["SelfService"]

DEFAULT_FORMAT = "openai_chat"
# How long, and how often, to look for a call that another worker may be about to post.
POSTING_LOOKS = 20
POSTING_LOOK_S = 0.05


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
                "id": key.charged_to,
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
        offer = await self._gate.waiting_room.judged_well(
            self._gate.desk.offer(caller, inbound, self._clock.now_us())
        )
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
        reader = await self._principals.anyone(request)
        call = request.path_params["call"]
        running = self._gate.running(call)
        if running is not None and may_see(reader, running.key, running.account):
            return json_response(receipt_of_running(running))
        entries = await self._entries(call)
        visible = [entry for entry in entries if may_see(reader, entry.key, entry.account)]
        if not visible:
            raise NotFound(
                "call_not_found", "There is no such call.", hint="A call's id is in x-tollgate-call-id."
            )
        ids = sorted({window for entry in visible for window, _, _ in entry.windows})
        charged = await self._database.read(charged_windows, ids) if ids else {}
        account = reader.account if isinstance(reader, VirtualKey) else None
        return json_response(receipt(visible, charged, account))

    async def _entries(self, call: str) -> list[Entry]:
        """Every entry of a call: those of this worker at once, those of another as soon as it posts them."""
        entries = await self._known_entries(call)
        if entries or journal_of(call) in (None, self._gate.ledger.journal_bytes):
            return entries
        if await self._database.read(may_be_posted_soon, call):
            for _ in range(POSTING_LOOKS):
                await asyncio.sleep(POSTING_LOOK_S)
                entries = await self._known_entries(call)
                if entries:
                    break
        return entries

    async def _known_entries(self, call: str) -> list[Entry]:
        # The journal is looked at first: what is posted meanwhile is in both, never in neither.
        unposted = [entry_of_journal(*each) for each in self._gate.ledger.unposted(call)]
        entries = [entry_of_row(row) for row in await self._database.read(entries_of_call, call)]
        posted = {entry.id for entry in entries}
        return [*entries, *(entry for entry in unposted if entry.id not in posted)]

    def _budgets_of(self, caller: Caller) -> list[Applicable]:
        """Every budget that could apply: those by end user or tag with the window of calls that name none."""
        scope, _ = caller.scope("", "", None, caller.key.tags)
        return [(budget, subject(budget, scope)) for budget in caller.candidates]

    async def _standing(self, caller: Caller, budget: Budget, of: str) -> dict[str, Any]:
        """A budget's figures; of one above the key's own account only name and reset are its business."""
        state = await self._gate.waiting_room.standing(budget, of)
        shown = {"name": budget.name, "resets_at": _instant(state.resets_at_us)}
        if not caller.sees(budget.id):
            return shown
        figures = {"cap": state.cap, "spent": state.spent, "held": state.held, "remaining": state.free}
        return {
            "id": budget.id,
            **shown,
            "unit": budget.unit,
            "period": budget.period,
            "enforcement": budget.enforcement,
            **{name: format_amount(amount, budget.unit) for name, amount in figures.items()},
        }

    def _could_pay(self, budget: Budget, of: str, amount: int) -> bool:
        left = self._gate.ledger.left(budget, of, self._clock.now_us())
        return not budget.is_hard or left is None or left >= amount


def _instant(at_us: int | None) -> str | None:
    return None if at_us is None else rfc3339(at_us)


def json_response(value: Any) -> Response:
    """An answer in JSON that no cache keeps."""
    return Response(
        msgspec.json.encode(value), headers={"cache-control": "no-store"}, media_type="application/json"
    )
