"""Two workers of a gateway under 64 callers, on a cap that pays for ten calls at their worst."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, wait
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


class Callers:
    """Callers that try again where that is said to help. `refused` counts how often they were sent away."""

    def __init__(self, client: Client) -> None:
        self.refused = 0
        self._client = client
        self._counting = threading.Lock()

    def until_served(self) -> None:
        """One call, until it is answered."""
        for _ in range(100):
            answer = self._client.chat("gpt-4.1", PROMPT, max_tokens=1000)
            if answer.status == 200:
                return
            assert answer.code == "budget_held", answer.body
            with self._counting:
                self.refused += 1
        raise AssertionError("never served, although the money was free again")


def watch(book: Book, cap: int, is_over: threading.Event) -> None:
    """Look at SQL until it is over; raises when the cap is passed."""
    while not is_over.wait(0.01):
        figures = book.figures()
        assert figures is None or figures.spent + figures.leased <= cap, figures


def held(gateway: Gateway, budget: str) -> str:
    return str(gateway.window(budget)["held"])


def test_sixty_four_callers_on_a_cap_for_ten(tmp_path: Path) -> None:
    with SimulatedProviders() as providers, running(tmp_path, providers) as gateway:
        account = gateway.account("acme")
        client = gateway.client(gateway.key(account))
        cap = quote(client) * PAID_FOR
        budget = gateway.budget(f"{cap / 1e9:.9f}", account=account)
        # Begun again, so that both workers know the budget from the start.
        assert gateway.stop() == 0
        gateway.workers = 2
        gateway.start()
        book = Book(gateway.database_url)
        callers, is_over = Callers(client), threading.Event()
        with ThreadPoolExecutor(CALLERS + 1) as pool:
            watching = pool.submit(watch, book, cap, is_over)
            calls = [pool.submit(callers.until_served) for _ in range(CALLERS)]
            try:
                # Ten are let through, over both workers, wherever the headroom lay at first. The others are
                # sent away, come again, and find it held.
                asyncio.run(asyncio.wait_for(providers.until_held("gate", PAID_FOR), 90))
                eventually(lambda: callers.refused >= CALLERS - PAID_FOR, "the others are told to wait")
                assert len(providers.bill()) == PAID_FOR
                assert parse_usd(held(gateway, budget)) <= cap
            finally:
                providers.release("gate")
                wait(calls, 60)
                is_over.set()
            for each in (*calls, watching):
                each.result()
        eventually(lambda: held(gateway, budget) == "0", "nothing is held once nothing runs")
        eventually(lambda: book.number("SELECT COUNT(*) FROM ledger") == CALLERS, "all calls are posted")
        assert gateway.stop() == 0
        figures = book.figures()
        assert figures is not None
        assert (figures.leased, figures.overrun) == (0, 0)
        assert figures.spent == book.number("SELECT SUM(charge) FROM ledger") <= cap
        assert figures.spent == book.number("SELECT SUM(cost) FROM rollups")
