"""Two workers over one database behave as one gateway: what one knows, the other knows within a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.conftest import more_providers
from tests.e2e.teams import Team, nano
from tests.e2e.upstream import ScriptedUpstream
from tests.running import Client, Gateway, eventually, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(
    tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders, scripted: ScriptedUpstream
) -> Iterator[Gateway]:
    """The worker that administrators speak to."""
    settings = more_providers(simulated, scripted)
    with running(tmp_path_factory.mktemp("here"), simulated, settings=settings) as process:
        yield process


@pytest.fixture(scope="module")
def there(
    tmp_path_factory: pytest.TempPathFactory,
    here: Gateway,
    simulated: SimulatedProviders,
    scripted: ScriptedUpstream,
) -> Iterator[Gateway]:
    """Another worker, at a port of its own, over the same database."""
    folder, settings = tmp_path_factory.mktemp("there"), more_providers(simulated, scripted)
    with running(folder, simulated, database_url=here.database_url, settings=settings) as process:
        yield process


@pytest.fixture
def team(here: Gateway, request: pytest.FixtureRequest) -> Team:
    return Team(here, request.node.name[:60])


def call(client: Client, max_tokens: int = 5) -> int:
    return client.chat("gpt-4.1", "[[sim: words=3]]", max_tokens=max_tokens).status


def test_a_new_key_and_its_budget_are_known_at_once(team: Team, there: Gateway) -> None:
    team.budget("0.000001")
    assert call(there.client(team.key)) == 429
    team.account = team.gateway.account("rich")
    team.make_key()
    assert call(there.client(team.key)) == 200


def test_a_receipt_can_be_read_at_the_other_worker_at_once(team: Team, there: Gateway) -> None:
    for _ in range(5):
        answer = team.client.chat("gpt-4.1", "[[sim: words=3]]", max_tokens=5)
        receipt = there.client(team.key).get(f"/v1/calls/{answer.headers['x-tollgate-call-id']}")
        assert (receipt["status"], receipt["usage"]["output"]) == ("finished", 3)


@pytest.mark.parametrize("what", ["key", "account"])
def test_a_block_is_known_within_a_second(team: Team, there: Gateway, what: str) -> None:
    key = team.gateway.admin.post("/admin/keys", {"account": team.account, "name": "to block"})
    other = there.client(key["key"])
    assert call(other) == 200
    path = f"/admin/keys/{key['id']}" if what == "key" else f"/admin/accounts/{team.account}"
    team.gateway.admin.patch(path, {"status": "blocked"})
    eventually(lambda: call(other) == 403, "it is blocked", 1.0)
    team.gateway.admin.patch(path, {"status": "active"})
    eventually(lambda: call(other) == 200, "it is not blocked any more", 1.0)


def test_a_revoked_key_is_known_within_a_second(team: Team, there: Gateway) -> None:
    key = team.gateway.admin.post("/admin/keys", {"account": team.account, "name": "to revoke"})
    other = there.client(key["key"])
    assert call(other) == 200
    team.gateway.admin.delete(f"/admin/keys/{key['id']}")
    eventually(lambda: call(other) == 401, "it is revoked", 1.0)


def test_a_new_cap_is_known_within_a_second(team: Team, there: Gateway) -> None:
    budget = team.budget("0.00001")
    other = there.client(team.key)
    assert call(other) == 429
    team.gateway.admin.patch(f"/admin/budgets/{budget}", {"cap": "5.00"})
    eventually(lambda: call(other) == 200, "there is room", 1.0)
    charged = sum(row["charge"] for row in team.booked(1))
    assert nano(team.gateway.window(budget)["spent"]) == charged > 0


def test_a_new_price_is_known_within_a_second(team: Team, there: Gateway) -> None:
    model = f"openai/model-{team.account[-8:].lower()}"
    other = there.client(team.key)
    assert other.chat(model, "hi").status == 402
    for meter in ("input", "output"):
        row = {"provider": "openai", "model": model[7:], "meter": meter, "usd_per_million": "1"}
        team.gateway.admin.post("/admin/prices", {**row, "effective_from": "2025-01-01T00:00:00Z"})
    # The simulated provider does not have it: its own 404 shows that the call was let through.
    eventually(lambda: other.chat(model, "hi").status == 404, "the price is known", 1.0)


def test_a_call_fits_whatever_idles_in_the_other_workers_lease(team: Team, there: Gateway) -> None:
    # Calls leave slack in both workers' leases; the last one needs nearly all that is left.
    team.budget("0.1000")
    other = there.client(team.key)
    for client in (team.client, other) * 3:
        assert call(client, 500) == 200
    assert call(other, 12_000) == 200
