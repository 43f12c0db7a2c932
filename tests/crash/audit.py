"""The books compared: what clients saw, what providers billed, what the gateway wrote down."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from gateway.simulators import SimulatedProviders
from gateway.simulators.bill import BilledCall
from tests.crash.load import Sent
from tests.e2e.teams import Team, nano
from tests.running import eventually

__all__ = ["Books", "furnish"]

# nano-USD for each token: USD per million tokens times a thousand. Input, output.
PRICES = {"gpt-4.1": (2_000, 8_000), "gpt-4o-mini": (150, 600), "deepseek-v3.2": (280, 420)}
# By how many tokens our count of a prompt may differ from the provider's: what it adds to each message.
COUNT_OFF = 8
# What the gateway takes for a token of a prompt that nobody has counted.
BYTES_PER_TOKEN = 3
CUT = {"interrupted", "aborted"}
POSTED_LIMIT_S = 60.0
_NUMBER = re.compile(rb"Number (\d+) asks")


def furnish(team: Team) -> None:
    """Budgets of several units and kinds; all of them have room for everything."""
    team.budget("1000.00")
    team.budget("900.00", period="lifetime", enforcement="soft")
    for unit in ("tokens", "requests"):
        team.budget("1000000000", unit=unit, period="lifetime")


class Books:
    """Collects what providers were asked, and compares all there is in the end."""

    def __init__(self, team: Team, providers: SimulatedProviders) -> None:
        self._team = team
        self._providers = providers
        self._numbers: dict[int, int] = {}
        self._estimates: dict[int, int] = {}
        self.reported = 0
        self.outcomes: Counter[str] = Counter()
        self.cut_within_output = 0

    def collect(self) -> None:
        """Note which call each request was: the providers remember the latest 2,000 only."""
        for request in self._providers.requests():
            found = _NUMBER.search(request.body)
            assert found is not None, request
            self._numbers[request.id] = int(found.group(1))

    def until_quiet(self) -> None:
        """Return when every call has ended at the providers and is posted, and nothing is held."""
        eventually(
            lambda: all(each.ending != "open" for each in self._providers.bill()), "the providers are done"
        )
        self.collect()
        reached = {f"n{number}" for number in self._numbers.values()}
        eventually(
            lambda: reached <= {row["end_user"] for row in self._team.rows()},
            "every call that reached a provider is in the ledger",
            POSTED_LIMIT_S,
        )
        eventually(self._is_nothing_held, "nothing is held", POSTED_LIMIT_S)

    def _is_nothing_held(self) -> bool:
        return all(each["held"] == "0" for each in self._team.client.get("/v1/key")["budgets"])

    def ask(self, calls: Sequence[Sent]) -> None:
        """Ask the gateway, while it runs, for its report and what it takes the prompts to be."""
        for each in calls:
            if not each.has_ended:
                bound = self._team.client.post("/v1/estimate", each.body)["input_tokens"]
                self._estimates[each.number] = -(-bound // BYTES_PER_TOKEN)
        self.reported = nano(self._team.gateway.admin.get("/reports/spend")["total"]["cost"])

    def compare(self, calls: Sequence[Sent]) -> None:
        """Compare them all, once the gateway has been stopped."""
        billed = self._billed()
        assert set(billed) <= {each.number for each in calls}
        rows = self._team.rows()
        by_user = defaultdict(list)
        for row in rows:
            by_user[row["end_user"]].append(row)
        assert set(by_user) <= {each.name for each in calls}
        for each in calls:
            self._call(each, billed.get(each.number), by_user[each.name])
        self._sums(rows)

    def _billed(self) -> dict[int, BilledCall]:
        self.collect()
        billed: dict[int, BilledCall] = {}
        for each in self._providers.bill():
            if each.id in self._numbers:
                number = self._numbers[each.id]
                assert number not in billed, f"the provider was asked twice: {billed[number]} and {each}"
                billed[number] = each
        return billed

    def _call(self, sent: Sent, billed: BilledCall | None, rows: Sequence[dict[str, Any]]) -> None:
        about = (sent, billed, rows)
        booked = [row for row in rows if row["outcome"] != "void"]
        assert all(row["charge"] == 0 for row in rows if row["outcome"] == "void"), about
        assert len(booked) <= 1, about
        if sent.has_ended:
            assert billed is not None, about
            assert [row["outcome"] for row in booked] == ["done"], about
        if billed is not None:
            assert len(booked) == 1, about
        for row in booked:
            self.outcomes[row["outcome"]] += 1
            if row["outcome"] == "done":
                assert billed is not None, about
                assert row["charge"] == cost(sent.model, billed.input_total, billed.output_total), about
            else:
                self._cut(sent, billed, row)

    def _cut(self, sent: Sent, billed: BilledCall | None, row: dict[str, Any]) -> None:
        about = (sent, billed, row)
        assert row["outcome"] in CUT, about
        assert "estimated" in row["flags"], about
        assert row["outcome"] != "interrupted" or "interrupted" in row["flags"], about
        usage = row["usage"]
        known_input, output = usage.get("input", 0), usage.get("output", 0)
        assert row["charge"] == cost(sent.model, known_input, output) <= row["hold"], about
        if billed is None:
            # It was written down and died before it was sent, or on the way there.
            assert output == 0, about
        else:
            assert output <= billed.output_total, about
        if row["outcome"] == "interrupted":
            assert known_input == self._estimates[sent.number], about
        else:
            assert billed is not None, about
            assert abs(known_input - billed.input_total) <= COUNT_OFF, about
        self.cut_within_output += output > 0

    def _sums(self, rows: Sequence[dict[str, Any]]) -> None:
        total = sum(row["charge"] for row in rows)
        spent: Counter[int] = Counter()
        for row in rows:
            for window, amount, _ in row["windows"]:
                spent[window] += amount
        windows = self._team.sql("SELECT id, spent, leased FROM windows")
        assert {each["id"]: each["spent"] for each in windows} == dict(spent)
        assert [each["leased"] for each in windows] == [0] * len(windows)
        assert self._team.sql("SELECT * FROM leases") == []
        assert self._team.sql("SELECT * FROM quarantine") == []
        assert self._team.sql("SELECT DISTINCT state FROM journals") == [{"state": "finished"}]
        (rollups,) = self._team.sql("SELECT SUM(cost) AS cost FROM rollups")
        assert (int(rollups["cost"]), self.reported) == (total, total)


def cost(model: str, input_tokens: int, output_tokens: int) -> int:
    """What so many tokens cost, in nano-USD."""
    of_input, of_output = PRICES[model]
    return input_tokens * of_input + output_tokens * of_output
