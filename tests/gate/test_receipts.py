"""Receipts: all entries of a call in one, and of budgets above the caller's account name and reset alone."""

from __future__ import annotations

from typing import Any

from gateway.domain.costing import Line
from gateway.gate.receipts import Entry, entry_of_journal, receipt, receipt_of_running
from gateway.ledger.records import CallFacts, Closing
from gateway.store.receipts import Charged
from tests.gate.making import NOON_US, budget, caller

FACTS = CallFacts(
    attempt="att_1",
    call="call_1",
    key="key_1",
    account="acct_team",
    end_user=None,
    tags={},
    provider="openai",
    upstream="openai",
    model="gpt-4.1",
    format="openai_chat",
    streamed=True,
    admitted_at_us=NOON_US,
    hold_nano=900_000,
    usage={"input": 9},
    charge_nano=18_000,
    tokens=9,
)


def closing(**fields: Any) -> Closing:
    values: dict[str, Any] = {
        "outcome": "done",
        "status": 200,
        "served_model": "gpt-4.1-2025-04-14",
        "usage": {"input": 10, "output": 5},
        "usage_source": "provider",
        "raw_usage": b'{"prompt_tokens": 10}',
        "lines": [("output", 5, "price_1", 8_000_000, 40_000, 40_000)],
        "flags": [],
        "charge_nano": 40_000,
        "list_nano": 40_000,
        "tokens": 15,
        "closed_at_us": NOON_US + 1_500_000,
        "requests": 1,
        **fields,
    }
    return Closing(**values)


def entry(*parts: Any, **fields: Any) -> Entry:
    return entry_of_journal(FACTS, closing(**fields), parts)


def charged(window: int = 7, **fields: Any) -> Charged:
    values: dict[str, Any] = {
        "budget": "bud_1",
        "name": "ours",
        "unit": "usd",
        "account": "acct_team",
        "key": None,
        "starts_at_us": NOON_US,
        "ends_at_us": NOON_US + 1_000_000,
        **fields,
    }
    return Charged(window=window, **values)


def shown(*entries: Entry, windows: dict[int, Charged] | None = None, **fields: Any) -> dict[str, Any]:
    return receipt(entries, windows or {}, caller(budget(1), **fields).key.account)


def test_a_receipt_names_everything_a_charge_rests_on() -> None:
    found = shown(entry((7, 40_000, 900_000)), windows={7: charged()})
    assert {name: found[name] for name in ("id", "object", "status", "model", "served_model", "key")} == {
        "id": "call_1",
        "object": "call",
        "status": "finished",
        "model": "gpt-4.1",
        "served_model": "gpt-4.1-2025-04-14",
        "key": "key_1",
    }
    assert found["usage"] == {"requests": 1, "input": 10, "output": 5}
    assert bytes(found["raw_usage"]) == b'{"prompt_tokens": 10}'
    assert found["lines"] == [
        {
            "meter": "output",
            "quantity": 5,
            "price_id": "price_1",
            "usd_per_million": "8",
            "cost_usd": "0.00004",
            "list_cost_usd": "0.00004",
        }
    ]
    assert (found["cost_usd"], found["hold_usd"], found["overrun_usd"]) == ("0.00004", "0.0009", "0")
    assert (found["created_at"], found["finished_at"]) == (
        "2026-11-25T12:00:00Z",
        "2026-11-25T12:00:01.500000Z",
    )
    assert found["budgets"] == [
        {
            "name": "ours",
            "resets_at": "2026-11-25T12:00:01Z",
            "id": "bud_1",
            "unit": "usd",
            "starts_at": "2026-11-25T12:00:00Z",
            "charged": "0.00004",
            "held": "0.0009",
        }
    ]


def test_an_overrun_is_what_was_charged_beyond_the_hold() -> None:
    assert shown(entry(charge_nano=1_000_000))["overrun_usd"] == "0.0001"


def test_corrections_and_earlier_attempts_are_part_of_the_whole() -> None:
    failed = entry(outcome="void", usage={}, charge_nano=0, lines=[], flags=["upstream_refused"])
    correction = Entry(
        **{
            **{name: getattr(failed, name) for name in Entry.__slots__},
            "kind": "correction",
            "usage": {"output": -2},
            "charge_nano": -16_000,
            "lines": [Line("output", -2, "price_1", 8_000_000, -16_000, -16_000)],
            "flags": ["estimated"],
        }
    )
    found = shown(failed, entry(), correction)
    assert found["usage"] == {"requests": 1, "input": 10, "output": 3}
    assert found["cost_usd"] == "0.000024"
    assert found["flags"] == ["upstream_refused", "estimated"]
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["void", "done", "void"]
    assert found["status"] == "finished"


def test_what_ends_are_called() -> None:
    ends = {"done": "finished", "aborted": "cancelled", "interrupted": "interrupted", "void": "failed"}
    assert {outcome: shown(entry(outcome=outcome))["status"] for outcome in ends} == ends


def test_a_budget_above_is_its_name_and_its_reset() -> None:
    windows = {
        7: charged(account="acct_top"),
        8: charged(8, account=None),
        9: charged(9, account=None, key="key_1", name="mine", ends_at_us=None),
    }
    entries = entry((7, 1, 1), (8, 1, None), (9, 1, None), (10, 1, 1))
    found = receipt([entries], windows, "acct_team")
    top, everybodys, own = found["budgets"]
    assert set(top) == set(everybodys) == {"name", "resets_at"}
    assert (own["name"], own["resets_at"], own["held"]) == ("mine", None, None)


def test_an_administrator_sees_every_budget_whole() -> None:
    windows = {7: charged(account="acct_top"), 8: charged(8, account=None)}
    found = receipt([entry((7, 40_000, 1), (8, 1, None))], windows, None)
    assert [each["charged"] for each in found["budgets"]] == ["0.00004", "0.000000001"]


def test_a_window_without_a_row_is_told_once_it_has_one() -> None:
    assert entry((("bud_1", "", NOON_US, None), 40_000, 900_000), (7, 1, None)).windows == [(7, 1, None)]


def test_a_running_call_has_no_figures_but_its_hold() -> None:
    found = receipt_of_running(FACTS)
    assert (found["status"], found["finished_at"], found["cost_usd"]) == ("running", None, None)
    assert found["hold_usd"] == "0.0009"
