"""Grants over HTTP, and what burning and expiring do to the pool."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from gateway.store.grants import burn, expire_grants
from tests.api.admin.conftest import Plane


@pytest.fixture
def account(plane: Plane) -> str:
    return str(plane.post("/admin/accounts", {"name": "acme"})["id"])


def grant(plane: Plane, account: str, amount: str, **more: Any) -> Any:
    return plane.post("/admin/grants", {"account": account, "unit": "tokens", "amount": amount, **more})


def pool(plane: Plane, given: Any) -> Any:
    return plane.get(f"/admin/budgets/{given['budget']}")["window"]


def move(plane: Plane, given: Any, *, spent: int, leased: int) -> None:
    """What workers do to the pool."""
    with plane.engine.begin() as conn:
        conn.execute(
            text("UPDATE windows SET spent = spent + :spent, leased = :leased WHERE budget = :budget"),
            {"spent": spent, "leased": leased, "budget": given["budget"]},
        )
        win = conn.execute(
            text("SELECT id FROM windows WHERE budget = :budget"), {"budget": given["budget"]}
        ).scalar_one()
        burn(conn, win, spent)


def expire(plane: Plane) -> int:
    with plane.engine.begin() as conn:
        return expire_grants(conn, plane.clock.now_us())


def remaining(plane: Plane, *given: Any) -> list[str]:
    return [plane.get(f"/admin/grants/{each['id']}")["remaining"] for each in given]


def test_grants_of_a_unit_share_one_pool(plane: Plane, account: str) -> None:
    first = grant(plane, account, "100000", expires_at="2026-12-31T00:00:00Z", priority=1)
    second = grant(plane, account, "50")
    money = plane.post("/admin/grants", {"account": account, "unit": "usd", "amount": "5.00"})
    assert first["budget"] == second["budget"] != money["budget"]
    assert (pool(plane, first)["cap"], pool(plane, money)["cap"]) == ("100050", "5")
    assert first["expires_at"] == "2026-12-31T00:00:00Z"
    assert len(plane.get(f"/admin/grants?account={account}")["data"]) == 3
    assert plane.get("/admin/grants?account=acct_other")["data"] == []
    problem = plane.refused("PATCH", f"/admin/budgets/{first['budget']}", {"cap": "1"})
    assert (problem["status"], problem["param"]) == (409, "cap")


def test_priority_burns_first_then_the_earlier_expiry(plane: Plane, account: str) -> None:
    late = grant(plane, account, "10", expires_at="2027-01-31T00:00:00Z")
    early = grant(plane, account, "10", expires_at="2026-12-31T00:00:00Z")
    never = grant(plane, account, "10")
    last = grant(plane, account, "10", expires_at="2026-12-01T00:00:00Z", priority=9)
    for spent, left in (
        (4, ["10", "6", "10", "10"]),
        (10, ["6", "0", "10", "10"]),
        (12, ["0", "0", "4", "10"]),
        (5, ["0", "0", "0", "9"]),
        (50, ["0", "0", "0", "0"]),
    ):
        move(plane, late, spent=spent, leased=0)
        assert remaining(plane, late, early, never, last) == left


def test_expiry_takes_back_only_what_is_not_leased(plane: Plane, account: str) -> None:
    short = grant(plane, account, "100", expires_at="2026-12-01T00:00:00Z")
    grant(plane, account, "10")
    move(plane, short, spent=20, leased=70)
    assert expire(plane) == 0
    plane.clock.advance(30 * 86_400)
    assert expire(plane) == 1
    read = plane.get(f"/admin/grants/{short['id']}")
    assert (read["burnt"], read["expired"], read["remaining"]) == ("20", "20", "60")
    assert pool(plane, short)["cap"] == "90"
    move(plane, short, spent=0, leased=0)
    assert expire(plane) == 1
    read = plane.get(f"/admin/grants/{short['id']}")
    assert (read["burnt"], read["expired"], read["remaining"]) == ("20", "80", "0")
    assert (pool(plane, short)["cap"], pool(plane, short)["remaining"]) == ("30", "10")
    assert expire(plane) == 0


REFUSED: list[tuple[Any, str]] = [
    ({"amount": "0"}, "amount"),
    ({"amount": 5}, "amount"),
    ({"amount": "1.5"}, "amount"),
    ({"unit": "concurrent"}, "unit"),
    ({"account": "acct_nobody"}, "account"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ({"priority": -1}, "priority"),
    ({"reason": "a\nb"}, "reason"),
]


def test_what_is_no_grant_is_refused_by_name(plane: Plane, account: str) -> None:
    for body, param in REFUSED:
        problem = plane.refused(
            "POST", "/admin/grants", {"account": account, "unit": "tokens", "amount": "5", **body}
        )
        assert problem["param"] == param, body
    assert plane.get("/admin/grants")["data"] == []
    assert plane.refused("GET", "/admin/grants/grant_nobody")["status"] == 404


def test_credit_has_an_end(plane: Plane, account: str) -> None:
    body = {"account": account, "unit": "usd", "amount": "1000000000"}
    plane.post("/admin/grants", body)
    assert plane.refused("POST", "/admin/grants", body)["param"] == "amount"
