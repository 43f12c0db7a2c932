"""Re-rating on both databases: ledger, sums and windows move together, once."""

from __future__ import annotations

import os

from sqlalchemy import Connection

from gateway.domain.catalogue import Catalogue, ModelRecord
from gateway.domain.prices import PriceRow, with_id
from gateway.ledger.ledger import Ledger
from gateway.ledger.rerating import Change, rerate
from gateway.store.accounts import account_chains
from gateway.store.rerating import Due, Selection, due_calls, lock_prices
from tests.ledger.workbench import NOON_US, Workbench, closing

ALL = Selection(0, 1 << 60)


def rerated(conn: Connection, catalogue: Catalogue, selection: Selection) -> list[Change]:
    lock_prices(conn)
    due = due_calls(conn, selection, None, 100)
    return rerate(
        conn,
        due,
        catalogue,
        account_chains(conn),
        {},
        books=True,
        reason="rerate",
        new_id=lambda: f"adj_{os.urandom(8).hex()}",
        now_us=NOON_US,
    )


def prices(input_pico: int, output_pico: int) -> Catalogue:
    rows = [
        with_id(PriceRow("", "openai", "gpt-4.1", "input", input_pico)),
        with_id(PriceRow("", "openai", "gpt-4.1", "output", output_pico)),
    ]
    return Catalogue([ModelRecord("openai", "gpt-4.1", {"equals": "gpt-4.1"}, 0, None, "test")], rows)


async def call(bench: Workbench, ledger: Ledger, charge: int) -> None:
    budget = await bench.budget(1_000)
    tokens, soft = await bench.budget(1_000, unit="tokens"), await bench.budget(1_000, enforcement="soft")
    hold = await bench.hold(ledger, (budget, 100), (tokens, 100), (soft, 0), end_user="ann", tags={"a": "b"})
    ledger.close(hold, closing(charge, usage={"input": 0, "output": charge}, tokens=charge))
    await bench.settle(ledger)


async def test_every_figure_moves_together_and_once(bench: Workbench) -> None:
    ledger = await bench.worker()
    await call(bench, ledger, 60)
    leases = await bench.rows("SELECT win, amount FROM leases ORDER BY win")
    (change,) = await bench.database.write(rerated, prices(1_000, 1_500), ALL)
    assert change[3:] == (60, 90)
    assert await bench.rows("SELECT kind, charge, hold, overrun FROM ledger ORDER BY kind") == [
        ("adjustment", 30, 0, 30),
        ("call", 60, 100, 0),
    ]
    assert await bench.rows("SELECT spent, overrun FROM windows ORDER BY id") == [(90, 30), (60, 0), (90, 0)]
    assert await bench.rows("SELECT win, amount FROM leases ORDER BY win") == leases
    assert await bench.scalar("SELECT SUM(quantity) FROM rollups WHERE meter = 'requests'") == 1
    await bench.audit()
    assert await bench.database.write(rerated, prices(1_000, 1_500), ALL) == []
    (back,) = await bench.database.write(rerated, prices(1_000, 1_000), ALL)
    assert back[3:] == (90, 60)
    assert await bench.rows("SELECT spent FROM windows ORDER BY id") == [(60,), (60,), (60,)]
    await bench.audit()


async def test_calls_are_found_in_order_and_once(bench: Workbench) -> None:
    ledger = await bench.worker()
    for charge in (10, 20, 30):
        await call(bench, ledger, charge)

    def pages(conn: Connection) -> list[list[Due]]:
        first = list(due_calls(conn, ALL, None, 2))
        return [first, list(due_calls(conn, ALL, first[-1], 2))]

    first, rest = await bench.database.read(pages)
    assert [len(first), len(rest)] == [2, 1]
    assert len({*first, *rest}) == 3
