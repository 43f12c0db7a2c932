"""Two workers of a gateway under 64 callers, on a cap that pays for ten calls at their worst."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.domain.money import parse_usd
from gateway.simulators import SimulatedProviders
from tests.contention.fleet import Book
from tests.running import Client, Gateway, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("contention")]

CALLERS = 64
PAID_FOR = 10
PROMPT = "[[sim: words=3 hold_headers=gate]]"


def quote(client: Client) -> int:
    """What a call holds at worst, in nano-USD."""
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 1000}
    return parse_usd(client.post("/v1/estimate", body)["quote_usd"])


def until_served(client: Client) -> int:
    """A caller that tries again where that is said to help; how often it had to."""
    for refused in range(1000):
        answer = client.chat("gpt-4.1", PROMPT, max_tokens=1000)
        if answer.status == 200:
            return refused
        assert answer.code == "budget_held", answer.body
    raise AssertionError("never served, although the money was free again")


class Witness:
    """Looks at SQL and at the provider for as long as callers call."""

    def __init__(self, book: Book, providers: SimulatedProviders, cap: int) -> None:
        self.is_over = threading.Event()
        self.most_in_flight = 0
        self._book = book
        self._providers = providers
        self._cap = cap

    def watch(self) -> None:
        """Until it is over; raises what it sees."""
        while not self.is_over.wait(0.01):
            in_flight = sum(call.ending == "open" for call in self._providers.bill())
            self.most_in_flight = max(self.most_in_flight, in_flight)
            figures = self._book.figures()
            assert figures is None or figures.spent + figures.leased <= self._cap, figures


def held(gateway: Gateway, budget: str) -> str:
    return str(gateway.window(budget)["held"])


def test_sixty_four_callers_on_a_cap_for_ten(tmp_path: Path) -> None:
    with SimulatedProviders() as providers, running(tmp_path, providers, workers=2) as gateway:
        account = gateway.account("acme")
        client = gateway.client(gateway.key(account))
        cap = quote(client) * PAID_FOR
        budget = gateway.budget(f"{cap / 1e9:.9f}", account=account)
        book = Book(gateway.database_url)
        witness = Witness(book, providers, cap)
        with ThreadPoolExecutor(CALLERS + 1) as pool:
            watching = pool.submit(witness.watch)
            calls = [pool.submit(until_served, client) for _ in range(CALLERS)]
            # Ten are let through, over both workers, wherever the headroom lay at first.
            asyncio.run(asyncio.wait_for(providers.until_held("gate", PAID_FOR), 30))
            eventually(lambda: witness.most_in_flight >= PAID_FOR, "the witness has seen ten")
            assert parse_usd(held(gateway, budget)) <= cap
            providers.release("gate")
            refusals = [call.result(60) for call in calls]
            witness.is_over.set()
            watching.result()
        assert witness.most_in_flight == PAID_FOR
        assert max(refusals) > 0, "not everybody fits at once"
        eventually(lambda: held(gateway, budget) == "0", "nothing is held once nothing runs")
        eventually(lambda: book.number("SELECT COUNT(*) FROM ledger") == CALLERS, "all calls are posted")
        assert gateway.stop() == 0
        figures = book.figures()
        assert figures is not None
        assert (figures.leased, figures.overrun) == (0, 0)
        assert figures.spent == book.number("SELECT SUM(charge) FROM ledger") <= cap
        assert figures.spent == book.number("SELECT SUM(cost) FROM rollups")
