"""`python -m bench`: run every workload against every variant in turn, and print medians and ratios."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import sockets
from bench.machine import LOAD_CORE, OUT, build
from bench.variants import Variant, mock, nginx, tollgate

WORKLOADS = {
    "non-stream": ["-M", "json", "-c", "64", "-d", "2", "-w", "0.7", "-m", "mock"],
    "unloaded": ["-M", "json", "-c", "1", "-d", "1", "-w", "0.3", "-m", "mock"],
    "stream burst": ["-M", "sse", "-c", "16", "-d", "2", "-w", "0.7", "-m", "mock-n100"],
    "stream paced": ["-M", "sse", "-c", "300", "-d", "3", "-w", "3", "-s", "6", "-m", "mock-n100-i20000-t"],
}
SOCKETS = "sockets"
Samples = dict[str, dict[str, list[dict[str, Any]]]]


def main() -> int:
    """Measure and report."""
    arguments = parse()
    console = Console()
    build()
    with ExitStack() as stack:
        upstream = stack.enter_context(mock())
        variants: list[Variant] = [upstream]
        reference = stack.enter_context(nginx(upstream.port))
        if reference is None:
            console.print("nginx is not installed: no ratio to it. Debian: apt-get install nginx-light")
        else:
            variants.append(reference)
        gateway = stack.enter_context(tollgate(upstream.port))
        variants.append(gateway)
        if not arguments.quick:
            variants.append(
                stack.enter_context(tollgate(upstream.port, name="tollgate, 8 budgets", budgets=8))
            )
        wanted = arguments.only or (*WORKLOADS, SOCKETS)
        samples = measure(variants, arguments.rounds, [name for name in wanted if name != SOCKETS], console)
        rows = sockets.measure(upstream, gateway) if SOCKETS in wanted else []
    for workload, found in samples.items():
        console.print(table(workload, variants, found))
    if rows:
        console.print(sockets.table(rows))
    target = OUT / "results.json"
    target.write_text(json.dumps({"machine": machine(), "samples": samples, "sockets": rows}, indent=1))
    console.print(f"Raw figures: {target}")
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (medians are printed)")
    parser.add_argument(
        "--only", action="append", choices=[*WORKLOADS, SOCKETS], help="a workload; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="one variant of the gateway instead of several")
    return parser.parse_args()


def measure(variants: Sequence[Variant], rounds: int, workloads: Sequence[str], console: Console) -> Samples:
    """Every workload against every variant, `rounds` times, in an order that rotates."""
    samples: Samples = {name: {each.name: [] for each in variants} for name in workloads}
    for number in range(rounds if samples else 0):
        for workload, found in samples.items():
            order = [*variants[number % len(variants) :], *variants[: number % len(variants)]]
            for variant in order:
                found[variant.name].append(load(WORKLOADS[workload], variant))
                time.sleep(0.3)
        console.print(f"round {number + 1} of {rounds}", style="dim")
    return samples


def load(arguments: Sequence[str], variant: Variant) -> dict[str, Any]:
    """One run of the load generator."""
    command = ["taskset", "-c", str(LOAD_CORE), str(OUT / "load"), *arguments, "-k", variant.key]
    if variant.pids:
        command += ["-P", ",".join(map(str, variant.pids))]
    command.append(f"127.0.0.1:{variant.port}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(
            f"bench: the load generator failed on {variant.name}: {done.stderr[-500:]}"
        ) from None
    if result["err"]:
        sys.stderr.write(f"{variant.name}: {result['err']} of {result['ok'] + result['err']} calls failed\n")
    return result


def table(workload: str, variants: Sequence[Variant], found: dict[str, list[dict[str, Any]]]) -> Table:
    """Medians of one workload, and the ratio to nginx taken round by round."""
    shown = Table(title=workload, title_justify="left")
    for column in (
        "",
        "calls/s",
        "of nginx",
        "p50 ms",
        "p99 ms",
        "first byte ms",
        "events/s",
        "delay us p50/p99",
        "CPU us/call",
        "CPU us/event",
        "load busy",
        "errors",
    ):
        shown.add_column(column, justify="right" if column else "left")
    for variant in variants:
        rows = found[variant.name]
        delay = f"{median(rows, 'chunk_delay_us', 'p50'):.0f}/{median(rows, 'chunk_delay_us', 'p99'):.0f}"
        shown.add_row(
            variant.name,
            f"{median(rows, 'rps'):,.0f}",
            ratio(rows, found.get("nginx", [])),
            f"{median(rows, 'lat_us', 'p50') / 1e3:.2f}",
            f"{median(rows, 'lat_us', 'p99') / 1e3:.2f}",
            f"{median(rows, 'ttfb_us', 'p50') / 1e3:.2f}",
            f"{median(rows, 'events_per_s'):,.0f}",
            delay,
            f"{median(rows, 'gw_us_per_req'):.1f}",
            f"{median(rows, 'gw_us_per_event'):.2f}",
            f"{100 * median(rows, 'load_cpu'):.0f} %",
            str(sum(row["err"] for row in rows)),
        )
    return shown


def ratio(rows: Sequence[dict[str, Any]], reference: Sequence[dict[str, Any]]) -> str:
    """Calls a second as a part of nginx's, median over the rounds, with its spread."""
    parts = [row["rps"] / other["rps"] for row, other in zip(rows, reference, strict=False) if other["rps"]]
    return f"{statistics.median(parts):.2f} ({min(parts):.2f}-{max(parts):.2f})" if parts else ""


def median(rows: Sequence[dict[str, Any]], *path: str) -> float:
    """The median of a figure that some rounds may lack."""
    figures = []
    for row in rows:
        value: Any = row
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            figures.append(float(value))
    return statistics.median(figures) if figures else float("nan")


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    return {"cpu": model, "python": platform.python_version(), "kernel": platform.release()}


if __name__ == "__main__":
    raise SystemExit(main())
