"""Prices over HTTP: posted, imported, explained, never changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.admin.conftest import Plane

PRICE = {
    "provider": "openai",
    "model": "gpt-4.1",
    "meter": "output",
    "usd_per_million": "8.00",
    "effective_from": "2026-01-01T00:00:00Z",
}


def test_a_price_is_posted_once(plane: Plane) -> None:
    first = plane.call("POST", "/admin/prices", PRICE)
    assert first.status == 201
    made = first.json
    assert made["id"].startswith("price_")
    assert (made["usd_per_million"], made["source_text"]) == ("8", "8.00")
    assert made["effective_from"] == "2026-01-01T00:00:00Z"
    assert plane.changed == ["prices"]
    again = plane.call("POST", "/admin/prices", PRICE)
    assert (again.status, again.json["id"]) == (200, made["id"])
    problem = plane.refused("POST", "/admin/prices", {**PRICE, "usd_per_million": "9"})
    assert (problem["status"], problem["param"]) == (409, "effective_from")
    assert plane.get(f"/admin/prices/{made['id']}") == made
    assert plane.get("/admin/prices?provider=openai&meter=output")["data"] == [made]
    assert plane.get("/admin/prices?model=o3")["data"] == []
    assert plane.refused("GET", "/admin/prices/price_nothing")["status"] == 404
    actions = [row["action"] for row in plane.get("/admin/audit")["data"]]
    assert actions.count("price.create") == 1


def test_an_account_has_its_own_price(plane: Plane) -> None:
    root = plane.post("/admin/accounts", {"name": "acme"})["id"]
    team = plane.post("/admin/accounts", {"name": "search", "parent": root})["id"]
    plane.post("/admin/prices", PRICE)
    own = plane.post("/admin/prices", {**PRICE, "account": root, "usd_per_million": "6"})
    assert plane.refused("POST", "/admin/prices", {**PRICE, "account": "acct_x"})["param"] == "account"

    def rate(query: str) -> Any:
        [found] = [
            each
            for each in plane.get(f"/admin/prices/explanation?model=gpt-4.1{query}")["rates"]
            if each["meter"] == "output"
        ]
        return found["price"]["usd_per_million"]

    assert (rate(""), rate(f"&account={team}")) == ("8", "6")
    assert plane.get(f"/admin/prices?account={root}")["data"] == [own]
    problem = plane.refused("GET", "/admin/prices/explanation?model=gpt-4.1&account=acct_x")
    assert problem["status"] == 404


def test_a_file_is_imported_and_importing_it_again_changes_nothing(plane: Plane) -> None:
    csv = (
        "provider,model,meter,usd_per_million,effective_from\n"
        "openai,gpt-4.1,input,2,2026-01-01\n"
        "openai,gpt-4.1,output,8,2026-01-01\n"
    )
    body = {"file": csv, "name": "contract.csv"}
    assert plane.post("/admin/prices/import", body) == {"added": 2, "unchanged": 0, "conflicts": []}
    assert plane.post("/admin/prices/import", body) == {"added": 0, "unchanged": 2, "conflicts": []}
    changed = plane.post("/admin/prices/import", {"file": csv.replace("8,2026", "9,2026")})
    assert (changed["added"], changed["unchanged"], len(changed["conflicts"])) == (0, 1, 1)
    found = plane.get("/admin/prices/explanation?model=openai/gpt-4.1&at=2026-06-01T00:00:00Z")
    assert {
        each["meter"]: each["price"]["source"] for each in found["rates"] if each["meter"] == "input"
    } == {"input": "file contract.csv"}
    problem = plane.refused("POST", "/admin/prices/import", {"file": csv + "openai,x,y\n"})
    assert problem["status"] == 400
    assert plane.refused("GET", "/admin/prices/explanation?model=nobody")["code"] == "model_not_found"
    assert plane.refused("GET", "/admin/prices/explanation")["param"] == "model"


@pytest.mark.slow
def test_the_installed_list_is_imported(plane: Plane) -> None:
    result = plane.post("/admin/prices/import", {})
    assert result["added"] > 1000
    assert plane.post("/admin/prices/import", {})["added"] == 0
    found = plane.get("/admin/prices/explanation?model=claude-sonnet-4.5")
    [output] = [
        each
        for each in found["rates"]
        if (each["meter"], each["service_tier"], each["context_over"]) == ("output", "", 0)
    ]
    assert output["price"]["usd_per_million"] == "15"
    assert found["provider"] == "anthropic"
    differences = plane.get("/admin/prices/differences")["data"]
    assert {each["counts"]["model"] for each in differences} >= {"deepseek-v3.2"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"meter": "vibes"}, "meter"),
        ({"usd_per_million": 8.0}, "usd_per_million"),
        ({"usd_per_million": "-1"}, "usd_per_million"),
        ({"usd_per_million": "NaN"}, "usd_per_million"),
        ({"effective_from": "soon"}, "effective_from"),
        ({"provider": "a\u0000"}, "provider"),
        ({"context_over": -1}, "context_over"),
        ({"priec": "1"}, "priec"),
    ],
)
def test_what_is_no_price_is_refused_by_name(plane: Plane, body: Any, param: str) -> None:
    assert plane.refused("POST", "/admin/prices", {**PRICE, **body})["param"] == param
