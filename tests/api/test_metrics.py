"""`/metrics`: the format, every worker's series, and nobody without a key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from gateway.api.metrics import FAMILIES, Sample, histogram_value, leave, rendered, siblings
from gateway.gate.figures import BOUNDS_MS, Histogram

Series = tuple[str, frozenset[tuple[str, str]]]


def series(name: str, **labels: str) -> Series:
    """The name of one series."""
    return name, frozenset(labels.items())


def values(text: bytes) -> dict[Series, float]:
    """Every series."""
    return {
        series(sample.name, **sample.labels): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_each_workers_series_stand_beside_each_other() -> None:
    call = ("openai", "gpt-4.1", "done")
    named = {"provider": "openai", "model": "gpt-4.1", "outcome": "done"}
    found = values(rendered({7: [Sample("tollgate_calls", call, 2)], 9: [Sample("tollgate_calls", call, 3)]}))
    assert found[series("tollgate_calls_total", worker="7", **named)] == 2
    assert found[series("tollgate_calls_total", worker="9", **named)] == 3


def bucket(bound: str) -> Series:
    return series("tollgate_call_seconds_bucket", worker="1", streamed="yes", le=bound)


def test_a_histogram_is_cumulative() -> None:
    took = Histogram()
    for took_us in (1_000, 25_000, 25_001, 400_000_000):
        took.add(took_us)
    found = values(rendered({1: [Sample("tollgate_call_seconds", ["yes"], histogram_value(took))]}))
    assert found[bucket("0.025")] == 2
    assert found[bucket("0.05")] == 3
    assert found[bucket("300.0")] == 3
    assert found[bucket("+Inf")] == 4
    assert found[series("tollgate_call_seconds_count", worker="1", streamed="yes")] == 4
    assert len(took.counts) == len(BOUNDS_MS) + 1


def test_dead_workers_are_forgotten(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    samples = msgspec.msgpack.encode([Sample("tollgate_ready", (), 1)])
    for pid in (os.getpid(), os.getppid(), int(dead.stdout)):
        leave(tmp_path / f"{pid}.mp", samples)
    leave(tmp_path / "1.mp", b"not messagepack")
    assert list(siblings(tmp_path, os.getpid())) == [os.getppid()]
    assert not (tmp_path / f"{int(dead.stdout)}.mp").exists()


def test_names_are_prometheus_own() -> None:
    assert all(name.startswith("tollgate_") for name in FAMILIES)
