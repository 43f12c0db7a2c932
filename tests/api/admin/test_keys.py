"""Virtual keys over HTTP: shown once, changed, rotated, revoked."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from gateway.domain.keys import fingerprint, parse
from gateway.store.tenancy import key_by_fingerprint, keys_since
from tests.api.admin.conftest import Plane


@pytest.fixture
def account(plane: Plane) -> str:
    return str(plane.post("/admin/accounts", {"name": "acme"})["id"])


def key(plane: Plane, account: str, **more: Any) -> Any:
    return plane.post("/admin/keys", {"account": account, "name": "ci", **more})


def test_the_text_is_shown_once_and_stored_nowhere(plane: Plane, account: str) -> None:
    made = key(plane, account, models=["gpt-*"], max_output_tokens=2048, tags={"env": "prod"})
    assert parse(made["key"]) is not None
    assert made["hint"] == f"sk-tg-...{made['key'][-4:]}"
    read = plane.get(f"/admin/keys/{made['id']}")
    assert "key" not in read
    assert {**read, "key": made["key"]} == made
    assert (read["on_over_cap"], read["require_end_user"], read["sees_account"]) == ("clamp", False, False)
    with plane.engine.connect() as conn:
        for table in ("virtual_keys", "audit", "answers", "accounts"):
            assert made["key"] not in str(conn.execute(text(f"SELECT * FROM {table}")).all())
        stored = key_by_fingerprint(conn, fingerprint(made["key"]))
    assert stored is not None
    assert (stored.id, stored.models, dict(stored.tags)) == (made["id"], ("gpt-*",), {"env": "prod"})
    assert stored.charged_to == made["id"]


def test_lists_leave_revoked_keys_out_unless_asked(plane: Plane, account: str) -> None:
    other = plane.post("/admin/accounts", {"name": "globex"})["id"]
    mine, theirs, gone = key(plane, account), key(plane, other), key(plane, account)
    plane.delete(f"/admin/keys/{gone['id']}")

    def listed(query: str) -> set[str]:
        return {each["id"] for each in plane.get(f"/admin/keys?{query}")["data"]}

    assert listed("") == {mine["id"], theirs["id"]}
    assert listed(f"account={account}") == {mine["id"]}
    assert listed(f"account={account}&revoked=true") == {mine["id"], gone["id"]}


def test_changes_reach_whoever_polls(plane: Plane, account: str) -> None:
    made = key(plane, account)
    engine = plane.engine
    with engine.connect() as conn:
        known = max(each.revision for each in keys_since(conn, 0))
    plane.changed.clear()
    changed = plane.patch(
        f"/admin/keys/{made['id']}",
        {"status": "blocked", "models": ["o*"], "expires_at": "2027-01-01T01:00:00+01:00"},
    )
    assert plane.changed == ["keys"]
    assert changed["expires_at"] == "2027-01-01T00:00:00Z"
    with engine.connect() as conn:
        [row] = keys_since(conn, known)
    assert (row.status, row.models, row.is_expired(row.expires_at_us or 0)) == ("blocked", ("o*",), True)
    cleared = plane.patch(f"/admin/keys/{made['id']}", {"models": None, "expires_at": None})
    assert (cleared["models"], cleared["expires_at"], cleared["status"]) == (None, None, "blocked")


def test_rotating_keeps_the_id_and_ends_the_old_text(plane: Plane, account: str) -> None:
    made = key(plane, account)
    renewed = plane.post(f"/admin/keys/{made['id']}/rotate", {})
    assert renewed["id"] == made["id"]
    assert renewed["key"] != made["key"]
    engine = plane.engine
    with engine.connect() as conn:
        new = key_by_fingerprint(conn, fingerprint(renewed["key"]))
        old = key_by_fingerprint(conn, fingerprint(made["key"]))
    assert new is not None
    assert old is not None
    assert (new.id, new.status) == (made["id"], "active")
    assert (old.status, old.rotated_to, old.charged_to) == ("revoked", made["id"], made["id"])


def test_an_old_text_in_its_grace_follows_its_key(plane: Plane, account: str) -> None:
    made = key(plane, account)
    renewed = plane.post(f"/admin/keys/{made['id']}/rotate", {"grace_s": 3600})
    engine = plane.engine

    def old_text() -> Any:
        with engine.connect() as conn:
            return key_by_fingerprint(conn, fingerprint(made["key"]))

    assert old_text().status == "active"
    assert old_text().expires_at_us == plane.clock.now_us() + 3_600_000_000
    assert old_text().charged_to == made["id"]
    plane.patch(f"/admin/keys/{made['id']}", {"status": "blocked", "expires_at": "2030-01-01T00:00:00Z"})
    assert old_text().status == "blocked"
    assert old_text().expires_at_us == plane.clock.now_us() + 3_600_000_000
    assert plane.refused("POST", f"/admin/keys/{old_text().id}/rotate", {})["status"] == 400
    plane.patch(f"/admin/keys/{made['id']}", {"status": "active"})
    plane.post(f"/admin/keys/{made['id']}/rotate", {"grace_s": 60})
    assert old_text().status == "active"
    plane.delete(f"/admin/keys/{made['id']}")
    with engine.connect() as conn:
        assert {each.status for each in keys_since(conn, 0)} == {"revoked"}
        assert renewed["key"] not in str(conn.execute(text("SELECT * FROM audit")).all())


def test_a_revoked_key_takes_no_change(plane: Plane, account: str) -> None:
    made = key(plane, account)
    path = f"/admin/keys/{made['id']}"
    plane.delete(path)
    read = plane.get(path)
    assert (read["status"], read["revoked_at"]) == ("revoked", "2026-11-25T04:00:00Z")
    for method, where, body in (
        ("PATCH", path, {"status": "active"}),
        ("POST", f"{path}/rotate", {}),
        ("DELETE", path, None),
    ):
        assert plane.refused(method, where, body)["status"] == 409
    assert plane.refused("DELETE", "/admin/keys/key_nobody")["status"] == 404


REFUSED: list[tuple[Any, str, str]] = [
    ({"account": "acct_nobody"}, "account", "not_found"),
    ({"models": []}, "models", "invalid_value"),
    ({"models": ["gpt 4"]}, "models", "invalid_value"),
    ({"models": "gpt-4"}, "models", "invalid_value"),
    ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
    ({"max_output_tokens": 2**70}, "max_output_tokens", "invalid_value"),
    ({"max_output_tokens": "5"}, "max_output_tokens", "invalid_value"),
    ({"on_over_cap": "ignore"}, "on_over_cap", "invalid_value"),
    ({"expires_at": "2026-11-25T04:00:00Z"}, "expires_at", "invalid_value"),
    ({"expires_at": "2026-12-25"}, "expires_at", "invalid_value"),
    ({"expires_at": "2026-12-25T00:00:00"}, "expires_at", "invalid_value"),
    ({"expires_at": "9999-12-25T00:00:00Z"}, "expires_at", "invalid_value"),
    ({"tags": {"a": "b\r\nc"}}, "tags", "invalid_value"),
    ({"tags": {"a\u0000": "b"}}, "tags", "invalid_value"),
    ({"tags": {"a": 1}}, "tags[...]", "invalid_value"),
    ({"tags": {f"t{number}": "x" for number in range(17)}}, "tags", "invalid_value"),
    ({"name": "x\u0000"}, "name", "invalid_value"),
    ({"requir_end_user": True}, "requir_end_user", "unsupported_field"),
]


def test_what_cannot_be_kept_is_refused_by_name(plane: Plane, account: str) -> None:
    for body, param, code in REFUSED:
        problem = plane.refused("POST", "/admin/keys", {"account": account, "name": "ci", **body})
        assert (problem["code"], problem["param"]) == (code, param), body
    assert plane.get("/admin/keys")["data"] == []
