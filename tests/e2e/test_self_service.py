"""What a key may ask about itself, over HTTP: who am I, what would it cost, what did it cost."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano
from tests.running import eventually

pytestmark = pytest.mark.slow

HELLO: Any = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "[[sim: words=10]]"}]}


def test_a_key_sees_itself_and_its_budgets(team: Team) -> None:
    team.budget("5.00", name="ours")
    team.make_key(name="ci", models=["gpt-*"], max_output_tokens=100, tags={"env": "prod"})
    found = team.client.get("/v1/key")
    assert (found["object"], found["name"], found["models"]) == ("key", "ci", ["gpt-*"])
    assert (found["max_output_tokens"], found["tags"]) == (100, {"env": "prod"})
    assert found["hint"].startswith("sk-tg-...")
    assert team.key not in str(found)
    (budget,) = found["budgets"]
    figures = {name: budget[name] for name in ("name", "cap", "spent", "held", "remaining")}
    assert figures == {"name": "ours", "cap": "5", "spent": "0", "held": "0", "remaining": "5"}
    assert budget["resets_at"].endswith("T00:00:00Z")


def test_budgets_move_as_calls_do(team: Team, providers: SimulatedProviders) -> None:
    team.budget("5.00")
    stream = team.client.stream("gpt-4.1", "[[sim: words=10 hold=door]]", max_tokens=1000)
    stream.next()
    (budget,) = team.client.get("/v1/key")["budgets"]
    held = nano(budget["held"])
    assert held >= 1000 * 8_000
    assert nano(budget["remaining"]) == nano(budget["cap"]) - held
    providers.release("door")
    stream.read()
    stream.close()
    settled = team.settled()
    assert nano(settled["spent"]) == team.booked(1)[0]["charge"]
    assert nano(settled["remaining"]) + nano(settled["spent"]) == 5_000_000_000


def test_a_budget_above_shows_name_and_reset_alone(team: Team) -> None:
    team.budget("5.00", name="company")
    team.account = team.gateway.admin.post("/admin/accounts", {"name": "sub", "parent": team.account})["id"]
    team.budget("1.00", name="team")
    shown = {budget["name"]: budget for budget in team.client.get("/v1/key")["budgets"]}
    assert set(shown["company"]) == {"name", "resets_at"}
    assert shown["team"]["cap"] == "1"
    answer = team.client.call("POST", "/v1/chat/completions", HELLO)
    # Nor does the tightest budget's headroom in a header tell of the company's.
    assert nano(answer.headers["x-tollgate-budget-remaining-usd"]) < 1_000_000_000
    budgets = {each["name"]: each for each in team.receipt_of(answer)["budgets"]}
    assert set(budgets["company"]) == {"name", "resets_at"}
    assert nano(budgets["team"]["charged"]) == nano(answer.headers["x-tollgate-cost-usd"])


def test_an_estimate_holds_nothing_and_is_what_the_call_holds(team: Team) -> None:
    team.budget("5.00")
    body = {**HELLO, "max_tokens": 500}
    estimate = team.client.post("/v1/estimate", body)
    assert (estimate["object"], estimate["model"], estimate["provider"]) == ("estimate", "gpt-4.1", "openai")
    assert (estimate["max_output_tokens"], estimate["clamped"]) == (500, False)
    (budget,) = estimate["budgets"]
    assert budget["could_pay"] is True
    assert budget["needs"] == estimate["quote_usd"]
    assert team.client.get("/v1/key")["budgets"][0]["held"] == "0"
    answer = team.client.call("POST", "/v1/chat/completions", body)
    assert team.receipt_of(answer)["hold_usd"] == estimate["quote_usd"]


def test_an_estimate_says_what_cannot_be_paid(team: Team) -> None:
    team.budget("0.001")
    estimate = team.client.post("/v1/estimate", {**HELLO, "max_tokens": 5000})
    assert estimate["budgets"][0]["could_pay"] is False


def test_an_estimate_refuses_what_the_call_would(team: Team) -> None:
    answer = team.client.call("POST", "/v1/estimate", {"model": "gpt-4.1"})
    assert (answer.status, answer.code) == (400, "invalid_value")


def test_a_call_under_way_has_a_receipt_that_says_so(team: Team, providers: SimulatedProviders) -> None:
    stream = team.client.stream("gpt-4.1", "[[sim: words=10 hold=door]]", max_tokens=1000)
    call = stream.headers["x-tollgate-call-id"]
    running = team.receipt(call)
    assert (running["status"], running["finished_at"], running["cost_usd"]) == ("running", None, None)
    providers.release("door")
    stream.read()
    stream.close()
    assert team.receipt(call)["status"] == "finished"


def test_a_receipt_is_the_same_from_the_journal_and_from_the_ledger(team: Team) -> None:
    team.budget("5.00")
    answer = team.client.call("POST", "/v1/chat/completions", HELLO)
    at_once = team.receipt_of(answer)
    team.booked(1)
    assert team.receipt_of(answer) == at_once
    (budget,) = at_once["budgets"]
    assert (budget["unit"], budget["charged"], budget["held"]) == (
        "usd",
        at_once["cost_usd"],
        at_once["hold_usd"],
    )


def test_another_keys_call_does_not_exist(team: Team) -> None:
    answer = team.client.call("POST", "/v1/chat/completions", HELLO)
    call = answer.headers["x-tollgate-call-id"]
    team.make_key()
    for id_ in (call, "call_0000000000000000000000", "nonsense", "call_%00", call[:-1]):
        refused = team.client.call("GET", f"/v1/calls/{id_}")
        assert (refused.status, refused.code) == (404, "call_not_found")
    team.make_key(sees_account=True)
    assert team.receipt(call)["id"] == call


def test_a_rotated_keys_old_text_counts_as_the_key(team: Team) -> None:
    made = team.gateway.admin.post("/admin/keys", {"account": team.account, "name": "rotated"})
    team.gateway.budget("5.00", key=made["id"], name="of the key")
    old = made["key"]
    new = team.gateway.admin.post(f"/admin/keys/{made['id']}/rotate", {"grace_s": 3600})["key"]
    calls = []
    for text in (old, new):
        client = team.gateway.client(text)
        answer = client.call("POST", "/v1/chat/completions", HELLO)
        assert answer.status == 200, answer.body
        calls.append(answer.headers["x-tollgate-call-id"])
        assert client.get("/v1/key")["id"] == made["id"]
    # Each text reads the receipts of both, and both count in the key's budget.
    for text in (old, new):
        client = team.gateway.client(text)
        receipts = [client.get(f"/v1/calls/{call}") for call in calls]
        assert {receipt["key"] for receipt in receipts} == {made["id"]}
    spent = sum(nano(receipt["cost_usd"]) for receipt in receipts)
    eventually(
        lambda: nano(client.get("/v1/key")["budgets"][0]["spent"]) == spent, "both are in the key's budget"
    )


@pytest.mark.parametrize("path", ["/v1/key/", "/v1/keys", "/v1/", "/", "/v1/chat"])
def test_other_paths_are_not_served(team: Team, path: str) -> None:
    answer = team.client.call("GET", path)
    assert (answer.status, answer.code) == (404, "unsupported_endpoint")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("PUT", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/moderations"),
        ("DELETE", "/v1/key"),
        ("POST", "/v1/models"),
    ],
)
def test_other_methods_are_not_served(
    team: Team, providers: SimulatedProviders, method: str, path: str
) -> None:
    answer = team.client.call(method, path, HELLO)
    assert (answer.status, answer.code) == (404, "unsupported_endpoint")
    assert providers.bill() == []
