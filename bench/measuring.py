"""Every workload against every variant in turn: processes in, raw samples out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.machine import LOAD_CORE, OUT
from bench.variants import Variant
from bench.workloads import WORKLOADS, Workload

__all__ = ["Samples", "measure"]

# By workload and variant, one a round: what the load generator printed, and what was measured beside it.
Samples = dict[str, dict[str, list[dict[str, Any]]]]

PAUSE_S = 0.3
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def measure(variants: Sequence[Variant], rounds: int, workloads: Sequence[str]) -> Samples:
    """`rounds` times, in an order that rotates, so that no variant always follows the same one."""
    samples: Samples = {name: {each.name: [] for each in variants} for name in workloads}
    for number in range(rounds):
        turn = number % len(variants)
        for workload, found in samples.items():
            for variant in [*variants[turn:], *variants[:turn]]:
                found[variant.name].append(_load(WORKLOADS[workload], variant, variants[0]))
                time.sleep(PAUSE_S)
        sys.stderr.write(f"round {number + 1} of {rounds}\n")
    return samples


def _load(workload: Workload, variant: Variant, upstream: Variant) -> dict[str, Any]:
    """One run of the load generator, with the share of its core that it and the mock upstream took."""
    command = ["taskset", "-c", str(LOAD_CORE), str(OUT / "load"), *workload.arguments, "-k", variant.key]
    if variant.pids:
        command += ["-P", ",".join(map(str, variant.pids))]
    command.append(f"127.0.0.1:{variant.port}")
    began_s, mock_s = time.monotonic(), _cpu_s(upstream.pids)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    took_s = time.monotonic() - began_s
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        message = f"bench: the load generator failed on {variant.name}: {done.stderr[-500:]}"
        raise SystemExit(message) from None
    if result["err"]:
        sys.stderr.write(f"{variant.name}: {result['err']} of {result['ok'] + result['err']} calls failed\n")
    result["mock_cpu"] = (_cpu_s(upstream.pids) - mock_s) / took_s
    result["rig_cpu"] = result["mock_cpu"] + result["load_cpu"]
    result["rss_mb"] = sum(map(_rss_mb, variant.pids))
    return result


def _cpu_s(pids: Sequence[int]) -> float:
    """Seconds that these processes have computed so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_A_SECOND


def _rss_mb(pid: int) -> float:
    """Resident memory of a process just after it was under load."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
