"""When a window's cap will be spent if spending goes on as it went so far. Integers only."""

from __future__ import annotations

from typing import Final

__all__ = ["runs_out_at"]

# Before this part of a window is over, its first calls say nothing about the rest.
_TELLING_PART: Final = 10


def runs_out_at(start_us: int, end_us: int, now_us: int, spent: int, cap: int) -> int | None:
    """The instant at which `spent` reaches `cap` by the window's mean pace; None when it does not before the
    end, when it has already, or while less than a tenth of the window is over."""
    elapsed_us = min(now_us, end_us) - start_us
    if elapsed_us * _TELLING_PART < end_us - start_us or not 0 < spent < cap:
        return None
    at_us = start_us + elapsed_us * cap // spent
    return at_us if at_us < end_us else None
