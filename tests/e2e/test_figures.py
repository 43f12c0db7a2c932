"""Every figure is one figure, and a cap holds whatever runs at once."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano
from tests.e2e.wire import CHAT, connect, request
from tests.running import eventually

pytestmark = pytest.mark.slow

CALLS = 1_000
AT_ONCE = 20
# USD per million tokens is 1,000 nano-USD for each token: input, cached input, output.
PRICES = {"gpt-4.1": (2_000, 500, 8_000), "gpt-4o-mini": (150, 75, 600)}


def planned(seed: int) -> list[tuple[dict[str, Any], int]]:
    """Calls of known usage, and what each must cost."""
    draw = random.Random(seed)
    calls = []
    for _ in range(CALLS):
        model = draw.choice(sorted(PRICES))
        prompt, cached, words = draw.randint(130, 200), draw.choice([0, 128]), draw.randint(1, 40)
        each, of_cached, out = PRICES[model]
        directive = f"[[sim: prompt={prompt} cached={cached} words={words}]]"
        body = {
            "model": model,
            "messages": [{"role": "user", "content": directive}],
            "stream": draw.random() < 0.5,
            "user": draw.choice(["ada", "bob"]),
            "max_tokens": 50,
        }
        calls.append((body, (prompt - cached) * each + cached * of_cached + words * out))
    return calls


def spread(work: Callable[[Any], Any], items: list[Any], at_once: int) -> list[Any]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(work, items))


def test_a_thousand_calls_make_one_integer(team: Team, providers: SimulatedProviders) -> None:
    budget = team.budget("1000.00")
    key = team.make_key(tags={"env": "test"})
    calls = planned(seed=7)
    expected = sum(cost for _, cost in calls)

    def run(bodies: list[dict[str, Any]]) -> None:
        """Call after call on one connection."""
        with connect(team.gateway) as sock, sock.makefile("rb") as answers:
            for body in bodies:
                sock.sendall(request(key, body, close=False))
                assert read_answer(answers) == 200

    spread(run, [[body for body, _ in calls[at::AT_ONCE]] for at in range(AT_ONCE)], AT_ONCE)
    assert len(providers.bill()) == CALLS
    eventually(lambda: count(team) == CALLS, "all are booked")
    figures = {
        "ledger": scalar(team, "SELECT SUM(charge) FROM ledger WHERE account = :account"),
        "roll-up": scalar(team, "SELECT SUM(cost) FROM rollups WHERE account = :account"),
        "by end user": scalar(team, "SELECT SUM(cost) FROM end_user_rollups WHERE account = :account"),
        "by tag": scalar(team, "SELECT SUM(cost) FROM tag_rollups WHERE account = :account"),
        "window in SQL": scalar(team, "SELECT spent FROM windows WHERE budget = :budget", budget=budget),
        "window shown": nano(team.gateway.window(budget)["spent"]),
        "key": nano(team.settled()["spent"]),
        "report": nano(report(team)["total"]["cost"]),
        "rows of the report": sum(nano(row["cost"]) for row in report(team, group_by="model,meter")["rows"]),
    }
    assert figures == dict.fromkeys(figures, expected)
    assert report(team)["total"]["calls"] == CALLS
    window = team.gateway.window(budget)
    assert (window["held"], window["overrun"], window["stranded"]) == ("0", "0", "0")


def read_answer(answers: Any) -> int:
    """Read one whole answer from a connection; its status."""
    status = int(answers.readline().split()[1])
    length = 0
    is_chunked = False
    while (line := answers.readline()) != b"\r\n":
        name, _, value = line.lower().partition(b": ")
        length = int(value) if name == b"content-length" else length
        is_chunked = is_chunked or name == b"transfer-encoding"
    while is_chunked and (size := int(answers.readline(), 16)) >= 0:
        answers.read(size + 2)
        is_chunked = size > 0
    answers.read(length)
    return status


def count(team: Team) -> int:
    return int(scalar(team, "SELECT COUNT(*) FROM ledger WHERE account = :account"))


def scalar(team: Team, statement: str, **parameters: Any) -> int:
    (row,) = team.sql(statement, **parameters)
    (value,) = row.values()
    return int(value or 0)


def report(team: Team, **parameters: str) -> Any:
    query = "".join(f"&{name}={value}" for name, value in parameters.items())
    return team.gateway.admin.get(f"/reports/spend?account={team.account}{query}")


class Witness:
    """Looks at a budget all the time, from outside and in SQL, for as long as the block runs."""

    def __init__(self, team: Team, budget: str) -> None:
        self.violations: list[Any] = []
        self.looks = 0
        self.most_held = 0
        self._team = team
        self._budget = budget
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(look,)) for look in (self._key, self._rows)
        ]

    def __enter__(self) -> Witness:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, look: Callable[[], tuple[int, int, int]]) -> None:
        while not self._is_over.wait(0.002):
            cap, spent, held = look()
            self.looks += 1
            self.most_held = max(self.most_held, held)
            if spent + held > cap:
                self.violations.append((look.__name__, cap, spent, held))

    def _key(self) -> tuple[int, int, int]:
        shown = self._team.client.get("/v1/key")["budgets"][0]
        return nano(shown["cap"]), nano(shown["spent"]), nano(shown["held"])

    def _rows(self) -> tuple[int, int, int]:
        rows = self._team.sql("SELECT cap, spent, leased FROM windows WHERE budget = :b", b=self._budget)
        return (rows[0]["cap"], rows[0]["spent"], rows[0]["leased"]) if rows else (0, 0, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cap_for_ten_calls_holds_under_64(team: Team, providers: SimulatedProviders, stream: bool) -> None:
    body = {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "[[sim: words=3 delay_ms=15]]"}],
        "max_tokens": 1000,
        "stream": stream,
    }
    quote = nano(team.client.post("/v1/estimate", body)["quote_usd"])
    budget = team.budget(f"{quote * 10 / 1e9:.9f}")
    team.make_key()
    refusals: Counter[str] = Counter()

    def until_served(_: int) -> None:
        """What an SDK does: try again where that is said to help."""
        for _ in range(2_000):
            answer = team.client.call("POST", CHAT, body)
            if answer.status == 200:
                return
            refusals[answer.code] += 1
        raise AssertionError("never served")

    with Witness(team, budget) as witness:
        spread(until_served, list(range(64)), 64)
    assert witness.violations == []
    assert witness.looks > 20
    assert witness.most_held > quote
    assert set(refusals) == {"budget_held"}, "all but ten found the money held, never spent"
    settled = team.settled()
    rows = team.booked(64)
    assert nano(settled["spent"]) == sum(row["charge"] for row in rows)
    assert nano(settled["spent"]) + 9 * quote <= nano(settled["cap"]), "the test leaves room for nine"
    # The money is free again: as many as it pays for are served at once, and none is refused.
    answers = spread(lambda _: team.client.call("POST", CHAT, body).status, list(range(9)), 9)
    assert answers == [200] * 9
    team.settled()
    assert json.dumps(team.gateway.window(budget)["held"]) == '"0"'
