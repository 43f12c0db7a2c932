"""Keeps a worker's page in the auditor's books by what the worker sends and hears."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from gateway.store.journals import Standing
from gateway.store.leases import Granted, Refused
from gateway.store.sql import run
from gateway.store.windows import Opened, Opening
from tests.model.books import Books, Desk, Key
from tests.model.wire import Executed, Sent

__all__ = ["Ears"]

FAR_US = 1 << 62


class Ears:
    """The listener on one worker's wire. `bases` is what each window begins with, noted as it is opened."""

    def __init__(self, books: Books, desk: Desk, bases: dict[Key, int]) -> None:
        self._books = books
        self._desk = desk
        self._bases = bases

    def sent(self, transaction: Sent) -> None:
        """A return is debited before it is sent. The first thing a worker sends names its journal."""
        if transaction.name == "_stand" and transaction.journal:
            self._desk.journal = transaction.journal
        for window, amount in self._returned(transaction):
            self._desk.returning[window] = self._desk.returning.get(window, 0) + amount

    def failed(self, transaction: Sent) -> None:
        """Nothing happened: a return is undone."""
        for window, amount in self._returned(transaction):
            self._desk.returning[window] -= amount

    def heard(self, transaction: Sent, executed: Executed) -> None:
        """What was executed is known now."""
        self._learn(_reported(executed.result), executed.figures)
        if transaction.journal != self._desk.journal:
            return
        if isinstance(executed.result, Standing):
            self._desk.lease = dict(executed.after)
            self._desk.returning.clear()
            self._desk.posted = executed.posted
            return
        for window in executed.before.keys() | executed.after.keys():
            change = executed.after.get(window, 0) - executed.before.get(window, 0)
            self._desk.lease[window] = self._desk.lease.get(window, 0) + change
        self.failed(transaction)  # what has left the lease is no longer on its way
        self._desk.posted = executed.posted

    def looked(self, windows: Sequence[int], figures: Mapping[int, tuple[int, int]]) -> None:
        """A poll read these windows."""
        self._learn(windows, figures)

    def opening(self, conn: Connection, transaction: Sent) -> None:
        """Before a window is made: note what its scope has spent, if the budget was made in it."""
        opening: Opening = transaction.args[0]
        rule = self._books.rules[opening.budget]
        row = "SELECT 1 FROM windows WHERE budget = ? AND subject = ? AND starts_at = ?"
        if run(conn, row, opening[:3]).one_or_none() is not None:
            return
        base = 0
        if opening.starts_at_us <= rule.created_us:
            ends_us = FAR_US if opening.ends_at_us is None else opening.ends_at_us
            whose = opening.subject if rule.each_user else None
            base = _spent(conn, rule.unit, whose, opening.starts_at_us, ends_us)
        self._bases[opening[:3]] = base

    def _learn(self, windows: Iterable[int], figures: Mapping[int, tuple[int, int]]) -> None:
        for window in windows:
            if window in figures:
                self._desk.heard[window] = figures[window]

    def _returned(self, transaction: Sent) -> list[tuple[int, int]]:
        if transaction.name != "give_back" or transaction.journal != self._desk.journal:
            return []
        return [(window, amount) for window, amount, _, _ in transaction.args[1]]


def _reported(result: Any) -> Iterable[int]:
    """The windows whose figures an answer carries."""
    match result:
        case Granted():
            return result.figures.keys()
        case Refused():
            return [shortage.window for shortage in result.shortages]
        case Opened():
            return [result.window]
        case dict():
            return result.keys()
    return []


def _spent(conn: Connection, unit: str, end_user: str | None, starts_us: int, ends_us: int) -> int:
    """What the book says about calls admitted in a window, of one end user or of all."""
    rows = run(
        conn,
        "SELECT charge, usage, outcome, end_user FROM ledger WHERE admitted_at >= ? AND admitted_at < ?",
        (starts_us, ends_us),
    ).all()
    total = 0
    for charge, usage, outcome, whose in rows:
        if end_user in (None, whose):
            tokens = sum(msgspec.json.decode(usage).values())
            requests = int(outcome != "void")
            total += {"usd": charge, "tokens": tokens, "requests": requests, "concurrent": 0}[unit]
    return total
