"""Which alert thresholds a move of `spent` crosses. Exact integers: no rounding decides about an alert."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["crossed"]


def crossed(before: int, after: int, cap: int, thresholds: Sequence[int]) -> tuple[int, ...]:
    """The percentages of `cap` that `spent` reaches by moving from `before` to `after`: ascending, each once.

    A threshold is reached when `spent` is at least that part of the cap, so 100 is reached at the cap
    itself. A chain of moves crosses exactly what one move over the whole distance does; a move downwards
    (a correction) crosses nothing. Any part of a cap of 0 is reached by the first unit spent.
    """
    return tuple(percent for percent in sorted(set(thresholds)) if _crosses(before, after, percent * cap))


def _crosses(before: int, after: int, hundredfold: int) -> bool:
    if hundredfold <= 0:
        return before <= 0 < after
    return before * 100 < hundredfold <= after * 100
