"""A database with an account in it, workers that deliver, and targets that listen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.alerts.office import Office
from tests.alerts.receiving import Receiver, receiver
from tests.databases import backend, migrated_database, postgres, sqlite_template
from tests.ledger.conftest import bench
from tests.ledger.workbench import Workbench
from tests.relay.conftest import certificates

__all__ = [
    "backend",
    "bench",
    "certificates",
    "migrated_database",
    "office",
    "postgres",
    "sqlite_template",
    "target",
]


@pytest.fixture
async def office(bench: Workbench) -> AsyncIterator[Office]:
    """Workers that deliver, to this machine only."""
    made = Office(bench)
    yield made
    await made.stop()


@pytest.fixture
def target() -> Iterator[Receiver]:
    """A target that takes everything."""
    with receiver() as made:
        yield made
