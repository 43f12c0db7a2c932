"""Re-rating: shown first, booked as adjustments, once; every figure moves together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.teams import Team, nano
from tests.running import ADMIN_KEY


def post_price(team: Team, meter: str, usd: str) -> None:
    """A price that the team should have paid all the time, and nobody else."""
    price = {"provider": "openai", "model": "gpt-4.1", "meter": meter, "usd_per_million": usd}
    since = {"effective_from": "2024-01-01T00:00:00Z", "account": team.account}
    team.gateway.admin.post("/admin/prices", {**price, **since})


def rerate(team: Team, **fields: Any) -> dict[str, Any]:
    body = {"start": "2025-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z", "account": team.account}
    found: dict[str, Any] = team.gateway.admin.post("/admin/rerate", {**body, **fields})
    return found


def tollgate(team: Team, *arguments: str) -> Any:
    environ = {
        **os.environ,
        "TOLLGATE_URL": team.gateway.url,
        "TOLLGATE_ADMIN_KEY": ADMIN_KEY,
    }
    command = [sys.executable, "-m", "gateway", *arguments, "--json"]
    return json.loads(subprocess.run(command, env=environ, check=True, capture_output=True).stdout)


@pytest.fixture
def charged(team: Team) -> list[int]:
    """The charges of three calls, at the list's 2 and 8 USD per million."""
    team.budget("50.00")
    for _ in range(3):
        assert team.client.chat("gpt-4.1", "[[sim: words=20]]", max_tokens=50).status == 200
    return [row["charge"] for row in team.booked(3)]


def test_a_price_that_was_wrong_is_put_right(team: Team, charged: list[int]) -> None:
    post_price(team, "output", "12")
    output = [row["usage"]["output"] for row in team.rows()]
    more = sum(output) * 4_000
    shown = rerate(team, dry_run=True)
    assert (shown["dry_run"], shown["looked_at"], shown["changed"]) == (True, 3, 3)
    assert nano(shown["change"]) == more
    [group] = shown["data"]
    assert (group["account"], group["model"], group["calls"]) == (team.account, "openai/gpt-4.1", 3)
    assert (nano(group["before"]), nano(group["after"])) == (sum(charged), sum(charged) + more)
    assert len(team.rows()) == 3, "nothing is booked by looking"

    assert rerate(team)["data"] == shown["data"]
    calls = [row for row in team.rows() if row["kind"] == "call"]
    adjustments = [row for row in team.rows() if row["kind"] == "adjustment"]
    assert [row["charge"] for row in calls] == charged, "what is booked stays"
    assert sorted(row["charge"] for row in adjustments) == sorted(each * 4_000 for each in output)
    assert {row["attempt"] for row in adjustments} == {row["id"] for row in calls}
    for row in adjustments:
        assert [(line[0], line[3], line[1] > 0) for line in row["lines"]] == [
            ("output", 12_000_000, True),
            ("output", 8_000_000, False),
        ]
        assert row["reason"] == "rerate"
    total = sum(charged) + more
    assert nano(team.settled()["spent"]) == total
    sums = team.sql("SELECT SUM(cost) AS cost, SUM(quantity) AS q FROM rollups WHERE account = :account")
    assert sums[0]["cost"] == total
    report = team.gateway.admin.get(f"/reports/spend?start=2025-01-01&end=2099-01-01&account={team.account}")
    assert nano(report["total"]["cost"]) == total

    again = rerate(team)
    assert (again["looked_at"], again["changed"]) == (3, 0), "once is enough"
    assert len(team.rows()) == 6


def test_a_receipt_explains_it(team: Team, charged: list[int]) -> None:
    post_price(team, "input", "1")
    rerate(team, reason="the contract says so")
    first = next(row for row in team.rows() if row["kind"] == "call")
    receipt = team.receipt(first["call"])
    assert nano(receipt["cost_usd"]) == charged[0] - first["usage"]["input"] * 1_000
    prices = {(line["meter"], line["usd_per_million"], line["quantity"]) for line in receipt["lines"]}
    count = first["usage"]["input"]
    assert {("input", "2", count), ("input", "2", -count), ("input", "1", count)} <= prices


def test_it_goes_on_where_it_stopped(team: Team, charged: list[int]) -> None:
    post_price(team, "output", "9")
    first = rerate(team, limit=2)
    assert (first["looked_at"], first["changed"], first["has_more"]) == (2, 2, True)
    rest = rerate(team, limit=2, after=first["next"])
    assert (rest["looked_at"], rest["changed"], rest["has_more"], rest["next"]) == (1, 1, False, None)


def test_only_what_is_asked_for(team: Team, charged: list[int]) -> None:
    post_price(team, "output", "9")
    for nothing in (
        {"model": "openai/gpt-4o"},
        {"end": "2025-01-02T00:00:00Z"},
        {"account": team.gateway.account(f"beside-{team.account}")},
    ):
        assert rerate(team, **nothing)["looked_at"] == 0
    for named in ("gpt-4.1", "openai/gpt-4.1"):
        assert rerate(team, model=named, dry_run=True)["changed"] == 3


@pytest.mark.slow
def test_from_the_command_line(team: Team, charged: list[int]) -> None:
    post_price(team, "output", "10")
    period = ("--start", "2025-01-01", "--end", "2099-01-01", "--account", team.account)
    shown = tollgate(team, "rerate", "--dry-run", *period)
    assert (shown["dry_run"], shown["changed"]) == (True, 3)
    assert nano(shown["data"][0]["before"]) == sum(charged)
    assert tollgate(team, "rerate", *period) == {**shown, "dry_run": False}
    assert tollgate(team, "rerate", *period)["changed"] == 0
