"""One gateway on simulated providers for a whole test process; a team of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team
from tests.e2e.upstream import ScriptedUpstream
from tests.running import Gateway, free_port, running

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def simulated() -> Iterator[SimulatedProviders]:
    """The simulated providers, shared."""
    with SimulatedProviders() as providers:
        yield providers


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedUpstream]:
    """The scripted provider, shared."""
    upstream = ScriptedUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture
def providers(simulated: SimulatedProviders) -> SimulatedProviders:
    """The simulated providers with nothing remembered of tests before."""
    simulated.reset()
    return simulated


@pytest.fixture
def upstream(scripted: ScriptedUpstream) -> ScriptedUpstream:
    """The scripted provider with nothing to play."""
    scripted.play()
    return scripted


@pytest.fixture(scope="session")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders, scripted: ScriptedUpstream
) -> Iterator[Gateway]:
    """The gateway, with providers beyond the usual ones: see `more_providers`."""
    folder = tmp_path_factory.mktemp("gateway")
    with running(folder, simulated, settings=more_providers(simulated, scripted)) as process:
        yield process


def more_providers(simulated: SimulatedProviders, scripted: ScriptedUpstream) -> dict[str, str]:
    """Azure; a scripted upstream; ones that are impatient, stop abandoned calls, or are not there at all."""
    # Names of fast timeouts are not read by tests that pass: they only have to be over soon.
    given = {
        "azure_openai": {"base_url": simulated.url("azure"), "api_version": "2024-10-21"},
        "scripted": {"base_url": scripted.url, "on_abort": "drain"},
        "impatient": {
            "base_url": simulated.url("openai"),
            "first_byte_timeout_s": "2",
            "idle_timeout_s": "2",
        },
        "stopping": {"base_url": simulated.url("openai"), "on_abort": "stop"},
        "nowhere": {"base_url": f"http://127.0.0.1:{free_port()}/v1"},
    }
    # Tries again are tested on a gateway of their own: here every fault is seen as it is.
    settings = {"TOLLGATE_ALIASES__FAST": "openai/gpt-4o-mini", "TOLLGATE_RETRIES__ATTEMPTS": "1"}
    for name, values in given.items():
        prices_of = {} if name == "azure_openai" else {"prices_of": "openai"}
        for field, value in ({"credential": "sk-simulated-0000"} | prices_of | values).items():
            settings[f"TOLLGATE_PROVIDERS__{name.upper()}__{field.upper()}"] = value
    return settings


@pytest.fixture
def team(gateway: Gateway, request: pytest.FixtureRequest) -> Team:
    """An account of the test's own."""
    return Team(gateway, f"team-{next(_NUMBERS)}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a gateway of the test's own keeps its data."""
    return tmp_path / "gateway"
