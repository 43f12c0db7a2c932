"""Which models calls named that nobody has priced: remembered until somebody writes them down."""

from __future__ import annotations

from typing import Final

__all__ = ["MissingPrices"]

# A caller may name any model it likes; more of them in one go say nothing new.
MOST: Final = 20


class MissingPrices:
    """The names since the last look, as (provider, model)."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], None] = {}

    def note(self, provider: str, model: str) -> None:
        """A call named this model."""
        if len(self._found) < MOST:
            self._found[provider, model] = None

    def take(self) -> list[tuple[str, str]]:
        """What was named since the last time, and begin anew."""
        found, self._found = list(self._found), {}
        return found
