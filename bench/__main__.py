"""`python -m bench`: run every workload against every variant in turn, and print medians and ratios."""

from __future__ import annotations

import argparse
import json
import platform
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from bench import sockets, translation
from bench.figures import rows_of, table
from bench.machine import OUT, build
from bench.measuring import measure
from bench.variants import Variant, mock, nginx, postgres, tollgate
from bench.workloads import WORKLOADS

WIDTH = 160
SOCKETS = "sockets"
TRANSLATION = "translation"
APART = (SOCKETS, TRANSLATION)


def main() -> int:
    """Measure and report."""
    arguments = parse()
    console = Console(width=WIDTH)
    build()
    with ExitStack() as stack:
        variants = start(stack, arguments.quick, console)
        wanted = arguments.only or (*WORKLOADS, *APART)
        samples = measure(variants, arguments.rounds, [name for name in wanted if name not in APART])
        gateway = next(each for each in variants if each.name == "tollgate")
        held = sockets.measure(variants[0], gateway) if SOCKETS in wanted else []
    translated = translation.measure(arguments.rounds) if TRANSLATION in wanted else []
    rows = {workload: rows_of(workload, found) for workload, found in samples.items()}
    for workload, each in rows.items():
        console.print(table(workload, each))
    if held:
        console.print(sockets.table(held))
    if translated:
        console.print(translation.table(translated))
    target = OUT / "results.json"
    notes = {variant.name: variant.note for variant in variants}
    told = {
        "machine": machine(),
        "variants": notes,
        "rows": rows,
        "samples": samples,
        "sockets": held,
        "translation": translated,
    }
    target.write_text(json.dumps(told, indent=1))
    console.print(f"All figures: {target}")
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (medians are printed)")
    parser.add_argument(
        "--only", action="append", choices=[*WORKLOADS, *APART], help="a workload; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="one variant of the gateway instead of several")
    return parser.parse_args()


def start(stack: ExitStack, is_quick: bool, console: Console) -> list[Variant]:
    """Everything that is measured, the mock upstream alone first; what is idle costs next to nothing."""
    upstream = stack.enter_context(mock())
    variants = [upstream]
    reference = stack.enter_context(nginx(upstream.port))
    if reference is None:
        console.print("nginx is not installed: no ratio to it. Debian: apt-get install nginx-light")
    else:
        variants.append(reference)
    variants.append(stack.enter_context(tollgate(upstream.port)))
    if is_quick:
        return variants
    url = stack.enter_context(postgres())
    for several in (
        tollgate(upstream.port, name="tollgate, 8 budgets", budgets=8),
        tollgate(upstream.port, name="tollgate, 10,000 keys", keys=10_000),
        tollgate(upstream.port, name="tollgate, 2 workers", workers=2),
        tollgate(upstream.port, name="tollgate, PostgreSQL", url=url),
    ):
        variants.append(stack.enter_context(several))
    return variants


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
