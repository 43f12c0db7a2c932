"""Admin keys: made by owners, one role each, and an owner always remains."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from gateway.store.admin_keys import any_admin_key, ensure_first_admin_key
from tests.api.admin.conftest import OWNER, START_US, Plane


def test_a_key_is_shown_once_and_works_with_its_role(plane: Plane) -> None:
    made = plane.post("/admin/admin-keys", {"name": "finance bot", "role": "finance"})
    assert made["key"].startswith("tg-admin-")
    assert "key" not in plane.get(f"/admin/admin-keys/{made['id']}")
    assert plane.refused("POST", "/admin/accounts", {"name": "a"}, key=made["key"])["status"] == 403
    changed = plane.patch(f"/admin/admin-keys/{made['id']}", {"role": "operator"})
    assert (changed["role"], changed["name"]) == ("operator", "finance bot")
    plane.post("/admin/accounts", {"name": "a"}, key=made["key"])
    with plane.engine.connect() as conn:
        assert made["key"] not in str(conn.execute(text("SELECT * FROM admin_keys")).all())
    assert len(plane.get("/admin/admin-keys")["data"]) == 5


def test_an_owner_always_remains(plane: Plane) -> None:
    [first] = [each for each in plane.get("/admin/admin-keys")["data"] if each["role"] == "owner"]
    path = f"/admin/admin-keys/{first['id']}"
    assert plane.refused("DELETE", path)["status"] == 409
    assert plane.refused("PATCH", path, {"role": "viewer"})["status"] == 409
    others = [plane.post("/admin/admin-keys", {"name": str(number), "role": "owner"}) for number in range(3)]
    targets = [first, *others]

    def end(number: int) -> int:
        # Each owner revokes the next one, all at once: a circle in which one must be left.
        key = OWNER if number == 0 else others[number - 1]["key"]
        victim = targets[(number + 1) % 4]
        return plane.call("DELETE", f"/admin/admin-keys/{victim['id']}", key=key).status

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(end, range(4)))
    assert set(statuses) <= {204, 409, 401}
    with plane.engine.connect() as conn:
        left = conn.execute(
            text("SELECT count(*) FROM admin_keys WHERE role = 'owner' AND revoked_at IS NULL")
        ).scalar_one()
    assert left >= 1


def test_a_revoked_key_stays_revoked(plane: Plane) -> None:
    made = plane.post("/admin/admin-keys", {"name": "x", "role": "viewer"})
    path = f"/admin/admin-keys/{made['id']}"
    plane.delete(path)
    assert plane.get(path)["revoked_at"] == "2026-11-25T04:00:00Z"
    assert plane.refused("DELETE", path)["status"] == 409
    assert plane.refused("PATCH", path, {"name": "y"})["status"] == 409
    assert plane.refused("GET", "/admin/admin-keys/akey_nobody")["status"] == 404
    assert plane.refused("POST", "/admin/admin-keys", {"name": "x", "role": "root"})["param"] == "role"


def test_the_first_key_is_made_once(plane: Plane) -> None:
    with plane.engine.begin() as conn:
        assert any_admin_key(conn)
        assert not ensure_first_admin_key(conn, OWNER, START_US)
        assert ensure_first_admin_key(conn, "another-key-of-sixteen", START_US)
    keys = plane.get("/admin/admin-keys", key="another-key-of-sixteen")["data"]
    [again] = [key for key in keys if key["hint"] == "...teen"]
    assert again["role"] == "owner"
    plane.delete(f"/admin/admin-keys/{again['id']}")
    with plane.engine.begin() as conn:
        assert not ensure_first_admin_key(conn, "another-key-of-sixteen", START_US)
    assert plane.refused("GET", "/admin/accounts", key="another-key-of-sixteen")["status"] == 401
