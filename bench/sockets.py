"""Sockets: what an idle one takes, and how much later a token arrives, beside server-sent events."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from bench.machine import LOAD_CORE
from bench.variants import Variant

__all__ = ["IDLE", "STREAMS", "measure", "table"]

IDLE: Final = 1_000
STREAMS: Final = 300
SECONDS: Final = 6
# Each row: what is measured, over which kind of connection, with so many idle sockets beside.
ROWS: Final = (
    ("direct, SSE", "sse", 0),
    ("WebSocket", "ws", 0),
    (f"WebSocket, {IDLE:,} idle beside", "ws", IDLE),
    ("SSE, connections kept", "sse", 0),
    ("SSE, a connection for each call", "fresh", 0),
)


def measure(direct: Variant, gateway: Variant) -> list[dict[str, Any]]:
    """Every row once."""
    return [_run(name, way, idle, gateway if at else direct) for at, (name, way, idle) in enumerate(ROWS)]


def _run(name: str, way: str, idle: int, variant: Variant) -> dict[str, Any]:
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.socket_load"]
    options = ["--way", way, "--idle", str(idle), "--streams", str(STREAMS), "--seconds", str(SECONDS)]
    before = resident_bytes(variant.pids)
    with subprocess.Popen(
        [*command, str(variant.port), variant.key, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as load:
        assert load.stdout is not None
        if load.stdout.readline() != "idle\n":
            raise SystemExit("bench: the socket load did not start")
        idle_bytes = resident_bytes(variant.pids) - before
        cpu = cpu_s(variant.pids)
        said, _ = load.communicate("go\n", timeout=120)
        cpu = cpu_s(variant.pids) - cpu
    found: dict[str, Any] = json.loads(said)
    per_idle = idle_bytes / idle if idle else None
    return {"name": name, "idle": idle, "bytes_per_idle": per_idle, "cpu_s": cpu, **found}


def resident_bytes(pids: Iterable[int]) -> int:
    """The memory of these processes."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def cpu_s(pids: Iterable[int]) -> float:
    """The CPU time that these processes have taken; clock ticks are hundredths of a second."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / 100


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Added delay is over the direct row's."""
    shown = Table(title=f"sockets: {STREAMS} streams of 50 tokens a second", title_justify="left")
    for column in (
        "",
        "frames/s",
        "p50 ms",
        "p99 ms",
        "added p50 ms",
        "added p99 ms",
        "KB/idle",
        "CPU us/frame",
    ):
        shown.add_column(column, justify="right" if column else "left")
    direct = rows[0]
    for row in rows:
        added = [f"{(row[mark] - direct[mark]) / 1e3:.2f}" for mark in ("p50_us", "p99_us")]
        frames = row["frames_per_s"]
        shown.add_row(
            row["name"],
            f"{frames:,.0f}",
            f"{row['p50_us'] / 1e3:.2f}",
            f"{row['p99_us'] / 1e3:.2f}",
            *(added if row is not direct else ("", "")),
            "" if row["bytes_per_idle"] is None else f"{row['bytes_per_idle'] / 1024:.1f}",
            f"{row['cpu_s'] * 1e6 / (frames * (SECONDS + 1)):.1f}" if row["cpu_s"] else "",
        )
    return shown
