"""`tollgate doctor`: each finding, on real files, databases and providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.cli.examination import clock, fresh_prices, left_journals, reached
from gateway.serving import prepare
from gateway.settings import load
from gateway.simulators import SimulatedProviders
from tests.cli.conftest import Tollgate


@pytest.fixture
def environ(tmp_path: Path, migrated_database: str) -> dict[str, str]:
    return {
        "TOLLGATE_DATABASE__URL": migrated_database.replace("postgresql+psycopg://", "postgresql://"),
        "TOLLGATE_SERVER__DATA_DIR": str(tmp_path / "data"),
    }


def found(result: Any) -> dict[str, tuple[str, str]]:
    return {each["check"]: (each["state"], each["found"]) for each in result.json}


def test_all_is_well(run: Tollgate, environ: dict[str, str]) -> None:
    with SimulatedProviders() as providers:
        environ |= {
            "TOLLGATE_PROVIDERS__OPENAI__BASE_URL": providers.url("openai"),
            "TOLLGATE_PROVIDERS__OPENAI__CREDENTIAL": "sk-simulated",
        }
        prepare(load(environ, None))
        result = run("doctor", "--json", environ=environ)
        said = found(result)
        table = run("doctor", environ=environ)
    assert result.status == 0, said
    assert {state for check, (state, _) in said.items() if check != "gateway"} == {"ok"}
    assert "rows, the newest 0 days old" in said["prices"][1]
    assert ("clock" in said) == environ["TOLLGATE_DATABASE__URL"].startswith("postgresql")
    assert "provider openai" in table.out


def test_what_is_wrong_is_named_with_its_cure(run: Tollgate, tmp_path: Path) -> None:
    environ = {
        "TOLLGATE_SERVER__DATA_DIR": str(tmp_path),
        "TOLLGATE_DATABASE__URL": "postgresql://nobody@127.0.0.1:1/none",
        "TOLLGATE_PROVIDERS__OPENAI__BASE_URL": "http://127.0.0.1:1/v1",
        "TOLLGATE_PROVIDERS__OPENAI__CREDENTIAL": "sk-x",
    }
    result = run("doctor", "--json", environ=environ)
    said = found(result)
    assert result.status == 1
    assert said["database"][0] == said["provider openai"][0] == "problem"
    assert all(each["cure"] for each in result.json if each["state"] == "problem")


def test_a_bad_setting_is_the_finding(run: Tollgate) -> None:
    result = run("doctor", "--json", environ={"TOLLGATE_SERVER__PRT": "1"})
    assert result.status == 1
    assert "server.prt" in result.json[0]["found"]


def test_no_provider_is_a_problem(run: Tollgate, environ: dict[str, str]) -> None:
    assert found(run("doctor", "--json", environ=environ))["providers"][0] == "problem"


def test_a_journal_without_an_owner_is_seen(tmp_path: Path) -> None:
    lock = tmp_path / "journals" / "abc" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    (finding,) = left_journals(tmp_path)
    assert (finding.state, "abc" in finding.found) == ("warning", True)


def test_clocks_and_prices_have_their_bounds() -> None:
    assert clock(1.5).state == "ok"
    assert clock(-2.5).state == "problem"
    assert fresh_prices(None, 0).state == "warning"
    assert fresh_prices(0, 5).state == "warning"


def test_a_refused_credential_is_seen() -> None:
    with SimulatedProviders() as providers:
        assert reached("provider openai", providers.url("openai"), "/models", {}).state == "problem"
