"""Eight processes with 64 callers each on one cap: no overspend, no money left lying, every call once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contention.fleet import Book, Member, fleet
from tests.contention.worker import Order, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("contention")]

WORKERS = 8
CALLERS = 64
CALLS = 10_000
DOLLAR = 1_000_000_000
QUOTE = 250_000


@contextmanager
def watched(book: Book) -> Iterator[list[int]]:
    """Look at the window again and again; the highest spent + leased that was seen comes last."""
    is_over = threading.Event()
    seen: list[int] = []

    def look() -> None:
        while not is_over.wait(0.02):
            figures = book.figures()
            if figures is not None:
                seen.append(figures.spent + figures.leased)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def call(members: Sequence[Member], orders: Sequence[Order]) -> list[Outcome]:
    """All at once; what came of it."""
    for member, order in zip(members, orders, strict=True):
        member.order(order)
    return [member.outcome() for member in members]


def audit(book: Book, outcomes: Sequence[Outcome]) -> int:
    """Every settled call is in the ledger once, as it was settled, and every sum is the same; the sum."""
    settled = {attempt: charge for each in outcomes for attempt, charge in each.settled.items()}
    assert dict(book.rows("SELECT id, charge FROM ledger")) == settled
    assert len(settled) == sum(len(each.settled) for each in outcomes)
    total = sum(settled.values())
    figures = book.figures()
    assert figures is not None
    assert (figures.spent, figures.leased, figures.overrun) == (total, 0, 0)
    assert book.number("SELECT SUM(cost) FROM rollups") == total
    assert book.number("SELECT COUNT(*) FROM leases") == 0
    assert book.rows("SELECT DISTINCT state FROM journals") == [("finished",)]
    return total


def test_ten_thousand_calls_against_one_dollar(migrated_database: str, tmp_path: Path) -> None:
    book = Book(migrated_database)
    budget = book.budget(DOLLAR)
    orders = [Order(CALLS // WORKERS, CALLERS, QUOTE, (QUOTE // 2, QUOTE), seed) for seed in range(WORKERS)]
    with fleet(migrated_database, tmp_path / "data", budget, WORKERS) as members:
        with watched(book) as seen:
            outcomes = call(members, orders)
        assert max(seen) <= DOLLAR
        assert all(member.stop() for member in members)
    assert sum(len(each.settled) + each.exceeded for each in outcomes) == CALLS
    assert sum(each.exceeded for each in outcomes) > 0, "the dollar is not enough for all"
    total = audit(book, outcomes)
    # Refused is who does not fit the cap: whoever does is served in the end, wherever the rest is leased.
    assert DOLLAR - QUOTE < total <= DOLLAR


def test_headroom_goes_to_whoever_needs_it(migrated_database: str, tmp_path: Path) -> None:
    """Each worker in turn makes a call that needs all of the cap, while the others have leases they do not
    use: it is served, at once or when they have given back, and nobody is refused."""
    book = Book(migrated_database)
    budget = book.budget(CALLS * QUOTE)
    cap = CALLS * QUOTE
    outcomes: list[Outcome] = []
    with fleet(migrated_database, tmp_path / "data", budget, WORKERS) as members:
        for number, member in enumerate(members):
            outcomes += call(members, [Order(8, 8, QUOTE, (1, 1), number) for _ in members])
            spent = sum(charge for each in outcomes for charge in each.settled.values())
            outcomes += call([member], [Order(1, 1, cap - spent, (1, 1), number)])
        assert all(member.stop() for member in members)
    assert [(each.exceeded, each.held) for each in outcomes] == [(0, 0)] * len(outcomes)
    audit(book, outcomes)
