"""Accounts: a tree that keeps its paths, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.credits import Credit
from tests.api.admin.conftest import Plane


def account(plane: Plane, name: str, parent: str | None = None, **more: Any) -> Any:
    return plane.post("/admin/accounts", {"name": name, "parent": parent, **more})


def test_an_account_is_created_read_and_listed(plane: Plane) -> None:
    made = account(
        plane,
        "acme",
        kind="organization",
        cost_center="4711",
        timezone="Europe/Berlin",
        metadata={"a": [1, None]},
    )
    assert made["id"].startswith("acct_")
    assert made["path"] == "acme"
    assert made["created_at"] == "2026-11-25T04:00:00Z"
    below = account(plane, "search", made["id"])
    assert below["path"] == "acme/search"
    assert below["kind"] == "team"
    assert plane.get(f"/admin/accounts/{made['id']}") == made
    listed = plane.get("/admin/accounts")
    assert listed["object"] == "list"
    assert {each["id"] for each in listed["data"]} == {made["id"], below["id"]}
    assert (listed["has_more"], listed["next"]) == (False, None)
    assert [each["id"] for each in plane.get("/admin/accounts?path=acme/search")["data"]] == [below["id"]]
    assert [each["id"] for each in plane.get(f"/admin/accounts?parent={made['id']}")["data"]] == [below["id"]]


def test_pages_walk_the_whole_list(plane: Plane) -> None:
    ids = []
    for number in range(7):
        ids.append(account(plane, f"team {number}")["id"])
        plane.clock.advance(number % 2)
    seen: list[str] = []
    after = ""
    while True:
        page = plane.get(f"/admin/accounts?limit=3{after}")
        seen += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        assert page["next"] == seen[-1]
        after = f"&after={page['next']}"
    assert sorted(seen) == sorted(ids)
    assert len(seen) == len(set(seen))
    problem = plane.refused("GET", "/admin/accounts?after=acct_nobody")
    assert (problem["status"], problem["param"]) == (400, "after")


def test_moving_takes_the_subtree_along(plane: Plane) -> None:
    root, other = account(plane, "acme"), account(plane, "globex")
    team = account(plane, "search", root["id"])
    deep = account(plane, "ranking", team["id"])
    gone = account(plane, "old", team["id"])
    plane.delete(f"/admin/accounts/{gone['id']}")
    moved = plane.patch(f"/admin/accounts/{team['id']}", {"parent": other["id"], "name": "find"})
    assert moved["path"] == "globex/find"
    assert plane.get(f"/admin/accounts/{deep['id']}")["path"] == "globex/find/ranking"
    assert plane.get(f"/admin/accounts/{gone['id']}")["path"] == "globex/find/old"
    assert plane.patch(f"/admin/accounts/{team['id']}", {"parent": None})["path"] == "find"
    assert plane.get(f"/admin/accounts/{root['id']}")["path"] == "acme"


def test_no_account_becomes_its_own_ancestor(plane: Plane) -> None:
    root = account(plane, "acme")
    team = account(plane, "search", root["id"])
    for parent in (root["id"], team["id"]):
        problem = plane.refused("PATCH", f"/admin/accounts/{root['id']}", {"parent": parent})
        assert (problem["status"], problem["code"], problem["param"]) == (409, "conflict", "parent")
    assert plane.get(f"/admin/accounts/{root['id']}")["parent"] is None


def test_a_path_names_one_living_account(plane: Plane) -> None:
    first = account(plane, "acme")
    problem = plane.refused("POST", "/admin/accounts", {"name": "acme"})
    assert (problem["status"], problem["param"]) == (409, "name")
    other = account(plane, "globex")
    assert plane.refused("PATCH", f"/admin/accounts/{other['id']}", {"name": "acme"})["status"] == 409
    plane.delete(f"/admin/accounts/{first['id']}")
    assert account(plane, "acme")["id"] != first["id"]


def test_deleting_keeps_the_history_and_ends_what_hangs_on_it(plane: Plane) -> None:
    root = account(plane, "acme")
    team = account(plane, "search", root["id"])
    key = plane.post("/admin/keys", {"account": team["id"], "name": "ci"})
    budget = plane.post("/admin/budgets", {"name": "b", "account": team["id"], "cap": "1", "period": "day"})
    assert plane.refused("DELETE", f"/admin/accounts/{root['id']}")["status"] == 409
    plane.changed.clear()
    plane.delete(f"/admin/accounts/{team['id']}")
    assert plane.changed == ["accounts", "keys", "budgets"]
    assert plane.get(f"/admin/accounts/{team['id']}")["deleted_at"] == "2026-11-25T04:00:00Z"
    assert plane.get(f"/admin/keys/{key['id']}")["status"] == "revoked"
    assert plane.get(f"/admin/budgets/{budget['id']}")["deleted_at"] is not None
    assert [each["id"] for each in plane.get("/admin/accounts")["data"]] == [root["id"]]
    assert len(plane.get("/admin/accounts?deleted=true")["data"]) == 2
    assert plane.refused("PATCH", f"/admin/accounts/{team['id']}", {"kind": "x"})["status"] == 404
    assert plane.refused("POST", "/admin/accounts", {"name": "x", "parent": team["id"]})["param"] == "parent"
    plane.delete(f"/admin/accounts/{root['id']}")


def test_absent_fields_stay_and_null_clears(plane: Plane) -> None:
    made = account(plane, "acme", cost_center="4711", metadata={"a": 1})
    path = f"/admin/accounts/{made['id']}"
    blocked = plane.patch(path, {"status": "blocked"})
    assert blocked == {**made, "status": "blocked"}
    assert plane.patch(path, {"cost_center": None})["cost_center"] is None
    assert plane.patch(path, {})["metadata"] == {"a": 1}
    assert plane.patch(path, {"status": "active", "timezone": "Asia/Tokyo"})["timezone"] == "Asia/Tokyo"


REFUSED: list[tuple[Any, str]] = [
    ({"name": "a/b"}, "name"),
    ({"name": ""}, "name"),
    ({"name": " a"}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "a\u0000"}, "name"),
    ({"name": "n" * 256}, "name"),
    ({"name": "x", "timezone": "Mars/Olympus"}, "timezone"),
    ({"name": "x", "kind": "a\r\nb"}, "kind"),
    ({"name": "x", "cost_center": ""}, "cost_center"),
    ({"name": "x", "metadata": {"a": "x" * 20_000}}, "metadata"),
    ({"name": "x", "metadata": []}, "metadata"),
    ({"name": "x", "parent": 7}, "parent"),
]


def test_what_cannot_be_kept_is_refused_by_name(plane: Plane) -> None:
    for body, param in REFUSED:
        problem = plane.refused("POST", "/admin/accounts", body)
        assert (problem["status"], problem["code"], problem["param"]) == (400, "invalid_value", param), body
    assert plane.get("/admin/accounts")["data"] == []


class TestSignupGrant:
    @pytest.fixture
    def signup_grant(self) -> Credit | None:
        return Credit("tokens", 100_000)

    def test_every_new_account_is_given_it(self, plane: Plane) -> None:
        made = account(plane, "acme")
        [grant] = plane.get(f"/admin/grants?account={made['id']}")["data"]
        assert (grant["amount"], grant["unit"], grant["remaining"], grant["reason"]) == (
            "100000",
            "tokens",
            "100000",
            "signup",
        )
        pool = plane.get(f"/admin/budgets/{grant['budget']}")
        assert pool["funded"]
        assert (pool["period"], pool["window"]["cap"], pool["account"]) == ("lifetime", "100000", made["id"])
        assert plane.changed == ["accounts", "budgets"]
