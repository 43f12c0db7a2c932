"""What `deploy/` holds is well-formed and speaks of metrics, settings and commands that exist."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.api.metrics import FAMILIES
from gateway.settings import documented, load
from tests.tidy.source import ROOT

DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\btollgate_[a-z_]+\b")
VARIABLE = re.compile(r"\bTOLLGATE_([A-Z]+)__([A-Z_]+)\b")


def known(name: str) -> bool:
    """Whether a series of this name is exported."""
    kinds = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return any(name == f"{family}{end}" for family, (kind, _, _) in FAMILIES.items() for end in kinds[kind])


def metrics_in(expressions: list[str]) -> set[str]:
    return {name for expression in expressions for name in METRIC.findall(expression)}


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    return found


def test_alert_rules_name_metrics_that_exist() -> None:
    groups = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert all({"alert", "expr", "labels", "annotations"} <= set(rule) for rule in rules)
    names = metrics_in([rule["expr"] for rule in rules])
    assert len(names) > 5
    assert not [name for name in names if not known(name)]


def test_the_dashboard_names_metrics_that_exist() -> None:
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    names = metrics_in([target["expr"] for panel in panels for target in panel["targets"]])
    assert len(names) > 10
    assert not [name for name in names if not known(name)]
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("name", ["compose.yml", "Dockerfile", "tollgate.service"])
def test_settings_named_exist(name: str) -> None:
    named = VARIABLE.findall((DEPLOY / name).read_text())
    settings = {setting for setting, _, _ in documented()}
    assert not [pair for pair in named if ".".join(pair).lower() not in settings]


def test_compose_is_two_gateways_that_can_write_to_their_journals_only() -> None:
    services = compose()["services"]
    gateways = [service for name, service in services.items() if name.startswith("gateway-")]
    assert len(gateways) == 2
    assert len({service["volumes"][0] for service in gateways}) == 2
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in gateways)
    drain_s = load({}, None).server.drain_s
    assert all(int(service["stop_grace_period"].removesuffix("s")) > drain_s for service in gateways)


def test_the_image_runs_as_nobody_in_particular() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "USER 10001" in lines
    assert 'ENTRYPOINT ["tollgate"]' in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert lines.index("USER 10001") > max(n for n, line in enumerate(lines) if line.startswith("RUN"))
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert not [name for name in ignored[1:] if not Path(ROOT, name.removeprefix("!")).exists()]


def test_the_unit_lets_calls_finish() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "tollgate.service")
    assert "tollgate serve" in unit["Service"]["ExecStart"]
    assert int(unit["Service"]["TimeoutStopSec"]) > load({}, None).server.drain_s


@pytest.mark.slow
def test_what_the_image_installs_is_the_whole_gateway(tmp_path: Path) -> None:
    """The Dockerfile's `pip install` by hand, without the dependencies, which are here; then it runs."""
    source = tmp_path / "source"
    source.mkdir()
    for name in (DEPLOY / "Dockerfile.dockerignore").read_text().split()[1:]:
        subprocess.run(["cp", "-r", str(ROOT / name.removeprefix("!")), str(source)], check=True)
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*install, str(source)], check=True)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(target), "TOLLGATE_SERVER__DATA_DIR": "data"}
    checked = "from gateway.serving import prepare; from gateway.settings import load; import os, gateway;"
    checked += " print(gateway.__file__); print(*prepare(load(os.environ, None)), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", checked], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(target) in done.stdout
    assert "filled the price table" in done.stdout
    assert list(target.glob("gateway/dashboard/templates/*.html"))
    assert list(target.glob("gateway/dashboard/static/*.css"))
