"""Rate cards over HTTP: negotiated, explained, inherited, ended."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.admin.conftest import Plane

PRICE = {"provider": "openai", "model": "gpt-4.1", "meter": "output", "usd_per_million": "8.00"}


@pytest.fixture
def accounts(plane: Plane) -> tuple[str, str]:
    root = plane.post("/admin/accounts", {"name": "acme"})["id"]
    team = plane.post("/admin/accounts", {"name": "search", "parent": root})["id"]
    plane.post("/admin/prices", {**PRICE, "effective_from": "2026-01-01T00:00:00Z"})
    return root, team


def output_of(plane: Plane, query: str) -> Any:
    rates = plane.get(f"/admin/prices/explanation?model=gpt-4.1{query}")["rates"]
    [found] = [each for each in rates if each["meter"] == "output"]
    return found


def test_a_discount_reaches_the_accounts_below_and_is_explained(
    plane: Plane, accounts: tuple[str, str]
) -> None:
    root, team = accounts
    made = plane.post("/admin/rate-cards", {"account": root, "model": "gpt-4.1*", "discount_percent": "12.5"})
    assert (made["discount_percent"], made["markup_percent"], made["effective_to"]) == ("12.5", None, None)
    assert "prices" in plane.changed
    found = output_of(plane, f"&account={team}")
    assert found["price"]["usd_per_million"] == "7"
    assert found["why"] == f"rate card {made['id']} of {root}: 12.5 % discount on 8 USD per million"
    assert found["overruled"][0]["usd_per_million"] == "8"
    assert output_of(plane, "")["price"]["usd_per_million"] == "8"
    assert plane.get(f"/admin/rate-cards?account={root}")["data"] == [made]
    assert plane.get(f"/admin/rate-cards/{made['id']}") == made


def test_a_card_is_ended_and_what_was_before_stays(plane: Plane, accounts: tuple[str, str]) -> None:
    root, _ = accounts
    body = {"account": root, "markup_percent": "10", "effective_from": "2026-02-01T00:00:00Z"}
    made = plane.post("/admin/rate-cards", body)
    ended = plane.call("DELETE", f"/admin/rate-cards/{made['id']}").json
    assert ended["effective_to"] is not None
    assert output_of(plane, f"&account={root}")["price"]["usd_per_million"] == "8"
    before = output_of(plane, f"&account={root}&at=2026-03-01T00:00:00Z")
    assert before["price"]["usd_per_million"] == "8.8"
    assert plane.refused("DELETE", f"/admin/rate-cards/{made['id']}")["status"] == 409
    actions = [row["action"] for row in plane.get("/admin/audit")["data"]]
    assert actions[:2] == ["rate_card.end", "rate_card.create"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "discount_percent"),
        ({"discount_percent": "10", "markup_percent": "10"}, "markup_percent"),
        ({"discount_percent": "100.1"}, "discount_percent"),
        ({"discount_percent": "-1"}, "discount_percent"),
        ({"markup_percent": "1e3"}, "markup_percent"),
        ({"usd_per_million": "5"}, "meter"),
        ({"usd_per_million": "5", "meter": "tokens"}, "meter"),
        ({"discount_percent": "10", "model": "a b"}, "model"),
        (
            {
                "discount_percent": "10",
                "effective_from": "2026-01-02T00:00:00Z",
                "effective_to": "2026-01-01T00:00:00Z",
            },
            "effective_to",
        ),
    ],
)
def test_what_is_no_term_is_refused_by_name(
    plane: Plane, accounts: tuple[str, str], body: dict[str, str], param: str
) -> None:
    problem = plane.refused("POST", "/admin/rate-cards", {"account": accounts[0], **body})
    assert (problem["status"], problem["param"]) == (400, param)


def test_an_account_must_exist(plane: Plane) -> None:
    problem = plane.refused("POST", "/admin/rate-cards", {"account": "acct_x", "discount_percent": "1"})
    assert (problem["status"], problem["param"]) == (404, "account")
    assert plane.refused("GET", "/admin/rate-cards/card_x")["status"] == 404
