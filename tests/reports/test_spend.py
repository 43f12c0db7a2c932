"""Spend: what a row and the total say, beyond the sums that test_sums compares."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from tests.reports.asking import ask_json
from tests.reports.book import Entry, Meter, instant, posted_book

NOVEMBER = {"start": "2026-11-01", "end": "2026-12-01"}
CALL = Entry(
    id="att_1",
    at_us=instant("2026-11-03T12:00:00Z"),
    account="acct_search",
    key="key_b",
    provider="openai",
    model="gpt-4.1",
    end_user=None,
    tags={},
    meters={"input": Meter(1000, 2_000_000, 2_500_000), "output": Meter(10, 80_000, 80_000)},
    request_fee=3,
)


def test_one_call(migrated_engine: Engine) -> None:
    posted_book(migrated_engine, [CALL])
    assert ask_json(migrated_engine, "spend", NOVEMBER) == {
        "report": "spend",
        "columns": ["bucket_start", "calls", "cost", "list_cost", "currency"],
        "rows": [
            {
                "bucket_start": "2026-11-01T00:00:00Z",
                "calls": 1,
                "cost": "0.002080003",
                "list_cost": "0.002580003",
                "currency": "USD",
            }
        ],
        "total": {"calls": 1, "cost": "0.002080003", "list_cost": "0.002580003", "currency": "USD"},
        "as_of": "2026-11-08T10:07:30Z",
    }


def test_by_meter_the_calls_stand_with_the_requests(migrated_engine: Engine) -> None:
    posted_book(migrated_engine, [CALL, replace(CALL, id="att_2", meters={})])
    answer = ask_json(migrated_engine, "spend", {**NOVEMBER, "group_by": "meter"})
    assert [(row["meter"], row["calls"], row["cost"]) for row in answer["rows"]] == [
        ("input", 0, "0.002"),
        ("output", 0, "0.00008"),
        ("requests", 2, "0.000000006"),
    ]
    assert answer["total"]["calls"] == 2


def test_what_left_nothing_is_no_row(migrated_engine: Engine) -> None:
    void = replace(CALL, outcome="void", meters={}, request_fee=0)
    posted_book(migrated_engine, [void])
    for group in ("", "meter", "end_user", "tag:env,end_user"):
        answer = ask_json(migrated_engine, "spend", {**NOVEMBER, "group_by": group})
        assert answer["rows"] == []
        assert answer["total"] == {"calls": 0, "cost": "0", "list_cost": "0", "currency": "USD"}


def test_a_correction_counts_in_the_bucket_of_its_call(migrated_engine: Engine) -> None:
    less = {"input": Meter(-400, -800_000, -1_000_000)}
    correction = replace(CALL, id="corr_1", corrects="att_1", meters=less, request_fee=0)
    posted_book(migrated_engine, [CALL, correction])
    (row,) = ask_json(migrated_engine, "spend", {**NOVEMBER, "bucket": "day"})["rows"]
    assert (row["bucket_start"], row["calls"], row["cost"]) == ("2026-11-03T00:00:00Z", 1, "0.001280003")
