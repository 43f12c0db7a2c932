"""A circuit breaker for each upstream: calls go elsewhere while it fails.

Per worker, and only where there is an elsewhere: the only upstream of a model is always tried. Pure: time is
an argument.

    closed --failures in a row--> open --open_s--> half open --one good answer--> closed
                                    ^---------------one failure------'
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BreakerPolicy", "Breakers"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """After how many failures in a row it opens, and for how long."""

    failures: int
    open_us: int


class _Breaker:
    __slots__ = ("failures", "opened_us", "probed_us")

    def __init__(self) -> None:
        self.failures = 0
        self.opened_us: int | None = None  # None while it is closed
        self.probed_us = 0  # when the last call was let through while it was open


class Breakers:
    """The breakers of one worker, by upstream; one that never failed has none."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._breakers: dict[str, _Breaker] = {}
        self._opened: list[str] = []  # and not told of yet

    @property
    def is_needed(self) -> bool:
        """Whether anything failed lately."""
        return bool(self._breakers)

    def allows(self, upstream: str, now_us: int) -> bool:
        """Whether calls should go there: not while it is open, but for one probe each `open_us`."""
        breaker = self._breakers.get(upstream)
        if breaker is None or breaker.opened_us is None:
            return True
        since_us = max(breaker.opened_us, breaker.probed_us)
        if 0 <= now_us - since_us < self._policy.open_us:
            return False
        breaker.probed_us = now_us
        return True

    def succeeded(self, upstream: str) -> bool:
        """It answered; True when that closed its breaker."""
        breaker = self._breakers.pop(upstream, None)
        return breaker is not None and breaker.opened_us is not None

    def failed(self, upstream: str, now_us: int) -> bool:
        """It was not reached, went away or broke; True when that opened its breaker."""
        breaker = self._breakers.setdefault(upstream, _Breaker())
        breaker.failures += 1
        was_open = breaker.opened_us is not None
        if was_open or breaker.failures >= self._policy.failures:
            breaker.opened_us = now_us
        has_opened = breaker.opened_us is not None and not was_open
        if has_opened:
            self._opened.append(upstream)
        return has_opened

    def take_opened(self) -> list[str]:
        """Those that opened since the last time."""
        opened, self._opened = self._opened, []
        return opened

    def open_now(self) -> list[str]:
        """The upstreams that calls avoid."""
        return sorted(name for name, each in self._breakers.items() if each.opened_us is not None)
