"""Counts of tokens that the gateway makes itself, for models whose provider does not count in this dialect.

Such a count is free and asks nobody, so it holds nothing and has no entry in the ledger. It is an estimate:
the text by the model's own tokenizer or the nearest one, without pictures and documents.
"""

from __future__ import annotations

import msgspec

from gateway.formats.anthropic_count_tokens import FORMAT as COUNT
from gateway.formats.anthropic_messages import FORMAT as MESSAGES
from gateway.gate.admission import Desk, check_caller
from gateway.gate.counting import Counters
from gateway.gate.directory import Caller
from gateway.gate.inbound import InboundCall

__all__ = ["OwnCounts"]


class OwnCounts:
    """The counting of one worker."""

    def __init__(self, desk: Desk, counters: Counters) -> None:
        self._desk = desk
        self._counters = counters

    def model_of(self, caller: Caller, inbound: InboundCall, now_us: int) -> str | None:
        """The model whose tokens are to be counted here; None for every call that goes upstream.

        Raises what refuses the caller or the model.
        """
        if inbound.format.name != COUNT.name:
            return None
        check_caller(caller, now_us)
        intent = inbound.format.read(inbound.path, inbound.body)
        plan = self._desk.plan(caller, intent.model, MESSAGES.name, now_us)
        return None if COUNT.name in plan.upstream.provider.paths else plan.model

    async def body(self, model: str, inbound: InboundCall) -> bytes:
        """The answer with the count."""
        tokens = await self._counters.prompt(model, MESSAGES, inbound.body)
        return msgspec.json.encode({"input_tokens": tokens})
