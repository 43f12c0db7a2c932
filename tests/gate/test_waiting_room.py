"""The slow way in: what is not known is learnt, what does not fit is counted, what is spent falls back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.domain.errors import BudgetExceeded, Unavailable
from gateway.gate.admission import Offer
from gateway.ledger.ledger import Balance
from gateway.store.outcomes import DatabaseAway
from tests.gate.making import NOON_US, budget, inbound
from tests.gate.playbook import JSON, Playbook

REPLY = b'{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}'


def judged(play: Playbook, **fields: Any) -> Offer:
    """An offer as the gate's desk makes it."""
    assert play.directory.known is not None
    return play.gate.desk.offer(play.directory.known, inbound(**fields), NOON_US)


async def test_a_call_without_a_cap_is_clamped_once_its_budgets_are_known() -> None:
    play = Playbook(budgets=[budget(800_000_000)])
    play.ledger.must_wait = True
    play.ledger.budgets["bud_1"] = Balance(800_000_000, 0, 0, None)
    play.ledger.told = play.lefts.amounts
    play.client()
    for _ in range(5):
        await asyncio.sleep(0)
    assert play.ledger.answer is not None
    play.ledger.answer.set_result(None)
    await play.settled()
    holding = int(play.said[1].rpartition(" ")[2])
    assert 90_000_000 < holding <= 100_000_000
    play.write()
    play.upstream(200, JSON, REPLY)
    play.write()
    assert int(play.down.headers[b"x-tollgate-max-tokens"]) > 10_000


async def test_a_busy_database_is_asked_again_for_what_a_budget_has_left() -> None:
    play = Playbook(budgets=[budget(800_000_000)])
    play.ledger.budgets["bud_1"] = Balance(800_000_000, 0, 0, None)
    play.ledger.told = play.lefts.amounts
    play.ledger.away = [Unavailable("ledger_unavailable", "busy")] * 3
    clamped = await play.gate.waiting_room.judged_well(judged(play))
    assert clamped.is_clamped
    play.lefts.amounts.clear()
    play.ledger.away = [Unavailable("ledger_unavailable", "away")] * 100
    assert not (await play.gate.waiting_room.judged_well(judged(play))).is_clamped


async def test_figures_are_the_last_heard_while_the_database_is_away() -> None:
    play = Playbook(budgets=[budget(10)])
    known = Balance(10, 4, 1, None)
    play.ledger.away = [DatabaseAway(OSError("no route"))] * 2
    with pytest.raises(Unavailable):
        await play.gate.waiting_room.standing(budget(10), "")
    play.ledger.budgets["bud_1"] = known
    assert await play.gate.waiting_room.standing(budget(10), "") == known


async def test_a_prompt_is_counted_only_where_its_bound_does_not_fit() -> None:
    play = Playbook(budgets=[budget(10**12)])
    text = [{"role": "user", "content": "word " * 2_000}]
    roomy = judged(play, max_tokens=10, messages=text)
    play.lefts.amounts["bud_1"] = roomy.needs[0].amount
    assert await play.gate.waiting_room.judged_well(roomy) is roomy
    play.lefts.amounts["bud_1"] -= 1
    counted = await play.gate.waiting_room.judged_well(roomy)
    assert counted.quote.input_tokens < roomy.quote.input_tokens / 2


@pytest.mark.parametrize(
    ("fallback", "model"), [("gpt-4o-mini", "gpt-4o-mini"), (None, None), ("no-such-model", None)]
)
async def test_a_spent_budget_falls_back_to_its_cheaper_model(
    fallback: str | None, model: str | None
) -> None:
    spent = budget(10, fallback=fallback)
    play = Playbook(budgets=[spent])
    play.directory.budgets = {"bud_1": spent}
    play.ledger.must_wait = True
    play.client(max_tokens=5)
    await asyncio.sleep(0)
    fields: dict[str, Any] = {"budget": "ours", "budget_id": "bud_1", "unit": "usd", "resets_at": None}
    figures = {"cap": 10, "spent": 10, "held": 0}
    play.refuse_waiting(BudgetExceeded("budget_exceeded", "Spent.", fields={**fields, **figures}))
    for _ in range(5):
        await asyncio.sleep(0)
    if model is None:
        assert play.said[-1] == "client gets 429"
        return
    assert play.ledger.answer is not None
    play.ledger.answer.set_result(None)
    await play.settled()
    assert play.said[-1].startswith(f"ledger opens {model} ")
    play.write()
    play.upstream(200, JSON, REPLY)
    play.write()
    assert play.down.headers[b"x-tollgate-model"] == model.encode()
    assert play.closing.flags == ["fallback"]
