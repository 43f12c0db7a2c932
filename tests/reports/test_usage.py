"""Usage: a column for each meter there is, and none that falls through."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, update

from gateway.domain.usage import METERS
from gateway.reports.usage import METER_COLUMNS, by_column
from gateway.store.tables import rollups
from tests.reports.asking import ask_json
from tests.reports.book import posted_book
from tests.reports.test_spend import CALL, NOVEMBER


def test_every_meter_has_a_column(migrated_engine: Engine) -> None:
    posted_book(migrated_engine, [CALL])
    answer = ask_json(migrated_engine, "usage", {**NOVEMBER, "group_by": "key"})
    assert answer["columns"] == ["bucket_start", "key", "calls", *METER_COLUMNS]
    assert {*METER_COLUMNS, "requests"} == set(METERS)
    (row,) = answer["rows"]
    assert {name: value for name, value in row.items() if value} == {
        "bucket_start": "2026-11-01T00:00:00Z",
        "key": "key_b",
        "calls": 1,
        "input": 1000,
        "output": 10,
    }
    assert answer["total"] == {name: row[name] for name in ("calls", *METER_COLUMNS)}


def test_by_meter_there_is_one_quantity(migrated_engine: Engine) -> None:
    posted_book(migrated_engine, [CALL])
    answer = ask_json(migrated_engine, "usage", {**NOVEMBER, "group_by": "meter"})
    assert answer["columns"] == ["bucket_start", "meter", "quantity"]
    shown = {row["meter"]: row["quantity"] for row in answer["rows"]}
    assert shown == {"input": 1000, "output": 10, "requests": 1}


def test_a_meter_without_a_column_is_a_bug_that_shows(migrated_engine: Engine) -> None:
    posted_book(migrated_engine, [CALL])
    with migrated_engine.begin() as conn:
        conn.execute(update(rollups).where(rollups.c.meter == "input").values(meter="smell"))
    with pytest.raises(AssertionError, match="smell"):
        ask_json(migrated_engine, "usage", NOVEMBER)
    assert ask_json(migrated_engine, "usage", {**NOVEMBER, "group_by": "meter"})["total"] == {
        "quantity": 1011
    }


def test_by_column() -> None:
    assert by_column({"requests": 5, "output": 2}) == tuple(2 * (name == "output") for name in METER_COLUMNS)
