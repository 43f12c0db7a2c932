"""SIGTERM under load: every stream reaches its end, every call is in the books, the exit is clean."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gateway.simulators import SimulatedProviders
from tests.running import Client, eventually, running

pytestmark = pytest.mark.slow

STREAMS = 200
PROMPT = "hello [[sim: words=25]]"


class Reader(threading.Thread):
    """Reads one stream; `last` is its last event."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self.last = b""

    def run(self) -> None:
        stream = self._client.stream("gpt-4.1", PROMPT, max_tokens=25)
        for event in stream.events():
            self.last = event
        stream.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_two_hundred_streams_reach_their_end(tmp_path: Path, workers: int) -> None:
    with SimulatedProviders() as providers:
        providers.defaults(pace_ms=100)
        with running(tmp_path, providers, workers=workers) as gateway:
            account = gateway.account("draining")
            budget = gateway.budget("100", account=account)
            client = gateway.client(gateway.key(account))
            readers = [Reader(client) for _ in range(STREAMS)]
            for reader in readers:
                reader.start()
            eventually(lambda: all(reader.last for reader in readers), "every stream has begun")
            assert gateway.stop() == 0
            for reader in readers:
                reader.join()
            assert [reader.last for reader in readers] == [b"[DONE]"] * STREAMS
            gateway.start()
            rows = gateway.admin.get("/reports/calls?limit=1000")["rows"]
            assert [row["outcome"] for row in rows] == ["done"] * STREAMS
            assert gateway.window(budget)["held"] == "0"
        assert len(providers.bill()) == STREAMS
