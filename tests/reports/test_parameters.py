"""Bad questions are refused by name before anything is read; good ones get their defaults."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.reports.base import Query
from gateway.reports.parameters import parse
from tests.reports.asking import NOW_US, REPORTS
from tests.reports.book import instant

Pairs = Sequence[tuple[str, str]]


def question(report: str, *pairs: tuple[str, str], now_us: int = NOW_US) -> Query:
    return parse(REPORTS[report], pairs, now_us)


REFUSED: dict[str, tuple[str, Pairs, str, str]] = {
    "unknown parameter": ("spend", [("group", "model")], "group", "no parameter 'group'"),
    "unknown parameter, the ones there are": ("spend", [("foo", "1")], "foo", "no parameter"),
    "limit where nothing is paged": ("spend", [("limit", "5")], "limit", "no parameter"),
    "bucket where nothing is bucketed": ("budgets", [("bucket", "day")], "bucket", "no parameter"),
    "a tag without a name": ("spend", [("tag:", "x")], "tag:", "no parameter"),
    "a filter by meter": ("usage", [("meter", "input")], "meter", "no parameter"),
    "twice": ("spend", [("bucket", "day"), ("bucket", "day")], "bucket", "given twice"),
    "unknown group": ("spend", [("group_by", "model,team")], "group_by", "'team' is no group"),
    "nothing between commas": ("spend", [("group_by", "model,,key")], "group_by", "'' is no group"),
    "a tag group without a name": ("spend", [("group_by", "tag:")], "group_by", "'tag:' is no group"),
    "a group twice": ("spend", [("group_by", "model,key,model")], "group_by", "repeats a group"),
    "SQL for a group": ("spend", [("group_by", "model;DROP TABLE ledger")], "group_by", "is no group"),
    "too many groups": ("spend", [("group_by", ",".join(f"tag:t{n}" for n in range(9)))], "group_by", "more"),
    "unknown bucket": ("spend", [("bucket", "fortnight")], "bucket", "'fortnight' is no bucket"),
    "an empty bucket": ("spend", [("bucket", "")], "bucket", "is no bucket"),
    "a million buckets": (
        "spend",
        [("bucket", "hour"), ("start", "1980-01-01"), ("end", "2094-01-29")],
        "bucket",
        "10000 buckets",
    ),
    "unknown zone": ("spend", [("timezone", "Europe/Berlln")], "timezone", "no time zone"),
    "a path for a zone": ("spend", [("timezone", "../../etc/passwd")], "timezone", "no time zone"),
    "an empty zone": ("spend", [("timezone", "")], "timezone", "no time zone"),
    "end before start": ("spend", [("start", "2026-11-02"), ("end", "2026-11-01")], "end", "not before"),
    "end at start": ("spend", [("start", "2026-11-01"), ("end", "2026-11-01")], "end", "not before"),
    "start after now": ("spend", [("start", "2026-12-01")], "start", "not before now"),
    "no instant": ("spend", [("start", "yesterday")], "start", "neither a date nor an instant"),
    "no offset": ("spend", [("start", "2026-11-01T00:00:00")], "start", "neither"),
    "an unescaped plus": ("spend", [("end", "2026-11-01T00:00:00 01:00")], "end", "neither"),
    "a week date": ("spend", [("start", "2026-W44-1")], "start", "neither"),
    "other digits": ("spend", [("start", "２０２６-11-01")], "start", "neither"),
    "an empty start": ("spend", [("start", "")], "start", "neither"),
    "no such day": ("spend", [("start", "2026-02-30")], "start", "does not exist"),
    "no such hour": ("spend", [("start", "2026-02-01T25:00:00Z")], "start", "does not exist"),
    "a leap second": ("spend", [("end", "2016-12-31T23:59:60Z")], "end", "does not exist"),
    "no such offset": ("spend", [("start", "2026-02-01T00:00:00+25:00")], "start", "does not exist"),
    "the year 0": ("spend", [("start", "0000-01-01")], "start", "out of reach"),
    "the year 9999": ("spend", [("end", "9999-12-31")], "end", "out of reach"),
    "no currency": ("spend", [("currency", "euro")], "currency", "'euro' is no currency"),
    "another format": ("spend", [("format", "xlsx")], "format", "'xlsx' is no format"),
    "no rows": ("calls", [("limit", "0")], "limit", "no number of rows"),
    "too many rows": ("calls", [("limit", "10001")], "limit", "no number of rows"),
    "rows as words": ("calls", [("limit", "ten")], "limit", "no number of rows"),
    "negative rows": ("calls", [("limit", "-1")], "limit", "no number of rows"),
    "a NUL": ("spend", [("model", "gpt\0")], "model", "NUL"),
    "a NUL in a tag's name": ("spend", [("tag:a\0", "b")], "tag:a\0", "NUL"),
    "a novel": ("spend", [("model", "x" * 1001)], "model", "longer than 1000"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_question_is_refused_by_name(case: str) -> None:
    report, pairs, param, message = REFUSED[case]
    with pytest.raises(BadRequest) as refusal:
        question(report, *pairs)
    assert refusal.value.param == param
    assert message in refusal.value.message
    assert refusal.value.hint


def test_an_unknown_parameter_is_told_which_there_are() -> None:
    with pytest.raises(BadRequest) as refusal:
        question("calls", ("bucket", "day"))
    assert refusal.value.code == "unsupported_field"
    assert "limit" in refusal.value.hint
    assert "tag:NAME" in refusal.value.hint


@given(
    name=st.sampled_from(
        (
            "start",
            "end",
            "timezone",
            "bucket",
            "group_by",
            "currency",
            "format",
            "limit",
            "after",
            "tag:x",
            "é",
        )
    ),
    value=st.text(max_size=40),
    report=st.sampled_from(sorted(REPORTS)),
)
def test_any_text_is_a_question_or_a_bad_request(report: str, name: str, value: str) -> None:
    query, refusal = None, None
    try:
        query = question(report, (name, value))
    except BadRequest as error:
        refusal = error
    if query is not None:
        assert query.edges_us[0] <= query.start_us < query.end_us <= query.edges_us[-1]
    else:
        assert refusal is not None
        assert refusal.hint
        assert refusal.param == name


def test_the_default_is_this_month_so_far() -> None:
    query = question("spend")
    assert query.start_us == instant("2026-11-01T00:00:00Z")
    assert query.end_us == instant("2026-11-08T10:15:00Z")
    assert query.edges_us == (query.start_us, query.end_us)
    assert (query.format, query.currency, query.group_by, query.filters) == ("json", "USD", (), {})


def test_this_month_begins_by_the_zone() -> None:
    at_us = instant("2026-10-31T23:30:00Z")
    query = question("spend", ("timezone", "Europe/Berlin"), now_us=at_us)
    assert query.start_us == instant("2026-10-31T23:00:00Z")
    assert question("spend", now_us=at_us).start_us == instant("2026-10-01T00:00:00Z")


def test_an_end_alone_is_the_month_up_to_it() -> None:
    query = question("spend", ("end", "2026-10-01"), ("timezone", "America/New_York"))
    assert query.start_us == instant("2026-09-01T04:00:00Z")
    assert query.end_us == instant("2026-10-01T04:00:00Z")


@pytest.mark.parametrize(
    ("text", "timezone", "expected"),
    [
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00Z"),
        ("2026-10-26", "Europe/Berlin", "2026-10-25T23:00:00Z"),
        ("2026-11-01", "Asia/Kathmandu", "2026-10-31T18:15:00Z"),
        # The clock jumped over midnight: the day began at one.
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
        ("2026-11-01T10:00:00+05:45", "Europe/Berlin", "2026-11-01T04:15:00Z"),
        ("2026-11-01t10:00:00.25z", "Europe/Berlin", "2026-11-01T10:00:00.250000Z"),
    ],
)
def test_dates_are_the_zones_and_instants_their_own(text: str, timezone: str, expected: str) -> None:
    assert question("spend", ("start", text), ("timezone", timezone)).start_us == instant(expected)


def test_buckets_are_whole_and_the_period_is_not() -> None:
    query = question("spend", ("start", "2026-11-03"), ("end", "2026-11-05"), ("bucket", "week"))
    assert query.edges_us == (instant("2026-11-02T00:00:00Z"), instant("2026-11-09T00:00:00Z"))
    assert query.start_us == instant("2026-11-03T00:00:00Z")


def test_ten_thousand_hours_are_allowed() -> None:
    query = question("spend", ("bucket", "hour"), ("start", "2025-10-01"), ("end", "2026-11-01"))
    assert len(query.edges_us) - 1 == 396 * 24


def test_filters_are_names_whatever_they_say() -> None:
    sql = "x' OR 1=1; --"
    query = question("spend", ("model", sql), ("tag:env", ""), ("end_user", "=1+1"))
    assert query.filters == {"model": sql, "tag:env": "", "end_user": "=1+1"}


def test_pages() -> None:
    assert question("calls").limit == 100
    assert question("calls", ("limit", "7")).limit == 7
    assert question("calls", ("format", "csv")).limit is None
    assert question("calls", ("format", "csv"), ("limit", "7")).limit == 7
    assert question("spend").limit is None
