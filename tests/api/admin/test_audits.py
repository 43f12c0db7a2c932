"""The audit log: every change is in it, and a change of the log itself shows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from tests.api.admin.conftest import Plane


def changes(plane: Plane) -> list[Any]:
    """What was done by administrators, oldest first."""
    rows = plane.get("/admin/audit?limit=1000")["data"]
    return [row for row in reversed(rows) if row["actor"] != "system"]


def test_every_change_is_told_with_what_was_before(plane: Plane) -> None:
    account = plane.post("/admin/accounts", {"name": "acme"})
    key = plane.post("/admin/keys", {"account": account["id"], "name": "ci"})
    plane.patch(f"/admin/keys/{key['id']}", {"name": "cd"})
    plane.post(f"/admin/keys/{key['id']}/rotate", {})
    budget = plane.post("/admin/budgets", {"name": "b", "cap": "1", "period": "day"})
    plane.patch(f"/admin/budgets/{budget['id']}", {"cap": "2"})
    plane.post(f"/admin/budgets/{budget['id']}/increases", {"amount": "1", "reason": "r"})
    plane.post("/admin/grants", {"account": account["id"], "unit": "usd", "amount": "1"})
    plane.delete(f"/admin/budgets/{budget['id']}")
    plane.delete(f"/admin/keys/{key['id']}")
    plane.delete(f"/admin/accounts/{account['id']}")
    rows = changes(plane)
    assert [row["action"] for row in rows] == [
        "account.create",
        "key.create",
        "key.update",
        "key.rotate",
        "budget.create",
        "budget.update",
        "budget.increase",
        "grant.create",
        "budget.delete",
        "key.revoke",
        "account.delete",
    ]
    assert rows[0]["before"] is None
    assert rows[0]["after"] == account
    assert (rows[2]["before"]["name"], rows[2]["after"]["name"]) == ("ci", "cd")
    assert (rows[5]["before"]["cap"], rows[5]["after"]["cap"]) == ("1", "2")
    assert rows[-1]["after"] is None
    assert {row["actor"] for row in rows} == {rows[0]["actor"]}
    assert rows[0]["actor"].startswith("akey_")
    assert key["key"] not in str(rows)
    verdict = plane.get("/admin/audit/verification")
    assert verdict == {"rows": 12, "intact": True, "broken_at": None, "cut_off": False}


def test_pages_go_back_in_time(plane: Plane) -> None:
    for number in range(5):
        plane.post("/admin/accounts", {"name": f"a{number}"})
    page = plane.get("/admin/audit?limit=2")
    assert [row["after"]["name"] for row in page["data"]] == ["a4", "a3"]
    page = plane.get(f"/admin/audit?limit=2&after={page['next']}")
    assert [row["after"]["name"] for row in page["data"]] == ["a2", "a1"]
    assert plane.refused("GET", "/admin/audit?after=yesterday")["param"] == "after"


def test_a_changed_removed_or_cut_row_shows(plane: Plane) -> None:
    for name in ("a", "b", "c"):
        plane.post("/admin/accounts", {"name": name, "metadata": {"x": [1.5, 10**17, "é", None]}})
    rows = changes(plane)
    for statement, expected in (
        (f"UPDATE audit SET actor = 'nobody' WHERE id = {rows[1]['id']}", (rows[1]["id"], False)),
        (f"UPDATE audit SET at = at + 1 WHERE id = {rows[0]['id']}", (rows[0]["id"], False)),
        (f"DELETE FROM audit WHERE id = {rows[0]['id']}", (rows[1]["id"], False)),
        (f"DELETE FROM audit WHERE id = {rows[2]['id']}", (None, True)),
    ):
        with plane.engine.connect() as conn:
            kept = conn.execute(text("SELECT * FROM audit ORDER BY id")).all()
        assert plane.get("/admin/audit/verification")["intact"]
        with plane.engine.begin() as conn:
            conn.execute(text(statement))
        verdict = plane.get("/admin/audit/verification")
        assert (verdict["intact"], verdict["broken_at"], verdict["cut_off"]) == (False, *expected)
        with plane.engine.begin() as conn:
            conn.execute(text("DELETE FROM audit"))
            columns = ", ".join(f":{name}" for name in kept[0]._fields)
            conn.execute(text(f"INSERT INTO audit VALUES ({columns})"), [row._asdict() for row in kept])
