"""Budgets over HTTP: caps reach their windows, one window can be raised, history stays."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text

from gateway.domain.periods import window
from gateway.store.budgets import budgets_since
from gateway.store.windows import Opening, open_window
from tests.api.admin.conftest import START_US, Plane


def budget(plane: Plane, **more: Any) -> Any:
    return plane.post(
        "/admin/budgets", {"name": "search november", "cap": "25.00", "period": "month", **more}
    )


def spend(engine: Engine, win: str, spent: int, leased: int = 0) -> None:
    """What workers do to a window."""
    with engine.begin() as conn:
        conn.execute(
            text("UPDATE windows SET spent = :spent, leased = :leased WHERE id = :win"),
            {"spent": spent, "leased": leased, "win": int(win)},
        )


def test_a_budget_is_created_with_its_running_window(plane: Plane) -> None:
    account = plane.post("/admin/accounts", {"name": "acme"})["id"]
    key = plane.post("/admin/keys", {"account": account, "name": "ci"})["id"]
    made = budget(
        plane,
        account=account,
        key=key,
        models=["gpt-4.1*"],
        provider="openai",
        tags={"env": "prod"},
        timezone="Europe/Berlin",
        anchor_day=15,
        alert_at=[50, 80, 100],
        on_exhausted={"fallback": "gpt-4.1-mini"},
    )
    assert made["id"].startswith("bud_")
    assert (made["cap"], made["spent"], made["unit"], made["enforcement"]) == ("25", "0", "usd", "hard")
    assert made["on_exhausted"] == {"fallback": "gpt-4.1-mini"}
    running = made["window"]
    assert (running["start"], running["end"]) == ("2026-11-14T23:00:00Z", "2026-12-14T23:00:00Z")
    assert (running["cap"], running["remaining"], running["held"], running["stranded"]) == (
        "25",
        "25",
        "0",
        "0",
    )
    assert plane.get(f"/admin/budgets/{made['id']}") == made
    assert plane.get("/admin/budgets")["data"] == [made]
    assert plane.get(f"/admin/budgets?account={account}&key={key}")["data"] == [made]
    assert plane.get("/admin/budgets?account=acct_other")["data"] == []
    with plane.engine.connect() as conn:
        [living] = budgets_since(conn, 0).living
    assert (living.cap, living.models, living.fallback) == (25_000_000_000, ("gpt-4.1*",), "gpt-4.1-mini")


def test_a_new_cap_reaches_this_window_and_later_ones_alone(plane: Plane) -> None:
    made = budget(plane)
    engine = plane.engine
    past, later = (window("month", START_US + days * 86_400_000_000, "UTC") for days in (-40, 40))
    with engine.begin() as conn:
        for each in (past, later):
            open_window(conn, Opening(made["id"], "", each.start_us, each.end_us))
    plane.changed.clear()
    changed = plane.patch(f"/admin/budgets/{made['id']}", {"cap": "7.5"})
    assert plane.changed == ["budgets"]
    assert (changed["cap"], changed["window"]["cap"]) == ("7.5", "7.5")
    listed = plane.get(f"/admin/budgets/{made['id']}/windows")["data"]
    assert [each["cap"] for each in listed] == ["7.5", "7.5", "25"]
    with engine.connect() as conn:
        recalls = conn.execute(text("SELECT recall FROM windows ORDER BY starts_at")).scalars().all()
    assert recalls == [0, 1, 1]


def test_a_cap_may_go_below_what_is_spent(plane: Plane) -> None:
    made = budget(plane)
    engine = plane.engine
    spend(engine, made["window"]["id"], 20_000_000_000, 3_000_000_000)
    changed = plane.patch(f"/admin/budgets/{made['id']}", {"cap": "10"})
    assert (changed["window"]["spent"], changed["window"]["remaining"]) == ("20", "0")


def test_an_increase_is_for_one_window_and_outlives_a_new_cap(plane: Plane) -> None:
    made = budget(plane)
    path = f"/admin/budgets/{made['id']}"
    raised = plane.post(f"{path}/increases", {"amount": "5", "reason": "launch week"})
    assert (raised["amount"], raised["window"]) == ("5", made["window"]["id"])
    assert raised["made_by"].startswith("akey_")
    assert plane.get(path)["window"]["cap"] == "30"
    assert plane.get(path)["cap"] == "25"
    assert plane.patch(path, {"cap": "40"})["window"]["cap"] == "45"
    plane.clock.advance(20 * 86_400)
    following = plane.get(path)["window"]
    assert (following["id"], following["cap"], following["start"]) == (None, "40", "2026-12-01T00:00:00Z")
    plane.post(f"{path}/increases", {"amount": "1", "reason": "more"})
    assert plane.get(path)["window"]["cap"] == "41"
    assert [each["reason"] for each in plane.get(f"{path}/increases")["data"]] == ["launch week", "more"]
    page = plane.get(f"{path}/windows?limit=1")
    assert (page["has_more"], page["data"][0]["cap"]) == (True, "41")
    [last] = plane.get(f"{path}/windows?limit=1&after={page['next']}")["data"]
    assert last["cap"] == "45"
    for body, param in (
        ({"amount": "0", "reason": "x"}, "amount"),
        ({"amount": "-1", "reason": "x"}, "amount"),
        ({"amount": "900000000", "reason": "x"}, None),
        ({"amount": "900000000", "reason": "x"}, "amount"),
        ({"amount": "1", "reason": ""}, "reason"),
        ({"amount": "1", "reason": "x", "subject": "u1"}, "subject"),
    ):
        answer = plane.call("POST", f"{path}/increases", body)
        assert (answer.status, answer.json.get("param")) == (201 if param is None else 400, param)


def test_each_has_a_window_for_every_subject(plane: Plane) -> None:
    made = budget(plane, each="end_user", unit="requests", cap="10", period="day")
    assert (made["window"], made["spent"]) == (None, None)
    path = f"/admin/budgets/{made['id']}"
    untouched = plane.get(f"{path}?subject=u1")["window"]
    assert (untouched["id"], untouched["cap"], untouched["subject"]) == (None, "10", "u1")
    assert plane.refused("POST", f"{path}/increases", {"amount": "5", "reason": "x"})["param"] == "subject"
    plane.post(f"{path}/increases", {"amount": "5", "reason": "x", "subject": "u1"})
    assert plane.get(f"{path}?subject=u1")["window"]["cap"] == "15"
    assert plane.get(f"{path}?subject=u2")["window"]["cap"] == "10"
    assert [each["subject"] for each in plane.get(f"{path}/windows?subject=u1")["data"]] == ["u1"]
    assert plane.get(f"{path}/windows?subject=u2")["data"] == []


def test_a_new_budget_counts_what_its_scope_has_spent(plane: Plane) -> None:
    account = plane.post("/admin/accounts", {"name": "acme"})["id"]
    engine = plane.engine
    with engine.begin() as conn:
        for slot, cost in ((START_US, 3_200_000_000), (START_US - 40 * 86_400_000_000, 9)):
            conn.execute(
                text(
                    "INSERT INTO rollups"
                    " (slot, account, key, provider, model, meter, quantity, cost, list_cost)"
                    " VALUES (:slot, :account, 'key_1', 'openai', 'gpt-4.1', 'output', 5, :cost, 0)"
                ),
                {"slot": slot, "account": account, "cost": cost},
            )
    assert budget(plane, account=account)["spent"] == "3.2"
    assert budget(plane, account=account, count_from="now")["spent"] == "0"
    assert budget(plane, account=account, models=["o*"])["spent"] == "0"
    assert budget(plane, account=account, unit="tokens", cap="100")["spent"] == "5"


def test_what_silent_workers_hold_is_stranded_not_held(plane: Plane) -> None:
    made = budget(plane)
    engine = plane.engine
    win = int(made["window"]["id"])
    with engine.begin() as conn:
        for journal, seen_at, held in (
            ("j1", START_US, 1_000_000_000),
            ("j2", START_US - 61_000_000, 500_000_000),
        ):
            conn.execute(
                text(
                    "INSERT INTO journals"
                    " (id, data_dir, serial, posted, state, seen_at, complete_until, created_at, host)"
                    " VALUES (:id, 'd', 1, 0, 'live', :seen, 0, 0, 'h')"
                ),
                {"id": journal, "seen": seen_at},
            )
            conn.execute(
                text(
                    "INSERT INTO leases (journal, win, amount, held, answered)"
                    " VALUES (:j, :w, 2000000000, :h, 0)"
                ),
                {"j": journal, "w": win, "h": held},
            )
    spend(engine, str(win), 4_000_000_000, 4_000_000_000)
    running = plane.get(f"/admin/budgets/{made['id']}")["window"]
    assert (running["held"], running["stranded"], running["leased"]) == ("1", "2", "4")
    assert (running["spent"], running["remaining"]) == ("4", "18")


def test_deleting_keeps_windows(plane: Plane) -> None:
    made = budget(plane)
    path = f"/admin/budgets/{made['id']}"
    plane.delete(path)
    assert plane.get(path)["deleted_at"] == "2026-11-25T04:00:00Z"
    assert plane.get("/admin/budgets")["data"] == []
    assert len(plane.get(f"{path}/windows")["data"]) == 1
    for method, where, body in (
        ("PATCH", path, {"cap": "1"}),
        ("DELETE", path, None),
        ("POST", f"{path}/increases", {"amount": "1", "reason": "x"}),
    ):
        assert plane.refused(method, where, body)["status"] == 404
    with plane.engine.connect() as conn:
        changes = budgets_since(conn, 0)
    assert (changes.living, changes.deleted) == ((), (made["id"],))


def test_changes_are_checked_as_a_whole(plane: Plane) -> None:
    made = budget(plane, on_exhausted={"fallback": "gpt-4.1-mini"})
    path = f"/admin/budgets/{made['id']}"
    assert plane.refused("PATCH", path, {"enforcement": "soft"})["param"] == "on_exhausted"
    changed = plane.patch(path, {"enforcement": "soft", "on_exhausted": None, "name": "n", "alert_at": [90]})
    assert (changed["enforcement"], changed["on_exhausted"], changed["alert_at"]) == ("soft", None, [90])
    problem = plane.refused("PATCH", path, {"period": "day"})
    assert (problem["code"], problem["param"]) == ("unsupported_field", "period")
    assert "cap" in problem["hint"]


REFUSED: list[tuple[Any, str]] = [
    ({"cap": 25.0}, "cap"),
    ({"cap": "-1"}, "cap"),
    ({"cap": "1e99"}, "cap"),
    ({"cap": "NaN"}, "cap"),
    ({"cap": "0.0000000001"}, "cap"),
    ({"cap": "1.5", "unit": "tokens"}, "cap"),
    ({"period": "fortnight"}, "period"),
    ({"unit": "euros"}, "unit"),
    ({"anchor_day": 29}, "anchor_day"),
    ({"anchor_month": 2}, "anchor_month"),
    ({"timezone": "Nowhere"}, "timezone"),
    ({"alert_at": [0]}, "alert_at"),
    ({"each": "weekday"}, "each"),
    ({"account": "acct_nobody"}, "account"),
    ({"key": "key_nobody"}, "key"),
    ({"enforcement": "maybe"}, "enforcement"),
    ({"on_exhausted": {}}, "on_exhausted.fallback"),
    ({"on_exhausted": {"fallback": "gpt-*"}}, "on_exhausted"),
    ({"name": "x\u0000"}, "name"),
    ({"end_user": "a\u0000b"}, "end_user"),
]


def test_what_makes_no_budget_is_refused_by_name(plane: Plane) -> None:
    for body, param in REFUSED:
        problem = plane.refused(
            "POST", "/admin/budgets", {"name": "b", "cap": "1", "period": "month", **body}
        )
        assert problem["param"] == param, body
    assert plane.get("/admin/budgets")["data"] == []
