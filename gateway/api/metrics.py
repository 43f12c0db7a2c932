"""`GET /metrics`: what every worker of this machine counts, in Prometheus' text format.

A scrape reaches whichever worker accepts it. So that it tells of all of them, each worker leaves its samples
in a file of the data directory every two seconds, and whoever is asked reads its siblings' files beside its
own figures. Every series carries the worker's process id; sum over it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.problems import problem_response
from gateway.clock import Clock
from gateway.domain.errors import GatewayError
from gateway.gate.figures import BOUNDS_MS, Histogram
from gateway.gate.gate import Gate

__all__ = ["FAMILIES", "Metrics", "Sample", "rendered"]

SHARE_EVERY_S: Final = 2.0
NANO: Final = 1_000_000_000
US: Final = 1_000_000
MS_PER_S: Final = 1_000

# Name to (kind, labels beside `worker`, help). A counter's series end in `_total`.
FAMILIES: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "tollgate_calls": ("counter", ("provider", "model", "outcome"), "Attempts that ended."),
    "tollgate_units": ("counter", ("provider", "model", "meter"), "Units charged, by meter."),
    "tollgate_charge_usd": ("counter", ("provider", "model"), "USD charged; the ledger has it exactly."),
    "tollgate_overrun_usd": ("counter", (), "USD that providers billed beyond what was held."),
    "tollgate_refusals": ("counter", ("code",), "Calls refused before anything was held, by code."),
    "tollgate_upstream_failures": ("counter", ("kind",), "Upstream calls that failed, by kind."),
    "tollgate_call_seconds": ("histogram", ("streamed",), "From admission to the end of the answer."),
    "tollgate_calls_in_flight": ("gauge", (), "Calls that hold money."),
    "tollgate_streams_in_flight": ("gauge", (), "Streamed answers under way."),
    "tollgate_held_usd": ("gauge", (), "USD held by calls in flight."),
    "tollgate_waiting_calls": ("gauge", (), "Calls that wait for headroom."),
    "tollgate_journal_bytes": ("gauge", (), "Size of the journal, with room for open calls' closes."),
    "tollgate_journal_limit_bytes": ("gauge", (), "Size at which calls are refused."),
    "tollgate_unposted_records": ("gauge", (), "Journal records that SQL does not have yet."),
    "tollgate_quarantined_records": ("gauge", (), "Records that the database refuses; look at the log."),
    "tollgate_posting_lag_seconds": ("gauge", (), "Age of the oldest instant not complete in SQL."),
    "tollgate_database_away_seconds": ("gauge", (), "How long the database has been away; 0: it is there."),
    "tollgate_journals_to_adopt": ("gauge", (), "Dead workers' journals the database did not take yet."),
    "tollgate_ready": ("gauge", (), "1 while calls are accepted."),
    "tollgate_accounts": ("gauge", (), "Accounts known to the worker."),
    "tollgate_keys": ("gauge", (), "Virtual keys used since the worker started."),
    "tollgate_budgets": ("gauge", (), "Budgets in force."),
}


class Sample(msgspec.Struct, array_like=True):
    """One series of a family; `value` is a list of bucket counts and a sum for a histogram."""

    family: str
    labels: Sequence[str]
    value: float | list[float]


class Metrics:
    """The endpoint, and the sharing of samples between the workers of a machine."""

    def __init__(
        self, gate: Gate, clock: Clock, folder: Path, admit: Callable[[Request], Awaitable[object]]
    ) -> None:
        """`admit` raises for whoever may not read them."""
        self._gate = gate
        self._clock = clock
        self._folder = folder
        self._admit = admit
        self._pid = os.getpid()

    async def answer(self, request: Request) -> Response:
        """Every worker's series, for an administrator."""
        try:
            await self._admit(request)
        except GatewayError as error:
            return problem_response(error)
        workers = {self._pid: self.samples()}
        workers |= await run_in_threadpool(siblings, self._folder, self._pid)
        body = await run_in_threadpool(rendered, workers)
        return Response(body, headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})

    async def share(self) -> None:
        """Leave the samples to the siblings, for ever."""
        path = self._folder / f"{self._pid}.mp"
        try:
            while True:
                await asyncio.sleep(SHARE_EVERY_S)
                with suppress(OSError):
                    await run_in_threadpool(leave, path, msgspec.msgpack.encode(self.samples()))
        finally:
            path.unlink(missing_ok=True)

    def samples(self) -> list[Sample]:
        """This worker's figures now."""
        gate = self._gate
        figures, readiness = gate.figures, gate.readiness()
        health, calls, size = gate.ledger.health, gate.in_flight(), gate.directory.size
        now_us = self._clock.now_us()
        away_us = health.database_away_since_us
        found = [Sample("tollgate_calls", key, count) for key, count in figures.calls.items()]
        found += [Sample("tollgate_units", key, count) for key, count in figures.units.items()]
        found += [
            Sample("tollgate_charge_usd", key, nano / NANO) for key, nano in figures.charged_nano.items()
        ]
        found += [Sample("tollgate_refusals", [code], count) for code, count in gate.refusals.items()]
        found += [
            Sample("tollgate_upstream_failures", [kind], count) for kind, count in gate.failures.items()
        ]
        found += [
            Sample("tollgate_call_seconds", ["yes" if streamed else "no"], histogram_value(took))
            for streamed, took in figures.took.items()
        ]
        plain: dict[str, float] = {
            "tollgate_overrun_usd": figures.overrun_nano / NANO,
            "tollgate_calls_in_flight": len(calls),
            "tollgate_streams_in_flight": len(gate.streams),
            "tollgate_held_usd": sum(call.facts.hold_nano for call in calls) / NANO,
            "tollgate_waiting_calls": health.waiting,
            "tollgate_journal_bytes": health.journal_bytes,
            "tollgate_journal_limit_bytes": health.journal_limit_bytes,
            "tollgate_unposted_records": health.unposted,
            "tollgate_quarantined_records": health.quarantined,
            "tollgate_posting_lag_seconds": max(0, now_us - gate.posted_until_us) / US,
            "tollgate_database_away_seconds": 0 if away_us is None else (now_us - away_us) / US,
            "tollgate_journals_to_adopt": len(health.to_adopt),
            "tollgate_ready": int(readiness.is_ready),
            "tollgate_accounts": size["accounts"],
            "tollgate_keys": size["keys"],
            "tollgate_budgets": size["budgets"],
        }
        return found + [Sample(name, (), value) for name, value in plain.items()]


