"""`tollgate accounts`, `keys`, `grants`, `leases` and `audit` against a running plane."""

from __future__ import annotations

from pathlib import Path

import msgspec
from sqlalchemy import text

from gateway.domain.keys import parse
from tests.api.admin.conftest import START_US, Plane
from tests.cli.conftest import Tollgate


def test_accounts_are_named_by_path(tollgate: Tollgate) -> None:
    made = tollgate("accounts", "create", "acme", "--kind", "organization", "--timezone", "Europe/Berlin")
    assert made.out.startswith("acct_")
    assert "Created account acme." in made.err
    below = tollgate("accounts", "create", "acme/search", "--cost-center", "4711", "--json").json
    assert (below["path"], below["timezone"], below["cost_center"]) == (
        "acme/search",
        "Europe/Berlin",
        "4711",
    )
    tollgate("accounts", "create", "globex")
    lines = tollgate("accounts", "list").out.splitlines()
    assert [line.split()[0] for line in lines if "acct_" in line] == ["acme", "search", "globex"]
    moved = tollgate("accounts", "move", "acme/search", "globex", "--name", "find")
    assert "globex/find" in moved.err
    assert tollgate("accounts", "move", "globex/find", "/", "--json").json["path"] == "find"
    tollgate("accounts", "block", "find")
    [found] = [each for each in tollgate("accounts", "list", "--json").json if each["path"] == "find"]
    assert found["status"] == "blocked"
    assert "find is active" in tollgate("accounts", "block", "find", "--undo").err
    assert "There is no account" in tollgate("accounts", "create", "nowhere/x", status=1).err


def test_a_key_is_alone_on_stdout(tollgate: Tollgate) -> None:
    tollgate("accounts", "create", "acme")
    made = tollgate(
        "keys", "create", "acme", "ci", "--model", "gpt-*", "--model", "o*", "--max-output-tokens", "2048",
        "--refuse", "--expires", "2027-01-01", "--tag", "env=prod",
    )  # fmt: skip
    key = made.out.strip()
    assert parse(key) is not None
    assert "not shown again" in made.err
    [stored] = tollgate("keys", "list", "--json").json
    assert (stored["models"], stored["on_over_cap"], stored["tags"]) == (
        ["gpt-*", "o*"],
        "refuse",
        {"env": "prod"},
    )
    assert stored["expires_at"] == "2027-01-01T00:00:00Z"
    table = tollgate("keys", "list", "--account", "acme").out
    assert "acme" in table
    assert "2,048" in table
    assert key not in table
    renewed = tollgate("keys", "rotate", stored["id"], "--grace", "1h").out.strip()
    assert parse(renewed) is not None
    assert renewed != key
    assert "old text of" in tollgate("keys", "list").out
    assert "blocked" in tollgate("keys", "block", stored["id"]).err
    assert tollgate("keys", "block", stored["id"], "--undo", "--json").json["status"] == "active"
    assert tollgate("keys", "revoke", stored["id"], "--json").json["status"] == "revoked"
    assert tollgate("keys", "list", "--json").json == []
    assert len(tollgate("keys", "list", "--revoked", "--json").json) == 2
    assert "revoked" in tollgate("keys", "block", stored["id"], status=1).err


def test_grants_show_what_remains(tollgate: Tollgate) -> None:
    tollgate("accounts", "create", "acme")
    given = tollgate("grants", "add", "acme", "100000", "--unit", "tokens", "--expires", "2027-01-01")
    assert given.out.startswith("grant_")
    tollgate("grants", "add", "acme", "5.00", "--reason", "welcome", "--priority", "2")
    table = tollgate("grants", "list", "--account", "acme").out
    assert "100000" in table
    assert "welcome" in table
    assert {each["remaining"] for each in tollgate("grants", "list", "--json").json} == {"100000", "5"}
    assert "whole number" in tollgate("grants", "add", "acme", "1.5", "--unit", "tokens", status=2).err


def test_a_lost_workers_lease_is_released(tollgate: Tollgate, plane: Plane) -> None:
    made = plane.post("/admin/budgets", {"name": "cap", "cap": "25", "period": "day"})
    with plane.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO journals"
                " (id, data_dir, serial, posted, state, seen_at, complete_until, created_at, host)"
                " VALUES ('jrnl_b', 'd', 7, 0, 'live', :seen, 0, 0, 'lost-host')"
            ),
            {"seen": START_US},
        )
        conn.execute(
            text(
                "INSERT INTO leases (journal, win, amount, held, answered)"
                " VALUES ('jrnl_b', :w, 3000000000, 0, 0)"
            ),
            {"w": int(made["window"]["id"])},
        )
        conn.execute(text("UPDATE windows SET leased = 3000000000"))
    assert "lost-host" in tollgate("leases", "list").out
    [lease] = tollgate("leases", "list", "--json").json
    refused = tollgate("leases", "release", lease["id"], status=1)
    assert "force" in refused.err
    assert "Released" in tollgate("leases", "release", lease["id"], "--force").err
    assert plane.get(f"/admin/budgets/{made['id']}")["window"]["released"] == "3"


def test_the_audit_log_is_read_and_verified(tollgate: Tollgate, plane: Plane, tmp_path: Path) -> None:
    tollgate("accounts", "create", "acme")
    tollgate("accounts", "block", "acme")
    table = tollgate("audit", "list").out
    assert "status: active → blocked" in table
    assert len(tollgate("audit", "list", "--last", "2", "--json").json) == 2
    assert "intact: 3 rows" in tollgate("audit", "verify").out
    path = tmp_path / "audit.jsonl"
    assert "Wrote 3 changes" in tollgate("audit", "export", str(path)).err
    written = [msgspec.json.decode(line) for line in path.read_text().splitlines()]
    assert written == tollgate("audit", "list", "--json").json
    assert "cannot be written" in tollgate("audit", "export", str(tmp_path), status=2).err
    with plane.engine.begin() as conn:
        conn.execute(text("UPDATE audit SET actor = 'nobody' WHERE action = 'account.create'"))
    assert "broken at row" in tollgate("audit", "verify", status=1).out
    assert tollgate("audit", "verify", "--json", status=1).json["intact"] is False
