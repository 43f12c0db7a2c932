"""A workbench for what the ledger alone decides, and a running gateway for what a client can see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.databases import backend, migrated_database, postgres, sqlite_template
from tests.e2e.conftest import gateway, providers, scripted, simulated, team, upstream
from tests.ledger.workbench import Workbench

__all__ = [
    "backend",
    "gateway",
    "migrated_database",
    "postgres",
    "providers",
    "scripted",
    "simulated",
    "sqlite_template",
    "team",
    "upstream",
]


@pytest.fixture
async def bench(migrated_database: str, tmp_path: Path) -> AsyncIterator[Workbench]:
    """A database with the tables, an account, and a data directory."""
    made = Workbench(migrated_database, tmp_path / "data")
    await made.open()
    yield made
    await made.stop()
