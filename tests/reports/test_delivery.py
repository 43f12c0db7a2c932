"""Answers are whole or an error, lie on disk when they are big, and pages join."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import repeat

import pytest
from sqlalchemy import Connection

from gateway.domain.errors import NotFound
from gateway.reports import delivery
from gateway.reports.base import PERIOD, Column, Query, Report, Row, Visible
from gateway.reports.delivery import MEMORY_BYTES
from gateway.reports.parameters import parse
from tests.reports.asking import ADMIN, AS_OF_US, NOW_US, REPORTS
from tests.reports.conftest import Book


def complete_until(conn: Connection) -> int:
    return AS_OF_US


def test_an_unknown_report_is_told_which_there_are() -> None:
    with pytest.raises(NotFound) as refusal:
        delivery.find(REPORTS, "spendings")
    assert refusal.value.param == "name"
    assert "spend, unpriced, usage" in refusal.value.hint


def test_what_is_complete_is_asked_before_anything_is_read(book: Book) -> None:
    asked: list[bool] = []

    def first(conn: Connection) -> int:
        asked.append(conn.in_transaction())
        return 0

    query = parse(REPORTS["spend"], [], NOW_US)
    with book.engine.connect() as conn:
        written = delivery.write(conn, REPORTS["spend"], query, ADMIN, first)
        written.file.close()
    assert asked == [False]
    assert written.as_of_us == 0


def test_a_big_answer_lies_on_disk_and_is_read_from_its_beginning(book: Book) -> None:
    row: Row = ("x" * 1000,)
    count = 6 * MEMORY_BYTES // 1000
    report = Report(
        "big", "Big", "Big.", PERIOD, lambda query: (Column("id", "text"),), lambda *_: repeat(row, count)
    )
    query = parse(report, [("format", "csv")], NOW_US)
    tracemalloc.start()
    try:
        with book.engine.connect() as conn:
            written = delivery.write(conn, report, query, ADMIN, complete_until)
        assert tracemalloc.get_traced_memory()[1] < 3 * MEMORY_BYTES
    finally:
        tracemalloc.stop()
    with written.file as file:
        assert written.bytes_ == len("id\r\n") + count * 1002
        assert file.read(6) == b"id\r\nxx"


def test_an_error_in_the_middle_is_an_error(book: Book) -> None:
    def rows(conn: Connection, query: Query, visible: Visible) -> object:
        yield ("a",)
        raise NotFound("not_found", "It went away.", hint="Ask again.")

    report = Report("r", "R", "R.", PERIOD, lambda query: (Column("id", "text"),), rows)  # type: ignore[arg-type]
    with book.engine.connect() as conn, pytest.raises(NotFound):
        delivery.write(conn, report, parse(report, [], NOW_US), ADMIN, complete_until)


def test_pages_join(book: Book) -> None:
    report = REPORTS["calls"]
    query = parse(report, [("start", "2026-10-19"), ("end", "2026-11-09"), ("limit", "1000")], NOW_US)
    found: list[object] = []
    after: str | None = None
    with book.engine.connect() as conn:
        while True:
            page = delivery.page(conn, report, replace(query, after=after), ADMIN, complete_until)
            found += [row[0] for row in page.rows]
            after = page.next_after
            if after is None:
                break
            assert len(page.rows) == 1000
    expected = sorted(book.entries, key=lambda entry: (entry.at_us, entry.id), reverse=True)
    assert found == [entry.id for entry in expected]


def test_a_page_that_takes_the_last_row_is_the_last(book: Book) -> None:
    report = REPORTS["calls"]
    mine = [entry for entry in book.entries if entry.key == "key_a"]
    pairs = [("start", "2026-10-19"), ("end", "2026-11-09"), ("key", "key_a"), ("limit", str(len(mine)))]
    with book.engine.connect() as conn:
        page = delivery.page(conn, report, parse(report, pairs, NOW_US), ADMIN, complete_until)
    assert len(page.rows) == len(mine)
    assert page.next_after is None
