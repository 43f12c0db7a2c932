"""The one source of time: microseconds since the epoch, and a driven twin for tests."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "DrivenClock", "SystemClock"]


class Clock(Protocol):
    """Tells the time. Everything that needs the time is handed one."""

    def now_us(self) -> int:
        """Microseconds since the epoch; may step back when the machine's clock does."""


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Wall time in microseconds."""
        return time.time_ns() // 1000


class DrivenClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """The time it was last set to."""
        return self._now_us

    def advance(self, seconds: int) -> None:
        """Move by whole seconds, backwards too."""
        self._now_us += seconds * 1_000_000

    def set(self, now_us: int) -> None:
        """Jump."""
        self._now_us = now_us
