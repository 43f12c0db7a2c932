"""The stage simulated calls play on: defaults, holds, the bill and the transcript of one server.

All of it is touched by the server's event loop alone; other threads ask through `SimulatedProviders`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.simulators.behaviour import Behaviour, directives_in, split_knobs
from gateway.simulators.bill import Bill, Transcript

__all__ = ["Holds", "Played", "Stage"]


class Holds:
    """Named points where streams wait. A released name stays open until the next reset."""

    def __init__(self) -> None:
        self._gates: dict[str, asyncio.Event] = {}
        self._waiting: Counter[str] = Counter()

    def gate(self, name: str) -> asyncio.Event:
        """The event that opens a name."""
        return self._gates.setdefault(name, asyncio.Event())

    def waiting(self, name: str) -> int:
        """How many calls have arrived at a name since the last reset, let through or not."""
        return self._waiting[name]

    def arrived(self, name: str) -> None:
        """Note that a call has come to a name."""
        self._waiting[name] += 1

    def release(self, name: str) -> None:
        """Let every call through that waits at a name, and all that come later."""
        self.gate(name).set()

    def clear(self) -> None:
        """Let everything through and forget every name."""
        for gate in self._gates.values():
            gate.set()
        self._gates.clear()
        self._waiting.clear()


@dataclass(frozen=True, slots=True)
class Played:
    """An answer given as it is, whatever was asked: status, headers and body, in writes of `chunk` bytes."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunk: int | None = None


class Stage:
    """What all calls of one server share."""

    def __init__(self) -> None:
        self.bill = Bill()
        self.transcript = Transcript()
        self.holds = Holds()
        self.connections = 0  # accepted since the start
        self.keys: dict[str, frozenset[str]] = {}  # provider to the keys it accepts; absent: any
        self.deployments: dict[str, str] = {}  # Azure deployment to the model behind it
        self.played: defaultdict[str, deque[Played]] = defaultdict(deque)  # by provider, the next one first
        self._defaults: dict[str, Mapping[str, Any]] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._changed = asyncio.Condition()

    def set_defaults(self, provider: str, values: Mapping[str, Any]) -> None:
        """Behaviour of every later call of a provider, or of all by "*"; checked now, not then."""
        Behaviour().with_values(values)
        self._defaults[provider] = {**self._defaults.get(provider, {}), **values}

    def behaviour_for(self, provider: str, model: str, prompt: str) -> Behaviour:
        """Defaults, then the model's knobs, then the prompt's directives; the later wins.

        Counts the failing calls of a directive that is to fail only the first `times`.
        """
        _, knobs = split_knobs(model)
        spoken = {**knobs, **directives_in(prompt)}
        chosen = Behaviour().with_values(
            {**self._defaults.get("*", {}), **self._defaults.get(provider, {}), **spoken}
        )
        if chosen.only is not None and chosen.only not in (provider, model):
            return chosen.without_failure()
        if chosen.times is None:
            return chosen
        self._failures[provider, repr(chosen)] += 1
        failing = self._failures[provider, repr(chosen)] <= chosen.times
        return chosen if failing else chosen.without_failure()

    async def announce(self) -> None:
        """Wake everybody in `until`: something has changed."""
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once a condition on this stage holds."""
        async with self._changed:
            await self._changed.wait_for(holds)

    def reset(self) -> None:
        """As new, but for running calls, which are let through their holds, and the numbering of calls."""
        self.bill.clear()
        self.transcript.clear()
        self.holds.clear()
        self.keys.clear()
        self.deployments.clear()
        self.played.clear()
        self._defaults.clear()
        self._failures.clear()
