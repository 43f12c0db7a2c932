"""Closing months: once, with their totals and a hash; what comes later counts in the next open one.

A transaction that books entries of a past month and one that closes a month exclude each other (`lock`), so
that no entry lands in a month whose totals were taken without it. Triggers (`store.tables.periods`) keep the
rows of a closed month as they are, whoever writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from gateway.domain.errors import Conflict
from gateway.domain.instants import rfc3339
from gateway.domain.money import format_usd
from gateway.domain.months import Month, month_named, month_of, open_from
from gateway.domain.periods import HOUR_US, slot_of
from gateway.store.notices import note_period_closed
from gateway.store.sql import placeholders, run
from gateway.store.tables import ledger

__all__ = [
    "CLOSE_AFTER_US",
    "ClosedMonth",
    "Verdict",
    "close",
    "closed_months",
    "complete_until",
    "in_open_months",
    "verify",
]

# Clocks of several machines differ; none may still admit calls into a month that another one closes.
CLOSE_AFTER_US: Final = HOUR_US

# Any number will do that nothing else in the database takes; these are the letters "TOLM".
_POSTGRES_LOCK: Final = 0x544F4C4D
_COLUMNS: Final = "month, starts_at, ends_at, closed_at, closed_by, entries, charge, list_charge, hash"
_FIRST: Final = b"\0" * 32
_ADMITTED: Final = [column.name for column in ledger.columns].index("admitted_at")
_LATE: Final = [column.name for column in ledger.columns].index("late_for")

_Rows = Sequence[tuple[Any, ...]]


class ClosedMonth(NamedTuple):
    """A closed month with what it came to: entries of the ledger, charges in nano-USD, and their hash."""

    month: str
    starts_at_us: int
    ends_at_us: int
    closed_at_us: int
    closed_by: str
    entries: int
    charge: int
    list_charge: int
    hash: bytes


class Verdict(NamedTuple):
    """Whether a closed month still is what it was when it was closed."""

    month: str
    is_intact: bool
    problem: str


def closed_months(conn: Connection) -> list[ClosedMonth]:
    """Every closed month, the earliest first."""
    return [ClosedMonth(*row) for row in run(conn, f"SELECT {_COLUMNS} FROM periods ORDER BY month")]


def complete_until(conn: Connection, journal: str, at_us: int) -> None:
    """Note that every call of this journal admitted before `at_us` is posted."""
    run(conn, "UPDATE journals SET complete_until = ? WHERE id = ?", (at_us, journal))


def in_open_months(
    conn: Connection, rows: _Rows, sums: Mapping[str, _Rows], now_us: int
) -> tuple[_Rows, Mapping[str, _Rows]]:
    """Ledger rows and sums as they can be booked: what belongs to a closed month goes to the next open one.

    An entry moves to the start of that month, and keeps its own instant in `late_for`. Windows are not
    touched by this: a charge counts in the windows its hold named.
    """
    if all(row[_ADMITTED] >= month_of(now_us).start_us for row in rows):
        return rows, sums
    _lock(conn, shared=True)
    closed = [(each.starts_at_us, each.ends_at_us) for each in closed_months(conn)]
    if not closed:
        return rows, sums
    return [_moved(row, closed) for row in rows], {
        table: sorted((slot_of(open_from(row[0], closed)), *row[1:]) for row in added)
        for table, added in sums.items()
    }


def _moved(row: tuple[Any, ...], closed: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
    at_us = open_from(row[_ADMITTED], closed)
    if at_us == row[_ADMITTED]:
        return row
    cells = list(row)
    cells[_ADMITTED], cells[_LATE] = at_us, row[_ADMITTED]
    return tuple(cells)


def close(conn: Connection, month: Month, actor: str, now_us: int, without: Sequence[str]) -> ClosedMonth:
    """Close a month. Conflict where it is closed, not over, not complete, or after one that is still open.

    `without` are journals that are lost for good, whose entries of the month will never come.
    """
    _lock(conn, shared=False)
    closed = closed_months(conn)
    _check(conn, month, closed, now_us, without)
    before = closed[-1].hash if closed else _FIRST
    totals = _totals(conn, month)
    found = ClosedMonth(
        *month, now_us, actor, totals.entries, totals.charge, totals.list_charge, totals.digest(before, month)
    )
    run(conn, f"INSERT INTO periods ({_COLUMNS}) VALUES ({placeholders(9)})", found)
    note_period_closed(conn, found.month, found.hash.hex(), now_us)
    return found


def _check(
    conn: Connection, month: Month, closed: Sequence[ClosedMonth], now_us: int, without: Sequence[str]
) -> None:
    if any(each.month == month.name for each in closed):
        raise _conflict(f"{month.name} is closed already", "It stays closed; correct it by entries.")
    if closed and month.name < closed[-1].month:
        raise _conflict(f"{closed[-1].month}, which is later, is closed already", "Months close in order.")
    if now_us < month.end_us + CLOSE_AFTER_US:
        raise _conflict(
            f"{month.name} can be closed from {rfc3339(month.end_us + CLOSE_AFTER_US)} on",
            "Wait until then: clocks of other machines may be behind.",
        )
    since_us = closed[-1].ends_at_us if closed else 0
    earliest = run(
        conn,
        "SELECT MIN(admitted_at) FROM ledger WHERE admitted_at >= ? AND admitted_at < ?",
        (since_us, month.start_us),
    ).scalar()
    if earliest is not None:
        raise _conflict(
            f"{month_of(int(earliest)).name} has entries and is open",
            "Close it first: months close in order.",
        )
    _check_complete(conn, month, without)


def _check_complete(conn: Connection, month: Month, without: Sequence[str]) -> None:
    """No worker may have calls of the month in flight, or closed and not posted."""
    rows = run(
        conn,
        "SELECT id, host, complete_until FROM journals"
        " WHERE state = 'live' AND complete_until < ? ORDER BY id",
        (month.end_us,),
    )
    for journal, host, until_us in rows:
        if journal not in without:
            raise _conflict(
                f"Worker {journal} on {host} is complete only up to {rfc3339(until_us)}",
                "Wait for its calls to end and be posted, or start it again if it died; name it in `without`"
                " only if its disk is lost.",
            )


def verify(conn: Connection) -> list[Verdict]:
    """Compare every closed month with the totals and the hash it was closed with."""
    verdicts, before = [], _FIRST
    for known in closed_months(conn):
        month = month_named(known.month)
        totals = _totals(conn, month)
        problem = ""
        if (totals.entries, totals.charge, totals.list_charge) != known[5:8]:
            problem = (
                f"{totals.entries} entries come to {format_usd(totals.charge)} USD,"
                f" not {known.entries} to {format_usd(known.charge)}"
            )
        elif totals.digest(before, month) != known.hash:
            problem = "the sums are not those it was closed with"
        verdicts.append(Verdict(known.month, not problem, problem))
        before = known.hash
    return verdicts


class _Totals(NamedTuple):
    """What a month comes to: of the ledger by account, key, provider and model; of the sums by meter too."""

    entries: int
    charge: int
    list_charge: int
    ledger: list[list[Any]]
    sums: list[list[Any]]

    def digest(self, before: bytes, month: Month) -> bytes:
        """The hash that a month is closed with, over that of the month before it."""
        content = msgspec.json.encode([*month, self.ledger, self.sums])
        return hashlib.sha256(before + content).digest()


def _totals(conn: Connection, month: Month) -> _Totals:
    span = (month.start_us, month.end_us)
    of_ledger = run(
        conn,
        "SELECT account, key, provider, model, COUNT(*), SUM(charge), SUM(list_charge) FROM ledger"
        " WHERE admitted_at >= ? AND admitted_at < ? GROUP BY account, key, provider, model",
        span,
    )
    of_sums = run(
        conn,
        "SELECT account, key, provider, model, meter, SUM(quantity), SUM(cost), SUM(list_cost) FROM rollups"
        " WHERE slot >= ? AND slot < ? GROUP BY account, key, provider, model, meter",
        span,
    )
    # PostgreSQL sums BIGINT into NUMERIC, and orders texts by its language.
    rows = sorted([*row[:4], *map(int, row[4:])] for row in of_ledger)
    sums = sorted([*row[:5], *map(int, row[5:])] for row in of_sums)
    entries, charge, at_list = ([row[index] for row in rows] for index in (4, 5, 6))
    return _Totals(sum(entries), sum(charge), sum(at_list), rows, sums)


def _lock(conn: Connection, *, shared: bool) -> None:
    """On SQLite a transaction that writes is alone anyway."""
    if conn.dialect.name == "postgresql":
        kind = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        run(conn, f"SELECT {kind}(?)", (_POSTGRES_LOCK,))


def _conflict(problem: str, hint: str) -> Conflict:
    return Conflict("conflict", f"{problem}.", hint=hint, param="period")
