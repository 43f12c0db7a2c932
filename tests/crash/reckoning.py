"""The ledger against what the provider billed, call by call, and every sum against every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from gateway.simulators import BilledCall, SimulatedProviders
from tests.crash.load import Told

__all__ = ["Entry", "Reckoning", "reckon"]

# gpt-4.1: $2 and $8 a million tokens, in nano-USD a token.
INPUT_NANO = 2_000
OUTPUT_NANO = 8_000
# A checkpoint is at most 250 ms old, the next beat may be late on a busy machine; what a client had this long
# before its worker was killed is in the last one for certain.
CHECKED_S = 2.0


class Entry(NamedTuple):
    """A ledger row."""

    end_user: str
    outcome: str
    charge: int
    usage: Mapping[str, int]
    flags: Sequence[str]


class Reckoning(NamedTuple):
    """How many calls came to which end; a test that kills wants some of each."""

    done: int
    interrupted: int
    void: int


def reckon(
    url: str, data_dir: Path, providers: SimulatedProviders, calls: Sequence[Told], kills: Sequence[float]
) -> Reckoning:
    """Assert everything, once the gateway has been stopped in good order."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT end_user, outcome, charge, usage, flags FROM ledger")).all()
        sums = {
            table: conn.execute(text(f"SELECT SUM(cost) FROM {table}")).scalar_one()
            for table in ("rollups", "end_user_rollups")
        }
        windows = conn.execute(
            text("SELECT b.unit, w.cap, w.spent, w.leased FROM windows w JOIN budgets b ON b.id = w.budget")
        ).all()
        states = set(conn.execute(text("SELECT state FROM journals")).scalars())
        quarantined = conn.execute(text("SELECT COUNT(*) FROM quarantine")).scalar_one()
        leases = conn.execute(text("SELECT COUNT(*) FROM leases")).scalar_one()
    entries = [
        Entry(user, outcome, charge, msgspec.json.decode(usage), msgspec.json.decode(flags))
        for user, outcome, charge, usage, flags in rows
    ]
    assert (states, quarantined, leases) == ({"finished"}, 0, 0)
    assert not [each for each in (data_dir / "journals").iterdir() if each.name != "done"]
    _sums_agree(entries, sums, windows)
    by_user = {entry.end_user: entry for entry in entries}
    assert len(by_user) == len(entries), "no call is in the ledger twice"
    billed = {call.cap: call for call in providers.bill()}
    assert len(billed) == len(providers.bill()), "no call reached the provider twice"
    for told in calls:
        _call_agrees(told, by_user.get(told.end_user), billed.get(told.cap), kills)
    assert by_user.keys() <= {told.end_user for told in calls}
    outcomes = [entry.outcome for entry in entries]
    return Reckoning(*(outcomes.count(each) for each in ("done", "interrupted", "void")))


def _sums_agree(
    entries: Sequence[Entry], sums: Mapping[str, Any], windows: Sequence[tuple[Any, ...] | Any]
) -> None:
    total = sum(entry.charge for entry in entries)
    assert dict(sums) == dict.fromkeys(sums, total)
    tokens = sum(sum(entry.usage.values()) for entry in entries if entry.outcome != "void")
    spent = {"usd": total, "tokens": tokens, "concurrent": 0}
    assert {unit: figure for unit, _, figure, _ in windows} == spent
    for unit, cap, figure, leased in windows:
        assert leased == 0, f"{leased} {unit} are still leased"
        assert figure <= cap


def _call_agrees(told: Told, entry: Entry | None, bill: BilledCall | None, kills: Sequence[float]) -> None:
    if entry is None:
        assert bill is None, f"the provider billed a call that nobody knows: {told}, {bill}"
        assert not told.pieces
        return
    if told.is_finished:
        assert entry.outcome == "done", f"the client saw the end of it: {told}, {entry}"
    cost = entry.usage.get("input", 0) * INPUT_NANO + entry.usage.get("output", 0) * OUTPUT_NANO
    match entry.outcome:
        case "done":
            assert bill is not None
            assert (entry.usage["input"], entry.usage["output"]) == (bill.input, bill.output)
            assert entry.charge == bill.input * INPUT_NANO + bill.output * OUTPUT_NANO
        case "void":
            assert entry.charge == 0
            assert bill is None or bill.output == 0
        case "interrupted":
            assert entry.charge == cost
            assert {"interrupted", "estimated"} <= set(entry.flags)
            _within_checkpoint(told, entry, bill, kills)
        case _:
            raise AssertionError(f"nothing else ends a call here: {entry}")


def _within_checkpoint(told: Told, entry: Entry, bill: BilledCall | None, kills: Sequence[float]) -> None:
    """No more than was generated; no less than what the client had well before its worker died."""
    output = entry.usage.get("output", 0)
    assert output <= (0 if bill is None else bill.output), (told, entry, bill)
    if told.pieces:
        killed = min((kill for kill in kills if kill >= told.pieces[-1] - CHECKED_S), default=told.pieces[-1])
        certain = sum(piece < killed - CHECKED_S for piece in told.pieces)
        assert output >= certain, f"{certain} tokens had long been relayed: {told}, {entry}"
