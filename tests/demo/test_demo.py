"""The demo ends by itself, and the figures it shows are one figure."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_shows_one_figure_three_times_and_ends() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--exit"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    figures = re.findall(r"^  \$([0-9.]+)  (.+)$", shown.stdout, re.MULTILINE)
    told, reported, counted, held = (figure for figure, _ in figures)
    assert told == reported == counted != "0.000000"
    assert held == "0.000000"
    assert "budget_exceeded" in shown.stdout
    assert "connection 4, frame" in shown.stdout
    assert "the same to the letter" in shown.stdout
    alerts = re.findall(r"^ *(budget\.\w+) .* (verified|wrong) *$", shown.stdout, re.MULTILINE)
    assert ("budget.exceeded", "verified") in alerts
    assert alerts.count(("budget.threshold_reached", "verified")) == 2
    assert "wrong" not in dict(alerts).values()
