"""CSV says what JSON says, money is exact, and no cell runs as a formula."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reports.base import Column, Query, Report, Row
from gateway.reports.parameters import parse
from gateway.reports.rendering import CsvRendering, JsonRendering, Rendering, file_name, rendering
from tests.reports.asking import AS_OF_US, NOW_US, REPORTS, ask, ask_csv, ask_json, nano
from tests.reports.book import instant
from tests.reports.conftest import Book

COLUMNS = (
    Column("id", "text"),
    Column("count", "integer", is_summed=True),
    Column("cost", "money", is_summed=True),
    Column("hold", "money"),
    Column("left", "decimal"),
    Column("at", "instant"),
    Column("is_on", "flag"),
    Column("tags", "json"),
    Column("currency", "currency"),
)
REPORT = Report(
    "made_up", "Made up", "For this test.", frozenset(), lambda query: COLUMNS, lambda *_: iter(())
)
ROWS: list[Row] = [
    ("a", 1, 1, 10**9, "-2.5", 0, True, '{"env":"prod"}', "USD"),
    ("=b", -3, -2_500_000_000, None, None, None, None, None, "USD"),
    (None, 0, 2**63 - 1, 0, "0", instant("2026-11-01T00:00:00Z"), False, "[]", "USD"),
]


def query(*pairs: tuple[str, str]) -> Query:
    return parse(REPORT, [("format", "json"), *pairs], NOW_US)


def whole(writing: Rendering, rows: list[Row], *, has_more: bool = False) -> bytes:
    return writing.begin() + b"".join(writing.rows(rows)) + writing.end(AS_OF_US, has_more=has_more)


def cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_json() -> None:
    assert whole(JsonRendering(REPORT, query()), ROWS) == (
        b'{"report":"made_up","columns":["id","count","cost","hold","left","at","is_on","tags","currency"],"rows":['
        b'{"id":"a","count":1,"cost":"0.000000001","hold":"1","left":"-2.5","at":"1970-01-01T00:00:00Z",'
        b'"is_on":true,"tags":{"env":"prod"},"currency":"USD"},'
        b'{"id":"=b","count":-3,"cost":"-2.5","hold":null,"left":null,"at":null,'
        b'"is_on":null,"tags":null,"currency":"USD"},'
        b'{"id":null,"count":0,"cost":"9223372036.854775807","hold":"0","left":"0",'
        b'"at":"2026-11-01T00:00:00Z","is_on":false,"tags":[],"currency":"USD"}'
        b'],"total":{"count":-2,"cost":"9223372034.354775808","currency":"USD"},"as_of":"2026-11-08T10:07:30Z"}'
    )


def test_csv() -> None:
    assert whole(CsvRendering(REPORT, query()), ROWS) == (
        b"id,count,cost,hold,left,at,is_on,tags,currency\r\n"
        b'a,1,0.000000001,1,-2.5,1970-01-01T00:00:00Z,true,"{""env"":""prod""}",USD\r\n'
        b"'=b,-3,-2.5,,,,,,USD\r\n"
        b",0,9223372036.854775807,0,0,2026-11-01T00:00:00Z,false,[],USD\r\n"
    )


def test_a_report_without_rows_has_its_total() -> None:
    answer = msgspec.json.decode(whole(JsonRendering(REPORT, query()), []))
    assert answer["rows"] == []
    assert answer["total"] == {"count": 0, "cost": "0", "currency": "USD"}
    assert whole(CsvRendering(REPORT, query()), []).count(b"\r\n") == 1


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "'", "-"])
def test_what_a_spreadsheet_would_run_is_escaped(text: str) -> None:
    row: Row = (text, 0, 0, 0, "0", 0, True, "{}", "USD")
    assert cells(whole(CsvRendering(REPORT, query()), [row]))[1][0] == f"'{text}"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_taking_one_quote_off_gives_every_text_back(text: str) -> None:
    row: Row = (text, 0, 0, 0, "0", 0, True, "{}", "USD")
    cell = cells(whole(CsvRendering(REPORT, query()), [row]))[1][0]
    assert cell.removeprefix("'") == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_instants_are_shown_in_the_zone() -> None:
    report = Report(
        "r", "R", "R.", frozenset({"timezone"}), lambda query: (Column("at", "instant"),), lambda *_: iter(())
    )
    asked = parse(report, [("timezone", "Asia/Kathmandu")], NOW_US)
    rows: list[Row] = [(instant("2026-11-01T00:00:00Z"),), (instant("2026-11-01T00:00:00.5Z"),)]
    assert whole(CsvRendering(report, asked), rows) == (
        b"at\r\n2026-11-01T05:45:00+05:45\r\n2026-11-01T05:45:00.500000+05:45\r\n"
    )


@pytest.mark.parametrize(("has_more", "after"), [(True, "=b"), (False, None)])
def test_a_paged_report_says_how_it_goes_on(has_more: bool, after: str | None) -> None:
    paged = Report("r", "R", "R.", frozenset(), lambda query: COLUMNS, lambda *_: iter(()), cursor="id")
    answer = msgspec.json.decode(whole(JsonRendering(paged, query()), ROWS[:2], has_more=has_more))
    assert (answer["has_more"], answer["next"]) == (has_more, after)


def test_files_are_named_by_report_and_period() -> None:
    asked = parse(
        REPORTS["spend"],
        [("start", "2026-10-01"), ("end", "2026-11-01"), ("timezone", "Asia/Tokyo"), ("format", "csv")],
        NOW_US,
    )
    assert file_name(REPORTS["spend"], asked) == "spend-2026-10-01-2026-11-01.csv"
    now = parse(REPORTS["budgets"], [("format", "csv")], instant("2026-11-08T23:59:59Z"))
    assert file_name(REPORTS["budgets"], now) == "budgets-2026-11-08.csv"
    assert isinstance(rendering(REPORTS["budgets"], now), CsvRendering)


@pytest.mark.parametrize("name", ["spend", "usage", "calls"])
def test_csv_says_what_json_says(book: Book, name: str) -> None:
    asked = {"start": "2026-10-19", "end": "2026-11-09", "timezone": "Europe/Berlin"}
    if name != "calls":
        asked |= {"bucket": "day", "group_by": "account,end_user"}
    else:
        asked["limit"] = "10000"
    answer = ask_json(book.engine, name, asked)
    rows = ask_csv(book.engine, name, asked)
    assert list(rows[0]) == answer["columns"]
    assert [{key: _text(value) for key, value in row.items()} for row in answer["rows"]] == rows
    for column, total in answer["total"].items():
        if isinstance(total, int):
            assert total == sum(int(row[column]) for row in rows)
        elif column != "currency":
            assert nano(total) == sum(nano(row[column]) for row in rows)


def _text(value: object) -> str:
    """A JSON value as the cell it must be."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    text = str(value)
    is_number = text.lstrip("-").replace(".", "").isdigit()
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "'")) and not is_number else text


def test_csv_has_no_total_row(book: Book) -> None:
    data = ask(book.engine, "spend", {"format": "csv", "start": "2026-10-19", "end": "2026-11-09"})
    assert data.count(b"\r\n") == 2
