"""What every report there is must keep to: the contract suite over the registry."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from gateway.reports.base import FILTERS, PAGE, PERIOD, SLICES
from gateway.reports.parameters import parse
from tests.reports.asking import NOW_US, REPORTS, ask, ask_json
from tests.reports.book import lay_out

NAMES = sorted(REPORTS)


def test_the_reports_there_are() -> None:
    assert {"spend", "usage", "calls", "budgets", "open_holds", "unpriced"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    report = REPORTS[name]
    assert report.name == name
    assert report.title
    assert report.sentence.endswith(".")
    assert report.parameters <= PERIOD | SLICES | FILTERS | PAGE
    assert ("limit" in report.parameters) == (report.cursor is not None)


@pytest.mark.parametrize("name", NAMES)
def test_its_columns_are_its_own(name: str) -> None:
    report = REPORTS[name]
    columns = report.columns(parse(report, [], NOW_US))
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    assert all(column.kind in ("integer", "money") for column in columns if column.is_summed)
    assert report.cursor is None or report.cursor in names


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_ledger_is_an_empty_report(migrated_engine: Engine, name: str) -> None:
    with migrated_engine.begin() as conn:
        lay_out(conn)
    answer = ask_json(migrated_engine, name, {})
    assert answer["report"] == name
    assert answer["rows"] == []
    assert answer["as_of"] == "2026-11-08T10:07:30Z"
    header = ask(migrated_engine, name, {"format": "csv"}).decode()
    assert header == ",".join(answer["columns"]) + "\r\n"
