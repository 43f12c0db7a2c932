"""How a usage object is put on the wire, or kept off it."""

from __future__ import annotations

from typing import Any

from gateway.simulators.behaviour import UsageReport

__all__ = ["reported"]


def reported(usage: dict[str, Any], report: UsageReport) -> Any:
    """The usage as a call is told to report it; with NONE the caller leaves the field out altogether."""
    match report:
        case UsageReport.NULL | UsageReport.NONE:
            return None
        case UsageReport.ZERO:
            return _each_count(usage, 0)
        case UsageReport.WRONG:
            return _each_count(usage, "many")
        case _:
            return usage


def _each_count(value: Any, instead: Any) -> Any:
    if isinstance(value, dict):
        return {name: _each_count(part, instead) for name, part in value.items()}
    if isinstance(value, list):
        return [_each_count(part, instead) for part in value]
    return instead if isinstance(value, int) else value
