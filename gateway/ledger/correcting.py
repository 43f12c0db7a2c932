"""A later, more exact figure for an attempt: the difference to what is booked, as an entry. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.domain.budgets import amount
from gateway.domain.costing import Charge
from gateway.ledger.records import CallFacts, Closing, Correct, Line
from gateway.store.corrections import Booked

__all__ = ["adjustment", "correction"]


def correction(name: str, kind: str, booked: Booked, exact: Closing, reason: str) -> Correct | None:
    """The entry that makes the attempt come to `exact`, in the windows it was booked in; None for no change.

    Nothing is held for it: an addition is overrun, a deduction gives headroom back.
    """
    usage = _difference(booked.usage, exact.usage)
    lines = _lines(booked, exact.lines)
    parts = [
        (window, amount(unit, exact.charge_nano, exact.tokens, not exact.requests) - spent, hold)
        for window, (unit, spent, hold) in booked.windows.items()
    ]
    changed = [part for part in parts if part[1]]
    charge = exact.charge_nano - booked.charge
    listed = exact.list_nano - booked.list_charge
    requests = exact.requests - booked.requests
    if not (usage or lines or changed or charge or listed or requests):
        return None
    difference = msgspec.structs.replace(
        exact, usage=usage, lines=lines, charge_nano=charge, list_nano=listed, tokens=0, requests=requests
    )
    return Correct(name, kind, _facts(booked), difference, changed, reason)


def adjustment(name: str, booked: Booked, exact: Charge, reason: str, now_us: int) -> Correct | None:
    """The entry that makes the attempt cost `exact`, whatever it used staying as it is; None for no change.

    Its lines take back what was charged by the old prices and add what the new ones come to.
    """
    change, listed = exact.total_nano - booked.charge, exact.list_nano - booked.list_charge
    if not (change or listed) or (_pays_the_same(booked, exact) and abs(change) <= len(exact.lines)):
        return None
    row = booked.row
    difference = Closing(
        outcome=row.outcome,
        status=row.status,
        served_model=row.served_model,
        usage={},
        usage_source=row.usage_source,
        raw_usage=None,
        lines=_lines(booked, exact.lines),
        flags=[],
        charge_nano=change,
        list_nano=listed,
        tokens=0,
        closed_at_us=now_us,
        requests=0,
        service_tier=row.service_tier or "",
    )
    changed = [
        (window, change, hold)
        for window, (unit, _, hold) in booked.windows.items()
        if unit == "usd" and change
    ]
    return Correct(name, "adjustment", _facts(booked), difference, changed, reason)


def _pays_the_same(booked: Booked, exact: Charge) -> bool:
    """Whether each meter pays the row it paid. Parts of a call that paid one row were each rounded; their sum
    is rounded once, and that is no news."""
    paid = {(meter, price) for (meter, price, _), (quantity, _, _) in booked.lines.items() if quantity}
    is_same = paid == {(line.meter, line.price_id) for line in exact.lines}
    return is_same and abs(exact.list_nano - booked.list_charge) <= len(exact.lines)


def _difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    meters = sorted({*before, *after})
    changes = {meter: after.get(meter, 0) - before.get(meter, 0) for meter in meters}
    return {meter: change for meter, change in changes.items() if change}


def _lines(booked: Booked, exact: Sequence[Line]) -> list[Line]:
    """What is to be added to each line, and taken from those that were wrong."""
    left = dict(booked.lines)
    changes: list[Line] = []
    for meter, quantity, price, price_pico, cost, at_list in exact:
        known = left.pop((meter, price, price_pico), (0, 0, 0))
        change = (quantity - known[0], cost - known[1], at_list - known[2])
        if any(change):
            changes.append((meter, change[0], price, price_pico, change[1], change[2]))
    for (meter, price, price_pico), (quantity, cost, at_list) in left.items():
        if quantity or cost or at_list:
            changes.append((meter, -quantity, price, price_pico, -cost, -at_list))
    return changes


def _facts(booked: Booked) -> CallFacts:
    row = booked.row
    return CallFacts(
        attempt=row.attempt,
        call=row.call,
        key=row.key,
        account=row.account,
        end_user=row.end_user,
        tags=msgspec.json.decode(row.tags, type=dict[str, str]),
        provider=row.provider,
        upstream=row.upstream,
        model=row.model,
        format=row.format,
        streamed=row.streamed,
        admitted_at_us=row.admitted_at if row.late_for is None else row.late_for,
        hold_nano=0,
        usage={},
        charge_nano=0,
        tokens=0,
        service_tier=row.service_tier or "",
    )
