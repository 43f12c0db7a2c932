"""What was served without a price: models, meters and service tiers that nobody has priced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Select, and_, select
from sqlalchemy import Row as SqlRow

from gateway.domain.costing import UNPRICED
from gateway.domain.prices import UNPRICED_TIER
from gateway.reports.base import PERIOD, Column, Query, Report, Row, Visible
from gateway.reports.wanted import CALLS, selection_of
from gateway.store.reading import stream
from gateway.store.tables import ledger

__all__ = ["REPORT"]

# How the ledger flags a call of a model that nobody has priced at all.
UNPRICED_MODEL: Final = "unpriced"

_FLAGS: Final = msgspec.json.Decoder(list[str])
_USAGE: Final = msgspec.json.Decoder(dict[str, int])

COLUMNS: Final = (
    Column("provider", "text"),
    Column("model", "text"),
    Column("missing", "text"),
    Column("calls", "integer", is_summed=True),
    Column("quantity", "integer", is_summed=True),
    Column("charged", "money", is_summed=True),
    Column("currency", "currency"),
    Column("first_at", "instant"),
    Column("last_at", "instant"),
)


@dataclass(slots=True)
class _Gap:
    """One thing without a price, and the calls that met it."""

    first_us: int
    last_us: int
    calls: int = 0
    quantity: int = 0
    charged: int = 0

    def add(self, row: SqlRow[Any], quantity: int, charged: int) -> None:
        self.calls += row.kind == "call" and row.outcome != "void"
        self.quantity += quantity
        self.charged += charged
        self.first_us = min(self.first_us, row.admitted_at)
        self.last_us = max(self.last_us, row.admitted_at)


def _columns(query: Query) -> tuple[Column, ...]:
    return COLUMNS


def _rows(conn: Connection, query: Query, visible: Visible) -> Iterator[Row]:
    """There are as many rows as models and meters without a price, so they fit in memory."""
    gaps: dict[tuple[str, str, str], _Gap] = {}
    for row in stream(conn, _statement(query, visible)):
        for missing, quantity, charged in _missing(row):
            key = (row.provider, row.model, missing)
            gap = gaps.setdefault(key, _Gap(row.admitted_at, row.admitted_at))
            gap.add(row, quantity, charged)
    for key, gap in sorted(gaps.items()):
        yield (*key, gap.calls, gap.quantity, gap.charged, query.currency, gap.first_us, gap.last_us)


def _missing(row: SqlRow[Any]) -> Iterator[tuple[str, int, int]]:
    """What had no price, its units, and what was charged all the same (a ceiling, the standard tier)."""
    flags = _FLAGS.decode(row.flags)
    usage = _USAGE.decode(row.usage)
    everything = sum(quantity for meter, quantity in usage.items() if meter != CALLS)
    if UNPRICED_MODEL in flags:
        yield "model", everything, row.charge
        return
    if UNPRICED_TIER in flags:
        yield "service_tier", everything, row.charge
    for flag in flags:
        if flag.startswith(UNPRICED):
            meter = flag.removeprefix(UNPRICED)
            yield meter, usage.get(meter, 0), 0


def _statement(query: Query, visible: Visible) -> Select[Any]:
    columns = ledger.c
    period = and_(columns.admitted_at >= query.start_us, columns.admitted_at < query.end_us)
    flagged = columns.flags.contains(f'"{UNPRICED_MODEL}', autoescape=True)
    wanted = (columns.provider, columns.model, columns.kind, columns.outcome, columns.admitted_at)
    figures = (columns.usage, columns.flags, columns.charge)
    mine = selection_of(query, visible).condition(columns)
    return select(*wanted, *figures).where(period, flagged, mine)


REPORT = Report(
    name="unpriced",
    title="Unpriced",
    sentence="Models, meters and service tiers that were used and that nobody has priced.",
    parameters=PERIOD | {"account", "key", "model", "provider"},
    columns=_columns,
    rows=_rows,
)
