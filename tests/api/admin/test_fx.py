"""Exchange rates over HTTP: posted and imported, never changed."""

from __future__ import annotations

from tests.api.admin.conftest import Plane

RATE = {"currency": "EUR", "date": "2026-11-01", "rate": "0.9214"}


def test_a_rate_is_posted_once(plane: Plane) -> None:
    made = plane.call("POST", "/admin/fx", RATE)
    assert (made.status, made.json["rate"], made.json["date"]) == (201, "0.9214", "2026-11-01")
    assert plane.call("POST", "/admin/fx", RATE).status == 200
    problem = plane.refused("POST", "/admin/fx", {**RATE, "rate": "0.93"})
    assert (problem["status"], problem["param"]) == (409, "date")
    assert plane.get("/admin/fx?currency=EUR")["data"] == [made.json]
    assert plane.get("/admin/fx?currency=JPY")["data"] == []


def test_what_is_no_rate_is_refused_by_name(plane: Plane) -> None:
    for field, value in (("currency", "USD"), ("currency", "euro"), ("date", "2026-02-30"), ("rate", "0")):
        problem = plane.refused("POST", "/admin/fx", {**RATE, field: value})
        assert (problem["status"], problem["param"]) == (400, field)


def test_a_file_is_imported_and_its_conflicts_told(plane: Plane) -> None:
    plane.post("/admin/fx", RATE)
    text = "date,currency,rate\n2026-11-01,EUR,0.95\n2026-11-02,EUR,0.93\n2026-11-02,JPY,151.2\n"
    done = plane.call("POST", "/admin/fx/import", {"file": text, "name": "ecb.csv"}).json
    assert (done["added"], done["unchanged"], done["first"], done["last"]) == (
        2,
        0,
        "2026-11-01",
        "2026-11-02",
    )
    assert done["conflicts"] == ["EUR is 0.9214 on 2026-11-01 by manual, not 0.95"]
    again = plane.call("POST", "/admin/fx/import", {"file": text}).json
    assert (again["added"], again["unchanged"]) == (0, 2)
    page = plane.get("/admin/fx?limit=2")
    assert [each["id"] for each in page["data"]] == ["2026-11-02:EUR", "2026-11-02:JPY"]
    assert [each["id"] for each in plane.get(f"/admin/fx?after={page['next']}")["data"]] == ["2026-11-01:EUR"]
    problem = plane.refused("POST", "/admin/fx/import", {"file": "date,rate\n2026-11-01,1\n"})
    assert (problem["param"], "line 2" in problem["detail"]) == ("file", True)
