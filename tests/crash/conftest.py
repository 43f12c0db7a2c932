"""Real databases, and how often a test kills."""

from __future__ import annotations

import os

import pytest

from tests.databases import backend, postgres

__all__ = ["backend", "kills", "postgres"]

# Tests that share the number of kills between them.
SHARED_BY = 4


@pytest.fixture
def kills() -> int:
    """How often one test kills: its share of TOLLGATE_KILLS, which is 20 for the whole folder."""
    return -(-int(os.environ.get("TOLLGATE_KILLS", "20")) // SHARED_BY)