def histogram_value(took: Histogram) -> list[float]:
    """The counts of its buckets, then the sum in seconds."""
    return [*took.counts, took.total_us / US]


def leave(path: Path, data: bytes) -> None:
    """Put a file in its place at once, whole."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".new")
    partial.write_bytes(data)
    partial.rename(path)


def siblings(folder: Path, own: int) -> dict[int, list[Sample]]:
    """What the other living workers left; files of dead ones are removed."""
    found: dict[int, list[Sample]] = {}
    for path in folder.glob("*.mp"):
        pid = int(path.stem) if path.stem.isdecimal() else own
        if pid == own:
            continue
        if not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)
            continue
        with suppress(OSError, msgspec.MsgspecError):
            found[pid] = msgspec.msgpack.decode(path.read_bytes(), type=list[Sample])
    return found


def rendered(workers: dict[int, list[Sample]]) -> bytes:
    """The text of all workers' samples, family by family."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(workers))
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, workers: dict[int, list[Sample]]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """Families in the order of the table."""
        families = {name: _family(name) for name in FAMILIES}
        for pid, samples in sorted(self._workers.items()):
            for sample in samples:
                family = families.get(sample.family)
                if family is not None:
                    _add(family, [str(pid), *sample.labels], sample.value)
        yield from families.values()


Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
KINDS: Final = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _family(name: str) -> Family:
    kind, labels, text = FAMILIES[name]
    made: Family = KINDS[kind](name, text, labels=["worker", *labels])
    return made


def _add(family: Family, labels: list[str], value: float | list[float]) -> None:
    if isinstance(family, HistogramMetricFamily):
        assert isinstance(value, list)
        *counts, total = value
        bounds = [str(bound / MS_PER_S) for bound in BOUNDS_MS] + ["+Inf"]
        sums = [sum(counts[: number + 1]) for number in range(len(counts))]
        family.add_metric(labels, list(zip(bounds, sums, strict=True)), total)
    else:
        assert not isinstance(value, list)
        family.add_metric(labels, value)
