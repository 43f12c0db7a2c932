"""Webhooks over the admin API."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import text

from gateway.store.events import Event, write_events
from gateway.store.outbox import spread
from tests.api.admin.conftest import START_US, Plane

URL = "http://127.0.0.1:9/hook?token=abc"


def webhook(plane: Plane, **fields: Any) -> Any:
    return plane.post("/admin/webhooks", {"target": URL, **fields})


def test_a_secret_is_shown_once_and_nothing_secret_is_kept_readable(plane: Plane) -> None:
    made = webhook(plane)
    assert made["id"].startswith("whk_")
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made["secret"])
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert shown["target"] == "http://127.0.0.1:9/hook?..."
    assert (shown["events"], shown["format"], shown["status"]) == (["budget.*"], "standard", "active")
    assert plane.get(f"/admin/webhooks/{made['id']}") == shown
    assert plane.get("/admin/webhooks")["data"] == [shown]
    with plane.engine.connect() as conn:
        kept = str(conn.execute(text("SELECT * FROM webhooks")).all())
        kept += str(conn.execute(text("SELECT * FROM audit")).all())
    assert made["secret"] not in kept
    assert "token=abc" not in kept


def test_what_may_be_shown_of_other_formats(plane: Plane) -> None:
    key = "R0123456789abcdefghijklmnopqrstu"
    made = [
        webhook(plane, format="slack", target="http://127.0.0.1:9/services/T0/B0/secret"),
        webhook(plane, format="pagerduty", target=f"http://127.0.0.1:9/v2/enqueue#{key}"),
        webhook(plane, format="email", target="mailto:finance@example.com"),
    ]
    assert [(each["target"], each["secret"]) for each in made] == [
        ("http://127.0.0.1:9/...", None),
        ("http://127.0.0.1:9/v2/enqueue#...rstu", None),
        ("mailto:finance@example.com", None),
    ]
    refused = plane.refused("POST", f"/admin/webhooks/{made[0]['id']}/rotate", {})
    assert refused["status"] == 409


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"target": "http://169.254.169.254/latest"}, "target"),
        ({"target": "https://[::1]/"}, "target"),
        ({"target": "ftp://127.0.0.1/"}, "target"),
        ({"target": "http://a-name-that-nobody-has.invalid/"}, "target"),
        ({"events": ["budgets.*"]}, "events"),
        ({"events": []}, "events"),
        ({"format": "carrier pigeon"}, "format"),
        ({"format": "pagerduty"}, "target"),
        ({"format": "email", "target": "nobody"}, "target"),
        ({"account": "acct_none"}, "account"),
    ],
)
def test_what_cannot_be_is_refused_by_name(plane: Plane, fields: dict[str, Any], param: str) -> None:
    problem = plane.refused("POST", "/admin/webhooks", {"target": URL, **fields})
    assert problem["status"] in (400, 404)
    assert problem["param"] == param
    assert plane.get("/admin/webhooks")["data"] == []


def test_a_webhook_is_changed_disabled_and_deleted(plane: Plane) -> None:
    made = webhook(plane)
    path = f"/admin/webhooks/{made['id']}"
    changed = plane.patch(path, {"events": ["price.*", "key.revoked"], "status": "disabled"})
    assert (changed["events"], changed["status"]) == (["price.*", "key.revoked"], "disabled")
    assert plane.refused("POST", f"{path}/test")["status"] == 409
    assert plane.patch(path, {"status": "active"})["status"] == "active"
    assert plane.refused("PATCH", path, {"events": ["nothing"]})["status"] == 400
    stale = plane.refused("PATCH", path, {"status": "active"}, headers={"if-match": '"0"'})
    assert stale["status"] == 412
    plane.delete(path)
    assert plane.refused("GET", path)["status"] == 404
    assert plane.get("/admin/webhooks")["data"] == []


def test_a_rotated_secret_overlaps(plane: Plane) -> None:
    made = webhook(plane)
    again = plane.post(f"/admin/webhooks/{made['id']}/rotate", {"overlap_s": 60})
    assert again["secret"] not in (made["secret"], None)
    assert again["rotating_until"] == "2026-11-25T04:01:00Z"
    plane.clock.advance(60)
    assert plane.get(f"/admin/webhooks/{made['id']}")["rotating_until"] is None
    actions = [each["action"] for each in plane.get("/admin/audit")["data"]]
    assert actions[:2] == ["webhook.rotate", "webhook.create"]


def test_the_log_of_deliveries(plane: Plane) -> None:
    made = webhook(plane, events=["price.*"])
    with plane.engine.begin() as conn:
        events = [
            Event("price.missing", f"missing {number}", None, "o/m", {"provider": "o", "model": "m"})
            for number in range(3)
        ]
        write_events(conn, events, START_US)
        spread(conn, START_US)
        conn.execute(text("UPDATE deliveries SET status = 'dead', attempts = 10, finished_at = created_at"))
    plane.clock.advance(1)
    tested = plane.post(f"/admin/webhooks/{made['id']}/test", {})
    assert (tested["event"], tested["status"], tested["attempts"]) == ("webhook.test", "pending", 0)
    log = plane.get(f"/admin/webhooks/{made['id']}/deliveries")["data"]
    assert [each["status"] for each in log] == ["dead", "dead", "dead", "pending"]
    dead = plane.get(f"/admin/webhooks/{made['id']}/deliveries?status=dead&limit=2")
    assert (len(dead["data"]), dead["has_more"]) == (2, True)
    again = plane.post(f"/admin/deliveries/{dead['data'][0]['id']}/replay", {})
    assert (again["status"], again["attempts"], again["finished_at"]) == ("pending", 0, None)
    assert again["event_id"] == dead["data"][0]["event_id"]
    assert plane.get(f"/admin/deliveries/{again['id']}") == again
    assert plane.refused("POST", "/admin/deliveries/dlv_none/replay")["status"] == 404


def test_a_viewer_only_looks(plane: Plane) -> None:
    made = webhook(plane)
    key = "viewer-key-of-the-tests"
    assert plane.get("/admin/webhooks", key=key)["data"][0]["id"] == made["id"]
    assert plane.refused("POST", f"/admin/webhooks/{made['id']}/test", key=key)["status"] == 403
