"""kill -9 at random instants under load: nothing lost, nothing twice, nothing held in the end."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.simulators import SimulatedProviders
from tests.crash.audit import Books, furnish
from tests.crash.load import Load, calling
from tests.databases import Postgres
from tests.e2e.teams import Team
from tests.running import Gateway, eventually, running

pytestmark = pytest.mark.slow

SEED = 20_260
# Within it a call is admitted, sent, checkpointed a few times and settled, or not.
LATEST_S = 1.0


def database(backend: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; "" for the file the gateway makes for itself."""
    if backend == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres")
    return server.create()


def kill_the_gateway(gateway: Gateway, _: random.Random) -> None:
    """All of it; it is started again on what it left."""
    gateway.kill()
    gateway.start()


def kill_a_worker(gateway: Gateway, draw: random.Random) -> None:
    """One of them; the supervisor puts another in its place."""
    victim = draw.choice(gateway.worker_pids())
    os.kill(victim, signal.SIGKILL)

    def is_replaced() -> bool:
        pids = gateway.worker_pids()
        return victim not in pids and len(pids) == gateway.workers

    eventually(is_replaced, "another worker has taken its place", 30.0)


def kill_under_load(
    gateway: Gateway, load: Load, kills: int, kill: Callable[[Gateway, random.Random], None]
) -> None:
    """So many times, each at a random instant after calls have been answered since the last."""
    draw = random.Random(SEED)
    for _ in range(kills):
        load.until_answered(1)
        # The instant is the test's own input; nothing is waited for here.
        time.sleep(draw.uniform(0, LATEST_S))
        kill(gateway, draw)
    load.until_answered(1)


@pytest.mark.parametrize(("workers", "kill"), [(1, kill_the_gateway), (2, kill_a_worker)])
def test_kill_9_under_load(
    workers: int,
    kill: Callable[[Gateway, random.Random], None],
    kills: int,
    backend: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    with (
        SimulatedProviders() as providers,
        running(tmp_path, providers, workers=workers, database_url=database(backend, request)) as gateway,
    ):
        team = Team(gateway, "acme")
        furnish(team)
        books = Books(team, providers)
        with calling(gateway, team.key, seed=SEED) as load:
            kill_under_load(gateway, load, kills, kill)
        books.until_quiet()
        books.ask(load.sent)
        assert gateway.stop() == 0, gateway.words()
        books.compare(load.sent)
        # Whoever could connect was served: a dead worker's leases keep nobody out.
        assert {each.status for each in load.sent} <= {0, 200}
        assert books.outcomes["done"] > 0
        assert books.outcomes["interrupted"] > 0
