"""From journal to ledger: rows, sums, windows and leases of a batch, in one transaction.

Locks are taken in one order by everybody: journal, ledger, sums, windows, leases; ascending keys inside each.
Unsorted posting deadlocked in 704 of 900 runs, sorted in none. Windows come late because they are hot.
Settling is never conditional: what was spent is booked, whether or not it fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from gateway.store.alerts import Movement, note_movements
from gateway.store.belongings import Belonging, keep
from gateway.store.grants import burn
from gateway.store.periods import in_open_months
from gateway.store.sql import insert_all, many, placeholders, run
from gateway.store.tables import end_user_rollups, ledger, rollups, tag_rollups

__all__ = ["LEDGER_COLUMNS", "Batch", "Charge", "Moved", "Standing", "post", "posted_attempts"]

LEDGER_COLUMNS: Final = tuple(column.name for column in ledger.columns)
_SUM_COLUMNS: Final = ("quantity", "cost", "list_cost")


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({placeholders(len(columns))})"


def _add(table: str, columns: Sequence[str]) -> str:
    keys = [name for name in columns if name not in _SUM_COLUMNS]
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in _SUM_COLUMNS)
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"


_ADD_SUMS: Final[Mapping[str, str]] = {
    table.name: _add(table.name, [column.name for column in table.columns])
    for table in (rollups, end_user_rollups, tag_rollups)
}


class Charge(NamedTuple):
    """What a batch charges one window.

    `leased` of the amount was held against a lease and `overrun` against nothing; `unleased` was held in a
    window that could not be leased, because the database was away when it began. `settled` is the part that
    calls in flight come to; corrections are the rest.
    """

    amount: int
    overrun: int
    leased: int
    unleased: int
    settled: int


class Batch(NamedTuple):
    """What the records up to `last_seq` write. `belongings` are what the attempts left at their providers.

    `rows` are in the order of LEDGER_COLUMNS. `sums` has, by table, rows of key and quantity, cost, list
    cost, in ascending order. `quarantined` are records set aside: (seq, record, amounts as JSON, error).
    """

    last_seq: int
    rows: Sequence[tuple[Any, ...]]
    sums: Mapping[str, Sequence[tuple[Any, ...]]]
    charges: Mapping[int, Charge]
    quarantined: Sequence[tuple[int, bytes, str, str]]
    belongings: Sequence[Belonging] = ()


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
    conn: Connection, journal: str, batch: Batch, standings: Mapping[int, Standing], now_us: int
) -> dict[int, Moved]:
    """Book a batch; `begin` has moved the serial. Returns what moved, by window.

    `k = min(lease, charge)` takes the lease to 0 and never below; the rest goes to `spent` alone.
    """
    run(conn, "UPDATE journals SET posted = ? WHERE id = ?", (batch.last_seq, journal))
    rows, sums = in_open_months(conn, batch.rows, batch.sums, now_us)
    insert_all(conn, "ledger", LEDGER_COLUMNS, rows)
    keep(conn, batch.belongings)
    for table, statement in _ADD_SUMS.items():
        many(conn, statement, sums[table])
    moved = {}
    for window in sorted(batch.charges):
        standing = standings.get(window, Standing(0, 0))
        outcome = _move_window(conn, window, batch.charges[window], standing)
        if outcome is not None:
            moved[window] = outcome
    for window in _pools(conn, moved):
        burn(conn, window, max(0, moved[window].charged))
    _shrink_leases(conn, journal, moved, standings)
    many(
        conn,
        "INSERT INTO quarantine (journal, seq, record, amounts, error, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        [(journal, *each, now_us) for each in batch.quarantined],
    )
    _note(conn, moved, batch.charges, now_us)
    return moved


def _move_window(conn: Connection, window: int, charge: Charge, standing: Standing) -> Moved | None:
    shrunk = min(standing.lease, max(0, charge.leased))
    row = run(
        conn,
        "UPDATE windows SET spent = spent + ?, leased = leased - ?, overrun = overrun + ? WHERE id = ?"
        " RETURNING cap, spent, leased, overrun, released",
        (charge.amount, shrunk, charge.overrun, window),
    ).one_or_none()
    if row is None:
        return None
    cap, spent, leased, overrun, released = row
    beyond = min(charge.unleased, spent + leased - cap - overrun - released)
    if beyond > 0:
        # Workers that were cut off went on with their last shares; where those were too much, it shows.
        run(conn, "UPDATE windows SET overrun = overrun + ? WHERE id = ?", (beyond, window))
        overrun += beyond
    held = max(0, standing.in_flight - charge.settled)
    return Moved(charge.amount, shrunk, held, cap, spent, leased, overrun)


def _shrink_leases(
    conn: Connection, journal: str, moved: Mapping[int, Moved], standings: Mapping[int, Standing]
) -> None:
    ours = sorted(moved.keys() & standings.keys())
    many(
        conn,
        "UPDATE leases SET amount = amount - ?, held = ? WHERE journal = ? AND win = ?",
        [(moved[window].shrunk, moved[window].held, journal, window) for window in ours],
    )
    used_up = [
        window
        for window in ours
        if moved[window].shrunk == standings[window].lease and not moved[window].held
    ]
    many(
        conn,
        "DELETE FROM leases WHERE journal = ? AND win = ? AND amount = 0",
        [(journal, window) for window in used_up],
    )


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


def _note(conn: Connection, moved: Mapping[int, Moved], charges: Mapping[int, Charge], now_us: int) -> None:
    movements = [
        Movement(window, each.spent - each.charged, each.spent, each.cap, charges[window].overrun)
        for window, each in moved.items()
    ]
    note_movements(conn, movements, now_us)


def posted_attempts(conn: Connection, attempts: Sequence[str]) -> set[str]:
    """Which of these attempts the ledger has already (a database restored beside a journal that was not)."""
    if not attempts:
        return set()
    found = run(conn, f"SELECT id FROM ledger WHERE id IN ({placeholders(len(attempts))})", tuple(attempts))
    return {row[0] for row in found}
