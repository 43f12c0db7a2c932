"""Closing months over HTTP."""

from __future__ import annotations

from tests.api.admin.conftest import Plane


def test_a_month_is_closed_listed_and_verified(plane: Plane) -> None:
    made = plane.call("POST", "/admin/periods", {"period": "2026-01"}, key="finance-key-of-the-tests")
    assert made.status == 201, made.body
    assert (made.json["id"], made.json["status"], made.json["entries"], made.json["cost"]) == (
        "2026-01",
        "closed",
        0,
        "0",
    )
    assert plane.get("/admin/periods")["data"] == [made.json]
    assert plane.get("/admin/periods/verification")["data"] == [
        {"period": "2026-01", "intact": True, "problem": ""}
    ]
    problem = plane.refused("POST", "/admin/periods", {"period": "2026-01"})
    assert (problem["status"], problem["param"]) == (409, "period")
    assert plane.get("/admin/audit")["data"][0]["action"] == "period.close"


def test_what_cannot_be_closed_is_a_problem(plane: Plane) -> None:
    assert plane.refused("POST", "/admin/periods", {"period": "January"})["status"] == 400
    assert plane.refused("POST", "/admin/periods", {"period": "2199-01"})["status"] == 409
    for method in ("PATCH", "DELETE"):
        assert plane.call(method, "/admin/periods", {}).status == 405
