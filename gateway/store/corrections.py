"""What the book has of an attempt, corrections included: the ground a later figure is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, select

from gateway.domain.budgets import Unit
from gateway.store.sql import placeholders, run
from gateway.store.tables import ledger

__all__ = ["Booked", "booked"]


class Booked(NamedTuple):
    """An attempt's own row, and what it and its corrections come to.

    `usage` by meter; `lines` by (meter, price id, price_pico): quantity, cost, list cost; `windows` by row:
    the budget's unit, the amount, and whether it was held (None as in the ledger: a soft budget).
    """

    row: Row[Any]
    usage: Mapping[str, int]
    lines: Mapping[tuple[str, str, int], tuple[int, int, int]]
    charge: int
    list_charge: int
    requests: int
    windows: Mapping[int, tuple[Unit, int, int | None]]


def booked(conn: Connection, attempt: str) -> Booked | None:
    """The attempt as it stands; None while it is not in the book."""
    own = conn.execute(select(ledger).where(ledger.c.id == attempt)).one_or_none()
    if own is None:
        return None
    entries = select(ledger).where(ledger.c.call == own.call, ledger.c.attempt == attempt)
    rows = conn.execute(entries.order_by(ledger.c.closed_at, ledger.c.seq)).all()
    usage: dict[str, int] = {}
    lines: dict[tuple[str, str, int], tuple[int, int, int]] = {}
    amounts: dict[int, int] = {}
    for row in rows:
        for meter, quantity in msgspec.json.decode(row.usage).items():
            usage[meter] = usage.get(meter, 0) + quantity
        for meter, quantity, price, price_pico, cost, at_list in msgspec.json.decode(row.lines):
            key = (meter, price, price_pico)
            known = lines.get(key, (0, 0, 0))
            lines[key] = (known[0] + quantity, known[1] + cost, known[2] + at_list)
        for window, amount, _ in msgspec.json.decode(row.windows):
            amounts[window] = amounts.get(window, 0) + amount
    holds = {window: hold for window, _, hold in msgspec.json.decode(own.windows)}
    units = _units(conn, list(amounts))
    return Booked(
        own,
        usage,
        lines,
        sum(row.charge for row in rows),
        sum(row.list_charge for row in rows),
        int(rows[-1].outcome != "void"),
        {window: (unit, amounts[window], holds.get(window)) for window, unit in units.items()},
    )


def _units(conn: Connection, windows: Sequence[int]) -> dict[int, Unit]:
    if not windows:
        return {}
    found = run(
        conn,
        "SELECT w.id, b.unit FROM windows w JOIN budgets b ON b.id = w.budget"
        f" WHERE w.id IN ({placeholders(len(windows))})",
        tuple(windows),
    )
    return dict(iter(found))
