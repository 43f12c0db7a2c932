"""The ledger's entries give, meter by meter, the very sums that were kept when they were posted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Select, select

from gateway.domain.errors import BadRequest
from gateway.reports import entries
from gateway.reports.entries import parts
from gateway.reports.wanted import MEASURES, Wanted
from gateway.store.reading import Selection
from gateway.store.tables import end_user_rollups, rollups, tag_rollups
from tests.reports.conftest import FIRST_US, LAST_US, Book

KEY = ("account", "key", "provider", "model")


@pytest.mark.parametrize("group", [(), ("end_user",), ("tag:env",), ("tag:team",)])
def test_entries_are_what_posting_added_up(book: Book, group: tuple[str, ...]) -> None:
    wanted = Wanted(Selection(), (*KEY[1:], *group, "meter"), True, MEASURES[1:], {})
    slots = tuple(range(FIRST_US, LAST_US + 1, 900_000_000))
    with book.engine.connect() as conn:
        found = {
            (slots[row.bucket], *row.group): row.amounts
            for row in entries.read(conn, wanted, slots, FIRST_US, LAST_US)
            if any(row.amounts) and (not group or row.group[3])
        }
        kept = {tuple(row[:-3]): tuple(row[-3:]) for row in conn.execute(_kept(group))}
    assert found == {key: amounts for key, amounts in kept.items() if any(amounts)}


def _kept(group: tuple[str, ...]) -> Select[Any]:
    table = end_user_rollups if group == ("end_user",) else tag_rollups if group else rollups
    columns = table.c
    names = [columns[name] for name in ("end_user", "value") if name in columns]
    shown = (columns.slot, columns.key, columns.provider, columns.model, *names, columns.meter)
    query = select(*shown, columns.quantity, columns.cost, columns.list_cost)
    if "tag" in columns:
        query = query.where(columns.tag == group[0].removeprefix("tag:"))
    return query


def entry(**columns: object) -> SimpleNamespace:
    plain = {
        "kind": "call",
        "outcome": "done",
        "usage": '{"input":5}',
        "lines": '[["input",5,"price_1",2,10,20]]',
        "charge": 10,
        "list_charge": 20,
    }
    return SimpleNamespace(**{**plain, **columns})


def test_a_call_is_one_request() -> None:
    assert parts(entry()) == {"input": [0, 5, 10, 20], "requests": [1, 1, 0, 0]}
    assert parts(entry(usage='{"input":5,"requests":9}'))["requests"] == [1, 1, 0, 0]


@pytest.mark.parametrize("columns", [{"outcome": "void"}, {"kind": "correction"}, {"kind": "adjustment"}])
def test_a_void_and_a_correction_are_none(columns: dict[str, object]) -> None:
    assert parts(entry(**columns))["requests"] == [0, 0, 0, 0]


def test_a_fee_for_requests_and_charge_without_a_line_are_of_the_requests() -> None:
    fee = '[["input",5,"price_1",2,10,20],["requests",1,"price_2",7,7,8]]'
    assert parts(entry(lines=fee, charge=20, list_charge=30))["requests"] == [1, 1, 10, 10]
    assert parts(entry(lines="[]"))["requests"] == [1, 1, 10, 20]


def test_several_lines_of_a_meter_add_up() -> None:
    lines = '[["input",3,"price_1",2,6,6],["input",2,"price_2",2,4,14]]'
    assert parts(entry(lines=lines)) == {"input": [0, 5, 10, 20], "requests": [1, 1, 0, 0]}


def test_more_groups_than_fit_in_memory_are_refused(book: Book) -> None:
    wanted = Wanted(Selection(), ("end_user", "tag:env"), False, ("cost",), {})
    with book.engine.connect() as conn:
        rows = entries.read(conn, wanted, (FIRST_US, LAST_US), FIRST_US, LAST_US)
        again = entries.read(conn, wanted, (FIRST_US, LAST_US), FIRST_US, LAST_US, most_rows=len(rows))
        assert again == rows
        with pytest.raises(BadRequest) as refusal:
            entries.read(conn, wanted, (FIRST_US, LAST_US), FIRST_US, LAST_US, most_rows=len(rows) - 1)
    assert refusal.value.param == "group_by"
