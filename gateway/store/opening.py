"""What a new budget's scope has already spent in the running window, from the sums or from the book.

The sums keep no end user beside a tag, and no two tags together: a budget that needs such a pair is counted
from the ledger's rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from gateway.domain.budgets import Budget, amount
from gateway.domain.scopes import Scope, applies, subject
from gateway.domain.usage import INPUT_METERS, OUTPUT_METERS
from gateway.store.accounts import account_chains
from gateway.store.budgets import budget_of_row
from gateway.store.sql import run
from gateway.store.tables import budgets

__all__ = ["spent_before"]

_TOKEN_METERS = frozenset((*INPUT_METERS, *OUTPUT_METERS))
_FAR_US = 1 << 62


class _Used(NamedTuple):
    """One group of the sums, or one row of the book."""

    scope: Scope
    cost_nano: int
    tokens: int
    requests: int


def spent_before(conn: Connection, budget: str, whose: str, start_us: int, end_us: int | None) -> int:
    """What calls admitted in the window cost so far that this budget and subject would have counted."""
    row = conn.execute(select(budgets).where(budgets.c.id == budget)).one()
    rule = budget_of_row(row)
    total = 0
    for used in _used(conn, rule, start_us, _FAR_US if end_us is None else end_us):
        if applies(rule, used.scope) and subject(rule, used.scope) == whose:
            total += _amount(rule, used)
    return total


def _amount(rule: Budget, used: _Used) -> int:
    if rule.unit == "requests":
        return used.requests
    return amount(rule.unit, used.cost_nano, used.tokens)


def _used(conn: Connection, rule: Budget, start_us: int, end_us: int) -> Iterator[_Used]:
    chains = account_chains(conn)
    names = rule.end_user is not None or bool(rule.tags) or rule.each not in (None, "key")
    rows = _ledger(conn, start_us, end_us) if names or rule.is_rate else _sums(conn, start_us, end_us)
    for account, key, provider, model, end_user, tags, cost, tokens, requests in rows:
        scope = Scope(key, chains.get(account, (account,)), provider, model, end_user, tags)
        yield _Used(scope, cost, tokens, requests)


def _sums(conn: Connection, start_us: int, end_us: int) -> Iterator[tuple[Any, ...]]:
    rows = run(
        conn,
        "SELECT account, key, provider, model, meter, SUM(quantity), SUM(cost) FROM rollups"
        " WHERE slot >= ? AND slot < ? GROUP BY account, key, provider, model, meter",
        (start_us, end_us),
    )
    for account, key, provider, model, meter, quantity, cost in rows:
        tokens = int(quantity) if meter in _TOKEN_METERS else 0
        requests = int(quantity) if meter == "requests" else 0
        yield account, key, provider, model, None, {}, int(cost), tokens, requests


def _ledger(conn: Connection, start_us: int, end_us: int) -> Iterator[tuple[Any, ...]]:
    rows = run(
        conn,
        "SELECT account, key, provider, model, end_user, tags, charge, usage, outcome, kind FROM ledger"
        " WHERE admitted_at >= ? AND admitted_at < ?",
        (start_us, end_us),
    )
    for account, key, provider, model, end_user, tags, charge, usage, outcome, kind in rows:
        meters: Mapping[str, int] = msgspec.json.decode(usage)
        tokens = sum(quantity for meter, quantity in meters.items() if meter in _TOKEN_METERS)
        requests = int(kind == "call" and outcome != "void")
        yield account, key, provider, model, end_user, msgspec.json.decode(tags), charge, tokens, requests
