"""The receipt of a call: every figure it was charged by, from the ledger or, before posting, the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Row

from gateway.domain.amounts import format_amount
from gateway.domain.costing import Line
from gateway.domain.instants import rfc3339
from gateway.domain.money import format_price, format_usd
from gateway.ledger.records import CallFacts, Closing, PostedPart
from gateway.store.receipts import Charged

__all__ = [
    "Entry",
    "entry_of_journal",
    "entry_of_row",
    "receipt",
    "receipt_of_running",
]

# What a call's outcome is called to whoever made it.
STATUS_OF = {"done": "finished", "aborted": "cancelled", "interrupted": "interrupted", "void": "failed"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One ledger entry, posted or not. Amounts in nano-USD, instants in microseconds."""

    id: str
    kind: str
    call: str
    key: str
    account: str
    provider: str
    upstream: str
    model: str
    served_model: str | None
    admitted_at_us: int
    closed_at_us: int
    status: int | None
    outcome: str
    usage: Mapping[str, int]
    usage_source: str
    raw_usage: bytes | None
    lines: Sequence[Line]
    flags: Sequence[str]
    hold_nano: int
    charge_nano: int
    overrun_nano: int
    windows: Sequence[tuple[int, int, int | None]]


def entry_of_row(row: Row[Any]) -> Entry:
    """From a row of the ledger."""
    return Entry(
        id=row.id,
        kind=row.kind,
        call=row.call,
        key=row.key,
        account=row.account,
        provider=row.provider,
        upstream=row.upstream,
        model=row.model,
        served_model=row.served_model,
        admitted_at_us=row.admitted_at if row.late_for is None else row.late_for,
        closed_at_us=row.closed_at,
        status=row.status,
        outcome=row.outcome,
        usage=msgspec.json.decode(row.usage, type=dict[str, int]),
        usage_source=row.usage_source,
        raw_usage=row.raw_usage,
        lines=msgspec.json.decode(row.lines, type=list[Line]),
        flags=msgspec.json.decode(row.flags, type=list[str]),
        hold_nano=row.hold,
        charge_nano=row.charge,
        overrun_nano=row.overrun,
        windows=msgspec.json.decode(row.windows, type=list[tuple[int, int, int | None]]),
    )


def entry_of_journal(facts: CallFacts, closing: Closing, windows: Sequence[PostedPart]) -> Entry:
    """From the open and close records of a call that is not posted yet.

    A window that began while the database was away has no row, and so no figures to show, until then.
    """
    return Entry(
        id=facts.attempt,
        kind="call",
        call=facts.call,
        key=facts.key,
        account=facts.account,
        provider=facts.provider,
        upstream=facts.upstream,
        model=facts.model,
        served_model=closing.served_model,
        admitted_at_us=facts.admitted_at_us,
        closed_at_us=closing.closed_at_us,
        status=closing.status,
        outcome=closing.outcome,
        usage=closing.usage,
        usage_source=closing.usage_source,
        raw_usage=closing.raw_usage,
        lines=[Line(*line) for line in closing.lines],
        flags=closing.flags,
        hold_nano=facts.hold_nano,
        charge_nano=closing.charge_nano,
        overrun_nano=max(0, closing.charge_nano - facts.hold_nano),
        windows=[(window, amount, held) for window, amount, held in windows if isinstance(window, int)],
    )


def receipt(entries: Sequence[Entry], charged: Mapping[int, Charged], account: str | None) -> dict[str, Any]:
    """The receipt of one call from all its entries, attempts first, corrections after.

    `account` is the reader's, whose own budgets are shown whole; None for administrators, who see all.
    The last attempt is the one the client got; what earlier attempts and corrections cost is part of the
    whole and listed.
    """
    attempts = [entry for entry in entries if entry.kind == "call"]
    last = attempts[-1]
    usage: dict[str, int] = {"requests": sum(1 for entry in attempts if entry.outcome != "void")}
    for entry in entries:
        for meter, quantity in entry.usage.items():
            usage[meter] = usage.get(meter, 0) + quantity
    return {
        "id": last.call,
        "object": "call",
        "status": STATUS_OF[last.outcome],
        "model": last.model,
        "served_model": last.served_model,
        "provider": last.provider,
        "key": last.key,
        "account": last.account,
        "created_at": rfc3339(attempts[0].admitted_at_us),
        "finished_at": rfc3339(last.closed_at_us),
        "usage": usage,
        "usage_source": last.usage_source,
        "raw_usage": msgspec.Raw(last.raw_usage) if last.raw_usage else None,
        "lines": [_line(line) for entry in entries for line in entry.lines],
        "cost_usd": format_usd(sum(entry.charge_nano for entry in entries)),
        "hold_usd": format_usd(last.hold_nano),
        "overrun_usd": format_usd(sum(entry.overrun_nano for entry in entries)),
        "flags": list(dict.fromkeys(flag for entry in entries for flag in entry.flags)),
        "budgets": [
            _budget(charged[window], amount, held, account)
            for window, amount, held in last.windows
            if window in charged
        ],
        "attempts": [_attempt(entry) for entry in entries],
    }


def receipt_of_running(facts: CallFacts) -> dict[str, Any]:
    """What can be said of a call that has not ended: what it is, and what is held for it."""
    return {
        "id": facts.call,
        "object": "call",
        "status": "running",
        "model": facts.model,
        "provider": facts.provider,
        "key": facts.key,
        "account": facts.account,
        "created_at": rfc3339(facts.admitted_at_us),
        "finished_at": None,
        "usage": {},
        "usage_source": "none",
        "lines": [],
        "cost_usd": None,
        "hold_usd": format_usd(facts.hold_nano),
        "budgets": [],
        "attempts": [],
    }


def _budget(charged: Charged, amount: int, held: int | None, account: str | None) -> dict[str, Any]:
    """A budget the call was counted in; above the reader's account, its name and reset are all there is."""
    shown: dict[str, Any] = {"name": charged.name, "resets_at": None}
    if charged.ends_at_us is not None:
        shown["resets_at"] = rfc3339(charged.ends_at_us)
    if account is not None and charged.key is None and charged.account != account:
        return shown
    return shown | {
        "id": charged.budget,
        "unit": charged.unit,
        "starts_at": rfc3339(charged.starts_at_us),
        "charged": format_amount(amount, charged.unit),
        "held": None if held is None else format_amount(held, charged.unit),
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "meter": line.meter,
        "quantity": line.quantity,
        "price_id": line.price_id,
        "usd_per_million": format_price(line.price_pico),
        "cost_usd": format_usd(line.cost_nano),
        "list_cost_usd": format_usd(line.list_nano),
    }


def _attempt(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "upstream": entry.upstream,
        "status": entry.status,
        "outcome": entry.outcome,
        "cost_usd": format_usd(entry.charge_nano),
        "flags": list(entry.flags),
    }
