"""Credit from its gift to its end: spent by calls in the order of its grants, expired in plain sight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.teams import Team, nano
from tests.running import eventually

pytestmark = pytest.mark.slow


def give(team: Team, amount: str, **fields: Any) -> str:
    body = {"account": team.account, "unit": "usd", "amount": amount, **fields}
    return str(team.gateway.admin.post("/admin/grants", body)["id"])


def grant(team: Team, named: str) -> dict[str, Any]:
    found: dict[str, Any] = team.gateway.admin.get(f"/admin/grants/{named}")
    return found


def test_what_expires_first_is_spent_first_and_the_rest_expires_visibly(team: Team) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    lasting, brief = give(team, "0.25"), give(team, "0.50", expires_at=soon)
    assert team.client.chat("gpt-4.1", "[[sim: words=20]]", max_tokens=50).status == 200
    charge = team.booked(1)[0]["charge"]

    def expired() -> dict[str, Any] | None:
        found = grant(team, brief)
        return found if found["remaining"] == "0" else None

    over = eventually(expired, "what was left of it has expired", 40)
    assert nano(over["burnt"]) == charge
    assert nano(over["expired"]) == 500_000_000 - charge
    assert (grant(team, lasting)["burnt"], grant(team, lasting)["remaining"]) == ("0", "0.25")
    [pool] = team.client.get("/v1/key")["budgets"]
    assert nano(pool["cap"]) == 250_000_000 + charge
    assert team.client.chat("gpt-4.1", "[[sim: words=20]]", max_tokens=50).status == 200
    eventually(lambda: nano(grant(team, lasting)["burnt"]) > 0, "the other one pays now")


def test_spent_credit_is_refused_and_another_grant_serves(team: Team) -> None:
    give(team, "0.000001")
    refused = team.client.chat("gpt-4.1", "[[sim: words=20]]", max_tokens=50)
    assert (refused.status, refused.code) == (429, "budget_exceeded")
    give(team, "0.10")
    eventually(
        lambda: team.client.chat("gpt-4.1", "[[sim: words=20]]", max_tokens=50).status == 200, "it is served"
    )
