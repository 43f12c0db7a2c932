"""Sums straight from the ledger: for parts of a quarter hour, and for groups that no sum is kept of.

Slower than the quarter-hour sums by the number of calls, and the same to the last nano-USD: this file
states the law by which an entry is divided among meters.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Select, and_, func, select

from gateway.domain.errors import BadRequest
from gateway.reports.wanted import CALLS, MEASURES, TAG, SumRow, Wanted
from gateway.store.reading import path_of, stream, with_path
from gateway.store.tables import ledger

__all__ = ["Parts", "parts", "read"]

# Rows of one report that are summed up in memory. A finer question is one for the side tables, or several.
MOST_ROWS: Final = 200_000

_USAGE: Final = msgspec.json.Decoder(dict[str, int])
_TAGS: Final = msgspec.json.Decoder(dict[str, str])
# meter, quantity, price id, price_pico, cost_nano, list_nano
_LINES: Final = msgspec.json.Decoder(list[tuple[str, int, str | None, int, int, int]])

_Key = tuple[int, tuple[str, ...], str]  # bucket, group, meter
Parts = dict[str, list[int]]
"""By meter: an amount for each of MEASURES."""


def parts(entry: Any) -> Parts:
    """What one row of the ledger adds to the sums of each meter; the same that posting added.

    Units come from the usage, money from the lines, and charge that no line explains counts as the meter
    `requests`. A call is one of that meter, whatever its usage says; a void attempt is none, and neither is
    a correction, whose figures are differences.
    """
    called = int(entry.kind == "call" and entry.outcome != "void")
    found: Parts = {meter: [0, quantity, 0, 0] for meter, quantity in _USAGE.decode(entry.usage).items()}
    requests = found[CALLS] = [called, called, entry.charge, entry.list_charge]
    for meter, _, _, _, cost, list_cost in _LINES.decode(entry.lines):
        part = found.setdefault(meter, [0, 0, 0, 0])
        part[2] += cost
        part[3] += list_cost
        requests[2] -= cost
        requests[3] -= list_cost
    return found


def read(
    conn: Connection,
    wanted: Wanted,
    edges_us: tuple[int, ...],
    start_us: int,
    end_us: int,
    *,
    most_rows: int = MOST_ROWS,
) -> list[SumRow]:
    """Sums of the entries admitted in `[start_us, end_us)`, ordered as `rollups.read` orders them.

    BadRequest when there are more than `most_rows`.
    """
    sums: dict[_Key, list[int]] = {}
    wants_tags = any(name.startswith(TAG) for name in wanted.named)
    statement = _statement(wanted, start_us, end_us)
    for row in stream(conn, statement):
        dimensions = _dimensions(row, wants_tags, wanted.by_id)
        if any(dimensions.get(name, "") != value for name, value in wanted.names.items()):
            continue
        bucket = bisect_right(edges_us, row.admitted_at) - 1
        for meter, figures in parts(row).items():
            dimensions["meter"] = meter
            group = tuple([dimensions.get(name, "") for name in wanted.groups])
            _add(sums, (bucket, group, meter if wanted.by_meter else ""), figures)
        if len(sums) > most_rows:
            raise _too_many(most_rows)
    shown = [MEASURES.index(measure) for measure in wanted.measures]
    return [SumRow(*key, tuple([sums[key][index] for index in shown])) for key in sorted(sums)]


def _add(sums: dict[_Key, list[int]], key: _Key, figures: list[int]) -> None:
    known = sums.get(key)
    if known is None:
        sums[key] = list(figures)
    else:
        for index, figure in enumerate(figures):
            known[index] += figure


def _dimensions(row: Row[Any], wants_tags: bool, by_id: bool) -> dict[str, str]:
    account = row.account if by_id else row.path
    found = {"account": account, "key": row.key, "provider": row.provider, "model": row.model}
    found["end_user"] = row.end_user or ""
    if wants_tags:
        found |= {TAG + name: value for name, value in _TAGS.decode(row.tags).items()}
    return found


def _statement(wanted: Wanted, start_us: int, end_us: int) -> Select[Any]:
    columns = ledger.c
    tests = and_(columns.admitted_at >= start_us, columns.admitted_at < end_us)
    if "end_user" in wanted.names:
        tests &= func.coalesce(columns.end_user, "") == wanted.names["end_user"]
    kinds = (columns.admitted_at, columns.kind, columns.outcome)
    figures = (columns.usage, columns.lines, columns.charge, columns.list_charge)
    names = (columns.account, columns.key, columns.provider, columns.model, columns.end_user, columns.tags)
    shown = select(*kinds, *figures, *names, path_of(columns.account).label("path"))
    joined = shown.select_from(with_path(ledger, columns.account))
    return joined.where(tests, wanted.selection.condition(columns))


def _too_many(most_rows: int) -> BadRequest:
    return BadRequest(
        "invalid_value",
        f"The report would have more than {most_rows:,} rows.",
        hint="Ask for a shorter period or fewer groups, or for one end user or tag at a time.",
        param="group_by",
    )
