"""What an auditor may assert about SQL at any instant, whoever died where, and once all is quiet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from gateway.store.sql import run
from tests.model.books import Books, Desk, Key, Window

__all__ = ["Snapshot", "View", "audit", "audit_quiet", "audit_view", "excess", "read_snapshot"]


class Row(NamedTuple):
    """A ledger row."""

    id: str
    kind: str
    journal: str
    seq: int
    admitted_us: int
    outcome: str
    hold: int
    charge: int
    overrun: int
    windows: Sequence[tuple[int, int, int | None]]


class WindowRow(NamedTuple):
    """A window's row."""

    id: int
    budget: str
    subject: str
    starts_us: int
    ends_us: int | None
    cap: int
    spent: int
    leased: int
    overrun: int
    released: int

    @property
    def key(self) -> Key:
        """The window as the books name it."""
        return self.budget, self.subject, self.starts_us

    def covers(self, at_us: int) -> bool:
        """Whether the instant lies in it."""
        return self.starts_us <= at_us and (self.ends_us is None or at_us < self.ends_us)


class Snapshot(NamedTuple):
    """Everything in SQL that the laws are about."""

    windows: Sequence[WindowRow]
    leases: Mapping[tuple[str, int], tuple[int, int]]
    ledger: Sequence[Row]
    quarantine: Collection[tuple[str, int]]
    journals: Mapping[str, tuple[str, int]]
    costs: Mapping[str, int]
    requests: int


class View(NamedTuple):
    """A worker's own figures of a window."""

    lease: int
    held: int
    unposted: int
    returning: int
    is_loose: bool


def read_snapshot(conn: Connection) -> Snapshot:
    """Read it all, in one transaction."""
    windows = run(
        conn,
        "SELECT id, budget, subject, starts_at, ends_at, cap, spent, leased, overrun, released FROM windows",
    ).all()
    leases = run(conn, "SELECT journal, win, amount, held FROM leases").all()
    ledger = run(
        conn,
        "SELECT id, kind, journal, seq, admitted_at, outcome, hold, charge, overrun, windows FROM ledger",
    ).all()
    aside = run(conn, "SELECT journal, seq FROM quarantine").all()
    journals = run(conn, "SELECT id, state, posted FROM journals").all()
    costs = {
        table: int(run(conn, f"SELECT COALESCE(SUM(cost), 0) FROM {table}").scalar_one())
        for table in ("rollups", "end_user_rollups")
    }
    requests = run(conn, "SELECT COALESCE(SUM(quantity), 0) FROM rollups WHERE meter = 'requests'")
    return Snapshot(
        [WindowRow(*row) for row in windows],
        {(row[0], row[1]): (row[2], row[3]) for row in leases},
        [_ledger_row(row) for row in ledger],
        {(row[0], row[1]) for row in aside},
        {row[0]: (row[1], row[2]) for row in journals},
        costs,
        int(requests.scalar_one()),
    )


def _ledger_row(row: Sequence[Any]) -> Row:
    name, kind, journal, seq, admitted_us, outcome, hold, charge, overrun, windows = row
    parts = msgspec.json.decode(windows, type=list[tuple[int, int, int | None]])
    return Row(name, kind, journal, seq, admitted_us, outcome, hold, charge, overrun, parts)


def audit(books: Books, seen: Snapshot, bases: Mapping[Key, int]) -> None:
    """Assert every law that holds at any instant, and take in what the books need of SQL."""
    for row in seen.windows:
        _meet(books, row, bases)
    books.leases = {key: amount for key, (amount, _) in seen.leases.items()}
    books.spent = {row.key: row.spent for row in seen.windows}
    _audit_rows(books, seen)
    _audit_windows(books, seen)
    _audit_journals(books, seen)
    total = sum(row.charge for row in seen.ledger)
    assert dict(seen.costs) == dict.fromkeys(seen.costs, total), "sums by the quarter hour are the ledger's"
    calls = sum(row.kind == "call" and row.outcome != "void" for row in seen.ledger)
    assert seen.requests == calls, "a call counts one request, a void one none"


def _meet(books: Books, row: WindowRow, bases: Mapping[Key, int]) -> None:
    """A window that is new began under its budget's cap, with what its scope had spent."""
    if row.key not in books.windows:
        rule, base = books.rules[row.budget], bases[row.key]
        assert row.cap == rule.cap, f"a window of {rule} began with the cap {row.cap}"
        books.windows[row.key] = Window(rule, row.id, row.cap, base, max(0, base - row.cap))


