"""Alerts of real gateways arrive at real targets: once, after kills too, and are told by the command line."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from gateway.simulators import SimulatedProviders
from tests.alerts.receiving import Receiver, receiver
from tests.databases import BACKENDS, Postgres, postgres
from tests.running import ADMIN_KEY, Gateway, eventually, running

__all__ = ["postgres"]

pytestmark = pytest.mark.slow

SETTINGS = {"TOLLGATE_WEBHOOKS__ALLOW_PRIVATE": "127.0.0.0/8"}
# A worker that died keeps its targets for half a minute.
LEASE_LIMIT_S = 120.0


@pytest.fixture
def target() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(params=BACKENDS)
def gateway(
    request: pytest.FixtureRequest, tmp_path: Path, providers: SimulatedProviders
) -> Iterator[Gateway]:
    """Two workers over a database of their own."""
    url = ""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.create()
    with running(tmp_path, providers, workers=2, database_url=url, settings=SETTINGS) as process:
        yield process


def subscribe(gateway: Gateway, target: Receiver, *events: str) -> Any:
    return gateway.admin.post(
        "/admin/webhooks", {"target": target.url, "events": list(events or ("budget.*",))}
    )


def spend(gateway: Gateway, cap: str, calls: int, **budget: Any) -> None:
    """A team of its own that makes calls at once."""
    account = gateway.account("acme")
    gateway.budget(cap, account=account, unit="requests", alert_at=[50], **budget)
    client = gateway.client(gateway.key(account))

    def call(_: int) -> int:
        return client.chat("gpt-4.1", "[[sim: words=1]]", max_tokens=2).status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(call, range(calls))) == {200}


def test_a_thousand_calls_around_a_threshold_are_one_message(gateway: Gateway, target: Receiver) -> None:
    secret = subscribe(gateway, target, "budget.threshold_reached")["secret"]
    spend(gateway, "1500", 1_000)
    eventually(lambda: bool(target.got), "the alert arrives")
    eventually(lambda: scalar(gateway, "SELECT SUM(spent) FROM windows") == 1_000, "everything is posted")
    assert scalar(gateway, "SELECT COUNT(*) FROM events WHERE event = 'budget.threshold_reached'") == 1
    [got] = target.got
    verified = standardwebhooks.Webhook(secret).verify(got.body, got.headers)
    assert (verified["data"]["threshold"], verified["data"]["cap"]) == (50, "1500")
    assert int(verified["data"]["spent"]) >= 750


def test_killed_between_posting_and_delivery_the_alert_arrives(gateway: Gateway, target: Receiver) -> None:
    subscribe(gateway, target, "budget.threshold_reached")
    spend(gateway, "4", 3)
    posted = "SELECT COUNT(*) FROM events WHERE event = 'budget.threshold_reached'"
    eventually(lambda: scalar(gateway, posted) == 1, "it is posted")
    gateway.kill()
    gateway.start()
    eventually(lambda: bool(target.got), "the alert arrives", LEASE_LIMIT_S)
    delivered = "SELECT COUNT(*) FROM deliveries WHERE status = 'delivered'"
    eventually(lambda: scalar(gateway, delivered) == 1, "it is written down", LEASE_LIMIT_S)
    assert len(set(target.ids)) == 1


def test_killed_while_the_target_thinks_it_arrives_again_with_the_same_id(
    gateway: Gateway, target: Receiver
) -> None:
    target.hangs = threading.Event()
    subscribe(gateway, target, "budget.threshold_reached")
    spend(gateway, "4", 3)
    assert target.arrived.wait(30)
    gateway.kill()
    thinking, target.hangs = target.hangs, None
    thinking.set()
    gateway.start()
    delivered = "SELECT COUNT(*) FROM deliveries WHERE status = 'delivered'"
    eventually(lambda: scalar(gateway, delivered) == 1, "it is written down", LEASE_LIMIT_S)
    assert len(target.ids) == 2
    assert len(set(target.ids)) == 1


def test_a_model_without_a_price_and_a_key_are_told_of(gateway: Gateway, target: Receiver) -> None:
    subscribe(gateway, target, "price.missing", "key.*")
    client = gateway.client(gateway.key(gateway.account("acme")))
    assert client.chat("openai/gpt-of-tomorrow", "hello", max_tokens=2).status == 402
    eventually(lambda: len(target.got) == 2, "both arrive")
    told = {got.json["type"]: got.json["data"] for got in target.got}
    assert told["price.missing"] == {"provider": "openai", "model": "gpt-of-tomorrow"}
    assert told["key.created"]["name"] == "test"


def test_the_command_line_tests_a_target_and_replays(gateway: Gateway, target: Receiver) -> None:
    webhook = subscribe(gateway, target)
    assert "Delivered in" in tollgate(gateway, "webhooks", "test", webhook["id"], status=0)
    [delivery] = gateway.admin.get(f"/admin/webhooks/{webhook['id']}/deliveries")["data"]
    assert delivery["event_id"] == target.ids[0]
    assert "Delivered in" in tollgate(gateway, "webhooks", "replay", delivery["id"], status=0)
    assert target.ids == [delivery["event_id"]] * 2
    target.answer = lambda got: (500, {}, b"out of paper")
    assert "out of paper" in tollgate(gateway, "webhooks", "test", webhook["id"], status=1)
    assert webhook["secret"] not in gateway.words()


def tollgate(gateway: Gateway, *arguments: str, status: int) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env={"TOLLGATE_URL": gateway.url, "TOLLGATE_ADMIN_KEY": ADMIN_KEY, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def scalar(gateway: Gateway, statement: str) -> Any:
    """What the gateway's database says."""
    url = gateway.database_url
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as conn:
        return conn.execute(text(statement)).scalar()
