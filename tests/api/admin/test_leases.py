"""Leases over HTTP: what workers have taken, and the release of a lost one's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.api.admin.conftest import START_US, Plane


@pytest.fixture
def window(plane: Plane) -> int:
    """A window of 25 USD in which a living worker has 2 and a silent one 3."""
    made = plane.post("/admin/budgets", {"name": "b", "cap": "25", "period": "day"})
    win = int(made["window"]["id"])
    with plane.engine.begin() as conn:
        for journal, seen_at, amount in (
            ("jrnl_a", START_US, 2_000_000_000),
            ("jrnl_b", START_US - 3_600_000_000, 3_000_000_000),
        ):
            conn.execute(
                text(
                    "INSERT INTO journals"
                    " (id, data_dir, serial, posted, state, seen_at, complete_until, created_at, host)"
                    " VALUES (:id, 'd', 7, 0, 'live', :seen, 0, 0, 'host-1')"
                ),
                {"id": journal, "seen": seen_at},
            )
            conn.execute(
                text("INSERT INTO leases (journal, win, amount, held, answered) VALUES (:j, :w, :a, 5, 0)"),
                {"j": journal, "w": win, "a": amount},
            )
        conn.execute(text("UPDATE windows SET leased = 5000000000"))
    return win


def figures(plane: Plane) -> Any:
    with plane.engine.connect() as conn:
        return conn.execute(text("SELECT leased, released FROM windows")).one()


def test_leases_are_listed_with_their_worker_and_window(plane: Plane, window: int) -> None:
    page = plane.get("/admin/leases?limit=1")
    [first] = page["data"]
    assert (first["id"], first["host"], first["amount"], first["budget_name"]) == (
        f"jrnl_a.{window}",
        "host-1",
        "2",
        "b",
    )
    assert (first["stranded"], first["closed"]) == (False, False)
    [second] = plane.get(f"/admin/leases?after={page['next']}")["data"]
    assert (second["journal"], second["stranded"]) == ("jrnl_b", True)
    assert plane.refused("GET", "/admin/leases?after=nonsense")["param"] == "after"
    plane.clock.advance(86_400)
    assert all(each["closed"] for each in plane.get("/admin/leases")["data"])


def test_a_silent_workers_lease_is_released(plane: Plane, window: int) -> None:
    answer = plane.call("DELETE", f"/admin/leases/jrnl_b.{window}")
    assert (answer.status, answer.json["amount"]) == (200, "0")
    assert figures(plane) == (2_000_000_000, 3_000_000_000)
    with plane.engine.connect() as conn:
        serials = conn.execute(text("SELECT serial FROM journals ORDER BY id")).scalars().all()
    assert serials == [7, 8]
    [row, *_] = plane.get("/admin/audit")["data"]
    assert (row["action"], row["before"]["amount"], row["after"]["amount"]) == ("lease.release", "3", "0")


def test_a_living_workers_lease_needs_force(plane: Plane, window: int) -> None:
    path = f"/admin/leases/jrnl_a.{window}"
    problem = plane.refused("DELETE", path)
    assert problem["status"] == 409
    assert "force" in problem["hint"]
    assert figures(plane) == (5_000_000_000, 0)
    assert plane.call("DELETE", f"{path}?force=true").status == 200
    assert figures(plane) == (3_000_000_000, 2_000_000_000)


def test_what_is_no_lease_is_404(plane: Plane, window: int) -> None:
    for lease in ("jrnl_a", f"jrnl_c.{window}", f"jrnl_a.{window + 1}", "jrnl_a.x", "jrnl_a." + "9" * 30):
        assert plane.refused("DELETE", f"/admin/leases/{lease}")["status"] == 404