def _audit_rows(books: Books, seen: Snapshot) -> None:
    """Each row is a call that has ended, as it ended; each call that is said to be posted has one row."""
    in_book = Counter(row.id for row in seen.ledger)
    assert not [each for each, times in in_book.items() if times > 1]
    windows = {row.id: row for row in seen.windows}
    for row in seen.ledger:
        call = books.calls[row.id]
        assert not call.is_gone or call.in_book, f"{row} of a call whose record is lost"
        end = call.settled(books.desks[call.journal].is_alive)
        assert end is not None, f"in the book while it runs: {call}"
        assert (row.journal, row.outcome, row.charge) == (call.journal, end.outcome, end.charge), (row, call)
        assert row.admitted_us == call.admitted_us
        booked = [(windows[window].key, amount, held) for window, amount, held in row.windows]
        expected = [(part.window, amount, part.held) for part, amount in call.amounts(end)]
        assert booked == expected, f"booked where and as it was held: {row}, {call}"
        for window, _, _ in row.windows:
            assert windows[window].covers(row.admitted_us), f"{row} is not of {windows[window]}"
        call.in_book = True
    for call in books.calls.values():
        posted = seen.journals[call.journal][1]
        if call.end is not None and call.end.seq <= posted and not call.is_gone:
            is_aside = (call.journal, call.end.seq) in seen.quarantine
            assert (call.attempt in in_book) != is_aside, f"posted up to {posted}, and once: {call}"
            assert is_aside <= call.is_poison, f"set aside without a fault: {call}"
            call.in_book = True


def _audit_windows(books: Books, seen: Snapshot) -> None:
    spent: dict[Key, int] = defaultdict(int)
    overrun: dict[Key, int] = defaultdict(int)
    loose: dict[Key, int] = defaultdict(int)
    for call in books.calls.values():
        end = call.settled(is_alive=not call.in_book)
        if call.in_book and end is not None:
            for part, amount in call.amounts(end):
                spent[part.window] += amount
                overrun[part.window] += 0 if part.held is None else max(0, amount - part.held)
                loose[part.window] += amount if part.is_loose else 0
    for row in seen.windows:
        known = books.windows[row.key]
        leased = sum(amount for (_, window), (amount, _) in seen.leases.items() if window == row.id)
        assert row.leased == leased, f"leased is the sum of leases, {leased}: {row}"
        assert row.spent == known.base + spent[row.key], f"{spent[row.key]} was spent over {known}: {row}"
        assert (row.cap, row.released) == (known.cap, known.released), (row, known)
        beyond = row.overrun - overrun[row.key]
        assert 0 <= beyond <= loose[row.key], f"an overrun of {overrun[row.key]}: {row}"
        if known.rule.is_hard:
            above = row.spent + row.leased - row.cap - row.overrun - row.released
            assert above <= known.excess, f"{above} above the bound: {row}, {known}"
            known.excess = min(known.excess, excess(books, row))


def excess(books: Books, row: WindowRow) -> int:
    """How far the window may come to lie above its bound by what is leased and held."""
    return max(0, books.exposure(row.key) - row.overrun - row.released - books.windows[row.key].cap)


def _audit_journals(books: Books, seen: Snapshot) -> None:
    for journal, (state, posted) in seen.journals.items():
        if state == "live":
            continue
        assert not [key for key in seen.leases if key[0] == journal], f"{journal} is finished and has leases"
        for call in books.calls.values():
            if call.journal == journal and not call.is_gone:
                assert call.in_book, f"{journal} is finished at {posted}, and {call} is not in the book"


def audit_view(books: Books, desk: Desk, views: Mapping[Key, View]) -> None:
    """Assert that a worker's own figures are those that follow from what it did and heard."""
    for key, window in books.windows.items():
        held, unposted = books.held(desk.journal, key), books.unposted(desk.journal, key)
        view = views.get(key)
        if view is None:
            assert (held, unposted) == (0, 0), f"{desk} has forgotten {held}, {unposted} in {window}"
            continue
        due = (held, unposted)
        assert (view.held, view.unposted) == due, f"{view}, not {due}, of {window}, {desk}"
        if view.is_loose:
            continue
        lease, returning = desk.lease.get(window.row, 0), desk.returning.get(window.row, 0)
        assert (view.lease, view.returning) == (lease, returning), f"{view} of {window}, {desk}"
        if window.rule.is_hard:
            debt = books.overrun(desk.journal, key) + desk.released[key]
            assert held + unposted + returning <= lease + debt, f"held without cover: {view} of {window}"


def audit_quiet(books: Books, seen: Snapshot) -> None:
    """Assert what holds once nothing runs and everybody dead is adopted."""
    assert not [row for row in seen.windows if row.leased], "nothing is leased while nobody needs it"
    assert sum(held for _, held in seen.leases.values()) == 0
    in_book = {row.id for row in seen.ledger}
    for call in books.calls.values():
        if not call.is_gone:
            assert call.in_book, f"settled and not in the book: {call}"
            assert call.is_poison or call.attempt in in_book
