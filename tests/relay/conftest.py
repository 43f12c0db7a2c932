"""Every asynchronous test of the relay runs on both event loops that the gateway supports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.relay.calls import Limits, Target
from gateway.relay.client import Client
from tests.relay.certificates import Certificates
from tests.relay.scripted import Upstream

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream.listen() as server:
        yield server


@pytest.fixture
async def secure_upstream(certificates: Certificates) -> AsyncIterator[Upstream]:
    async with Upstream.listen(certificates.server_context()) as server:
        yield server


@pytest.fixture
async def client(certificates: Certificates) -> AsyncIterator[Client]:
    """A client that must leave nothing behind: no task, no connection, no unclosed transport."""
    async with opened(Limits(tick_s=0.01), certificates.ca_file) as made:
        yield made


@asynccontextmanager
async def opened(
    limits: Limits, ca_file: Path | None = None, connections: Mapping[Target, int] | None = None
) -> AsyncIterator[Client]:
    """A client for the length of a block, after which nothing of it may be left."""
    made = Client(limits, None if ca_file is None else str(ca_file), connections=connections)
    yield made
    await made.aclose()
    assert all(pool.is_quiet for pool in made.pools)
    assert not [task for task in asyncio.all_tasks() if "/gateway/" in code_of(task)]


def code_of(task: asyncio.Task[Any]) -> str:
    """The file whose coroutine the task runs."""
    return str(getattr(task.get_coro(), "cr_code").co_filename)  # noqa: B009 - no such attribute for mypy
