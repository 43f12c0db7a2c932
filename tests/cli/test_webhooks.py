"""`tollgate webhooks` against a running plane, whose alerts are delivered by the test."""

from __future__ import annotations

from sqlalchemy import text

from tests.api.admin.conftest import Plane
from tests.cli.conftest import Tollgate

URL = "http://127.0.0.1:9/hook"


def test_a_secret_is_alone_on_stdout(tollgate: Tollgate) -> None:
    tollgate("accounts", "create", "acme")
    made = tollgate("webhooks", "add", URL, "--event", "price.*", "--event", "key.*", "--account", "acme")
    assert made.out.startswith("whsec_")
    assert "not shown again" in made.err
    [stored] = tollgate("webhooks", "list", "--json").json
    assert stored["events"] == ["price.*", "key.*"]
    assert URL in tollgate("webhooks", "list").out
    renewed = tollgate("webhooks", "rotate", stored["id"], "--overlap", "1h")
    assert renewed.out.startswith("whsec_")
    assert renewed.out != made.out
    slack = tollgate("webhooks", "add", URL, "--format", "slack")
    assert slack.out.startswith("whk_")
    assert "not signed" in slack.err
    assert "may not be a target" in tollgate("webhooks", "add", "https://10.0.0.1/", status=2).err


def test_a_replay_says_what_became_of_it(tollgate: Tollgate, plane: Plane) -> None:
    made = tollgate("webhooks", "add", URL, "--json").json
    delivery = plane.post(f"/admin/webhooks/{made['id']}/test", {})["id"]
    with plane.engine.begin() as conn:
        conn.execute(
            text("INSERT INTO delivery_attempts VALUES (:id, 1, 7000, 500, 'HTTP 500: no')"), {"id": delivery}
        )
        conn.execute(text("UPDATE deliveries SET status = 'dead', attempts = 10"))
    line = tollgate("webhooks", "log", made["id"]).out
    assert "webhook.test" in line
    assert "HTTP 500: no" in line
    assert tollgate("webhooks", "log", made["id"], "--status", "pending", "--json").json == []
    assert "There is no delivery" in tollgate("webhooks", "replay", "dlv_none", status=1).err
