"""The ledger row by row: every figure, newest first, page by page."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.domain.errors import BadRequest
from gateway.reports.usage import METER_COLUMNS
from tests.reports.asking import REPORTS, ask_json, nano, us, virtual_key
from tests.reports.book import PATHS, Entry
from tests.reports.conftest import Book

EVERYTHING = {"start": "2026-10-19", "end": "2026-11-09"}


def newest_first(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.at_us, entry.id), reverse=True)


def test_every_entry_is_a_row_with_every_figure(book: Book) -> None:
    answer = ask_json(book.engine, "calls", {**EVERYTHING, "limit": "10000"})
    expected = newest_first(book.entries)
    assert [row["id"] for row in answer["rows"]] == [entry.id for entry in expected]
    for row, entry in zip(answer["rows"], expected, strict=True):
        assert us(row["admitted_at"]) == entry.at_us
        assert row["account"] == PATHS[entry.account]
        assert row["tags"] == entry.tags
        assert {meter: row[meter] for meter in METER_COLUMNS if row[meter]} == {
            name: meter.quantity for name, meter in entry.meters.items() if meter.quantity
        }
        assert (nano(row["cost"]), nano(row["list_cost"])) == (entry.cost, entry.list_cost)
        assert nano(row["hold"]) == entry.hold
        assert nano(row["overrun"]) == max(0, entry.cost - entry.hold)
        assert [
            row[name] for name in ("key", "provider", "model", "end_user", "outcome", "usage_source")
        ] == [
            entry.key,
            entry.provider,
            entry.model,
            entry.end_user,
            entry.outcome,
            entry.usage_source,
        ]
    assert nano(answer["total"]["cost"]) == sum(entry.cost for entry in book.entries)
    assert answer["has_more"] is False
    assert answer["next"] is None


def test_a_row_says_what_it_is(book: Book) -> None:
    correction = next(entry for entry in book.entries if entry.corrects)
    answer = ask_json(book.engine, "calls", {**EVERYTHING, "limit": "10000", "key": correction.key})
    row = next(row for row in answer["rows"] if row["id"] == correction.id)
    assert row["kind"] == "correction"
    assert row["attempt"] == correction.corrects
    assert row["reason"] == "a later report"
    assert row["streamed"] is True
    assert row["status"] == 200
    assert row["currency"] == "USD"


def test_pages_join_to_the_whole(book: Book) -> None:
    found: list[str] = []
    parameters = {**EVERYTHING, "limit": "997", "account": "acme"}
    answer = ask_json(book.engine, "calls", parameters)
    found += [row["id"] for row in answer["rows"]]
    while answer["has_more"]:
        assert answer["next"] == found[-1]
        answer = ask_json(book.engine, "calls", {**parameters, "after": answer["next"]})
        found += [row["id"] for row in answer["rows"]]
    expected = [entry for entry in book.entries if entry.account != "acct_other"]
    assert found == [entry.id for entry in newest_first(expected)]


def test_a_page_may_end_between_entries_of_one_instant(book: Book) -> None:
    ordered = newest_first(book.entries)
    at = next(index for index, entry in enumerate(ordered) if entry.at_us == ordered[index + 1].at_us)
    answer = ask_json(book.engine, "calls", {**EVERYTHING, "after": ordered[at].id, "limit": "1"})
    assert [row["id"] for row in answer["rows"]] == [ordered[at + 1].id]


def test_a_page_that_ends_with_the_rows_has_no_next(book: Book) -> None:
    count = len([entry for entry in book.entries if entry.key == "key_a"])
    answer = ask_json(book.engine, "calls", {**EVERYTHING, "key": "key_a", "limit": str(count)})
    assert len(answer["rows"]) == count
    assert answer["has_more"] is False
    answer = ask_json(book.engine, "calls", {**EVERYTHING, "key": "key_a", "limit": str(count - 1)})
    assert len(answer["rows"]) == count - 1
    assert answer["has_more"] is True


@pytest.mark.parametrize("limit", ["10", "10000"])
def test_rows_are_filtered_by_tags_and_end_user(book: Book, limit: str) -> None:
    parameters = {**EVERYTHING, "tag:env": "dev", "end_user": "", "limit": limit}
    answer = ask_json(book.engine, "calls", parameters)
    expected = [each for each in book.entries if each.tags.get("env") == "dev" and each.end_user is None]
    ids = [entry.id for entry in newest_first(expected)]
    assert [row["id"] for row in answer["rows"]] == ids[: int(limit)]
    assert answer["has_more"] is (len(ids) > int(limit))


def test_the_period_is_exact_to_the_microsecond(book: Book) -> None:
    first = min(book.entries, key=lambda entry: entry.at_us)
    start = ask_json(book.engine, "calls", {**EVERYTHING, "limit": "10000"})["rows"][-1]["admitted_at"]
    assert us(start) == first.at_us
    until = ask_json(book.engine, "calls", {"start": "2026-10-01", "end": start})
    assert until["rows"] == []


@pytest.mark.parametrize("after", ["att_999999", "", "' OR 1=1 --"])
def test_a_page_after_nothing_is_refused(book: Book, after: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        ask_json(book.engine, "calls", {**EVERYTHING, "after": after})
    assert refusal.value.param == "after"


def test_another_keys_entry_is_no_place_to_go_on_from(book: Book) -> None:
    foreign = next(entry for entry in book.entries if entry.key == "key_d")
    with pytest.raises(BadRequest):
        ask_json(
            book.engine,
            "calls",
            {**EVERYTHING, "after": foreign.id},
            principal=virtual_key("key_a", "acct_root"),
        )


def test_it_is_the_paged_report() -> None:
    assert [name for name, report in REPORTS.items() if report.cursor] == ["calls"]
