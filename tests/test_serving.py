"""From the command to a listening process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.running import eventually


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_free_port_is_told(tmp_path: Path, workers: int) -> None:
    settings = {"TOLLGATE_SERVER__PORT": "0", "TOLLGATE_SERVER__DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "gateway", "serve", "--workers", str(workers)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, **settings}) as process:
        assert process.stderr is not None
        words = (line.decode() for line in process.stderr)
        found = next(
            hit for line in words if (hit := re.search(r"listening on http://127.0.0.1:(\d+)", line))
        )
        try:
            eventually(lambda: is_served(int(found[1])), "the port is served", 60)
        finally:
            process.terminate()
        process.communicate()
    assert process.returncode == 0


def is_served(port: int) -> bool:
    """Whether the process is well, by its own word."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as response:
            return bool(response.status == 200)
    except OSError:
        return False
