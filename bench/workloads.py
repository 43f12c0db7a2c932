"""What is asked of every variant, as arguments of the load generator."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["WORKLOADS", "Workload"]


class Workload(NamedTuple):
    """`arguments` of `rig/load.c`; `is_stream` says that events are what counts."""

    arguments: tuple[str, ...]
    is_stream: bool = False


def _load(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WORKLOADS: Final = {
    "non-stream": Workload(_load("-M json -c 64 -d 2 -w 0.7 -m mock")),
    "100 KB prompt": Workload(_load("-M json -c 64 -d 2 -w 0.7 -m mock -z 100000")),
    "unloaded": Workload(_load("-M json -c 1 -d 1 -w 0.3 -m mock")),
    "stream burst": Workload(_load("-M sse -c 16 -d 2 -w 0.7 -m mock-n100"), is_stream=True),
    "stream paced": Workload(_load("-M sse -c 300 -d 3 -w 3 -s 6 -m mock-n100-i20000-t"), is_stream=True),
}
