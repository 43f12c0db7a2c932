"""From raw samples to the figures that are shown: medians, ratios taken round by round, their spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from bench.workloads import WORKLOADS

__all__ = ["RIG_BOUND", "rows_of", "table"]

# With its core this busy the rig, not what is measured, may be the limit: calls a second say little then.
RIG_BOUND = 0.9
GATEWAY_BUSY = 0.9
COLUMNS = {
    "variant": "",
    "calls_per_s": "calls/s",
    "of_nginx": "of nginx",
    "added_p50_ms": "added p50 ms",
    "added_p99_ms": "p99 ms",
    "cpu_us_per_call": "CPU us/call",
    "cpu_us_per_event": "CPU us/event",
    "added_delay_us": "event delay us p50/p99",
    "rss_mb": "MB",
    "limit": "limit",
    "errors": "err",
}
Sample = Mapping[str, Any]


def rows_of(workload: str, found: Mapping[str, Sequence[Sample]]) -> list[dict[str, Any]]:
    """One row a variant; what is added is over the mock upstream alone, in the same rounds."""
    return [_row(workload, name, samples, found) for name, samples in found.items()]


def _row(
    workload: str, name: str, samples: Sequence[Sample], found: Mapping[str, Sequence[Sample]]
) -> dict[str, Any]:
    direct = found["direct"]
    latency = "ttfb_us" if WORKLOADS[workload].is_stream else "lat_us"
    return {
        "variant": name,
        "calls_per_s": _median(samples, lambda each: each["rps"]),
        "of_nginx": _spread(_ratios(samples, found.get("nginx", ()))),
        "added_p50_ms": _added(samples, direct, latency, "p50"),
        "added_p99_ms": _added(samples, direct, latency, "p99"),
        "cpu_us_per_call": _spread([each.get("gw_us_per_req") for each in samples]),
        "cpu_us_per_event": _spread([each.get("gw_us_per_event") for each in samples]),
        "added_delay_us": [_delay(samples, "p50"), _delay(samples, "p99")],
        "rss_mb": _median(samples, lambda each: each["rss_mb"]),
        "limit": _limit(samples),
        "errors": sum(each["err"] for each in samples),
    }


def _ratios(samples: Sequence[Sample], reference: Sequence[Sample]) -> list[float | None]:
    """Calls a second as a part of the reference's, round by round; nothing without a reference."""
    pairs = zip(samples, reference, strict=True) if reference else ()
    return [each["rps"] / other["rps"] if other["rps"] else None for each, other in pairs]


def _limit(samples: Sequence[Sample]) -> str:
    """What ran out first: the gateway's core, the rig's core, or neither (paced and unloaded runs)."""
    gateway = _median(samples, lambda each: each.get("gw_cpu"))
    if gateway is not None and gateway >= GATEWAY_BUSY:
        return "itself"
    return "rig" if (_median(samples, lambda each: each["rig_cpu"]) or 0) >= RIG_BOUND else "neither"


def _added(samples: Sequence[Sample], direct: Sequence[Sample], what: str, part: str) -> float | None:
    added = [
        (each[what][part] - other[what][part]) / 1000 for each, other in zip(samples, direct, strict=True)
    ]
    return statistics.median(added) if samples is not direct else None


def _delay(samples: Sequence[Sample], part: str) -> float | None:
    return _median(samples, lambda each: (each.get("chunk_delay_us") or {}).get(part))


def _median(samples: Sequence[Sample], figure: Callable[[Sample], float | None]) -> float | None:
    figures = [value for value in map(figure, samples) if value is not None]
    return statistics.median(figures) if figures else None


def _spread(figures: Sequence[float | None]) -> list[float] | None:
    """Median, least, most."""
    known = [value for value in figures if value is not None]
    return [statistics.median(known), min(known), max(known)] if known else None


def table(workload: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of a workload for the terminal."""
    shown = Table(title=workload, title_justify="left")
    for key, title in COLUMNS.items():
        shown.add_column(title, justify="left" if key in ("variant", "limit") else "right")
    for row in rows:
        shown.add_row(*(_text(key, row[key]) for key in COLUMNS))
    return shown


def _text(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key == "added_delay_us":
        return "" if value[0] is None else f"{value[0]:.0f}/{value[1]:.0f}"
    if isinstance(value, list):
        places = 0 if key == "cpu_us_per_call" else 2 if key == "cpu_us_per_event" else 3
        middle, least, most = value
        return f"{middle:.{places}f} ({least:.{places}f}-{most:.{places}f})"
    if isinstance(value, float):
        return f"{value:,.0f}" if key in ("calls_per_s", "rss_mb") else f"{value:.2f}"
    return str(value)
