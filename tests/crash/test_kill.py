"""kill -9 under load, of workers, of the database, of both: nothing is lost, nothing is billed twice.

`THOROUGH=10 pytest tests/crash` kills ten times as often.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.simulators import SimulatedProviders
from tests.crash.load import Load, calling
from tests.crash.postgres import Killable, killable
from tests.crash.reckoning import Reckoning, reckon
from tests.running import Gateway, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("crash")]

TIMES = int(os.environ.get("THOROUGH", "1"))
CALLERS = 12
# Answers in a moment, in a second, and long enough for checkpoints to matter.
PROMPTS = ["[[sim: words=4]]", "[[sim: words=120 pace_ms=8]]", "[[sim: words=500 pace_ms=8]]"]


def prepare(gateway: Gateway) -> str:
    """A key with a budget of each kind, and a process begun again that knows them; the key."""
    account = gateway.account("acme")
    gateway.budget("900.00", account=account)
    gateway.budget("50000000", account=account, unit="tokens", period="lifetime")
    gateway.budget("1000", account=account, unit="concurrent", period="lifetime")
    return gateway.key(account)


def kill_one(gateway: Gateway, chance: random.Random) -> float:
    """kill -9 of a worker, and wait until as many run as before; when it was."""
    pid = chance.choice(gateway.worker_pids())
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    if gateway.workers == 1:
        gateway.kill()
        gateway.start()
    else:
        eventually(lambda: _are_running(gateway, pid), "the worker is replaced", 30)
    return killed


def _are_running(gateway: Gateway, dead: int) -> bool:
    pids = gateway.worker_pids()
    return len(pids) == gateway.workers and dead not in pids


def ends(gateway: Gateway, providers: SimulatedProviders, load: Load, kills: Sequence[float]) -> Reckoning:
    """Stop the gateway in good order and compare."""
    assert gateway.stop() == 0, gateway.words()
    eventually(lambda: all(call.ending != "open" for call in providers.bill()), "the provider has ended")
    return reckon(gateway.database_url, gateway.data_dir, providers, load.calls, kills)


@pytest.mark.parametrize(("workers", "count"), [(2, 20), (1, 6)])
def test_a_killed_worker_loses_nothing(tmp_path: Path, workers: int, count: int) -> None:
    chance = random.Random(workers)
    kills = []
    with SimulatedProviders() as providers, running(tmp_path, providers, workers=workers) as gateway:
        key = prepare(gateway)
        with calling(gateway, key, CALLERS, PROMPTS) as load:
            for _ in range(count * TIMES):
                load.until_pieces(chance.randint(1, 400))
                kills.append(kill_one(gateway, chance))
        found = ends(gateway, providers, load, kills)
    assert found.done > 0
    assert found.interrupted > 0, "calls were under way"


def test_a_killed_database_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(3)
    with (
        killable() as database,
        SimulatedProviders() as providers,
        running(tmp_path, providers, workers=2, database_url=database.url) as gateway,
    ):
        key = prepare(gateway)
        with calling(gateway, key, CALLERS, PROMPTS) as load:
            for _ in range(3 * TIMES):
                load.until_pieces(chance.randint(1, 400))
                database.kill()
                load.until_pieces(200)  # calls go on meanwhile
                database.start()
        found = ends(gateway, providers, load, [])
    assert (found.interrupted, found.done > 0) == (0, True)


def test_killed_workers_and_a_killed_database_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(4)
    kills = []
    with (
        killable() as database,
        SimulatedProviders() as providers,
        running(tmp_path, providers, workers=2, database_url=database.url) as gateway,
    ):
        key = prepare(gateway)
        with calling(gateway, key, CALLERS, PROMPTS) as load:
            for _ in range(4 * TIMES):
                load.until_pieces(chance.randint(1, 400))
                kills.append(_kill_both(gateway, database, chance))
        found = ends(gateway, providers, load, kills)
    assert found.done > 0
    assert found.interrupted > 0


def _kill_both(gateway: Gateway, database: Killable, chance: random.Random) -> float:
    """The database and a worker in the same moment; the worker that comes after it waits for the database."""
    pid = chance.choice(gateway.worker_pids())
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    database.kill()
    tries = gateway.words().count("cannot start")
    eventually(lambda: gateway.words().count("cannot start") > tries, "a worker finds no database", 30)
    database.start()
    eventually(lambda: _are_running(gateway, pid), "the worker is replaced", 30)
    return killed


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_under_streams_leaves_nothing_unsettled(tmp_path: Path, workers: int) -> None:
    """SIGTERM: whoever streams gets to the end of it, the process ends with status 0, all is posted."""
    with SimulatedProviders() as providers, running(tmp_path, providers, workers=workers) as gateway:
        key = prepare(gateway)
        with calling(gateway, key, CALLERS, PROMPTS) as load:
            load.until_pieces(400)
            os.kill(gateway.process.pid, signal.SIGTERM)
            load.end()
        found = ends(gateway, providers, load, [])
    assert (found.interrupted, found.done > 0) == (0, True)
