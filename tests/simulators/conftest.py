"""One set of simulated providers for each test: starting them costs milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.simulators import SimulatedProviders


@pytest.fixture
def providers() -> Iterator[SimulatedProviders]:
    """Simulated providers on a free port."""
    with SimulatedProviders() as running:
        yield running
