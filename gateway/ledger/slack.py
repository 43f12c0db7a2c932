"""How much more than needed a worker leases. Any value is safe; a good one saves asking without hoarding.

A slice is one quote at first, doubles when it was used up within a second, halves when it lasted, and is
never over 1/16 of the headroom. For a second after somebody else needed headroom it is nothing.
"""

from __future__ import annotations

from typing import Final

from gateway.ledger.book import WindowState

__all__ = ["slack_for", "top_up", "wants_none"]

SECOND_US: Final = 1_000_000
SHARE: Final = 16


def slack_for(window: WindowState, need: int, waiting: int, now_us: int) -> int:
    """What to ask for beyond the shortage of the call at the head; those behind it need `waiting`."""
    share = max(0, window.cap - window.spent - window.leased) // SHARE
    lasted = not 0 <= now_us - window.asked_at_us < SECOND_US
    window.slice = max(need, min(share, window.slice // 2 if lasted else window.slice * 2))
    window.asked_at_us = now_us
    return 0 if wants_none(window, now_us) else min(max(window.slice, waiting), share)


def top_up(window: WindowState, now_us: int) -> int:
    """What to ask for ahead of need, 0 for nothing."""
    if not window.covers(now_us):
        return 0
    return min(slack_for(window, 0, 0, now_us), max(0, 2 * window.slice - window.free))


def wants_none(window: WindowState, now_us: int) -> bool:
    """Whether somebody else asked for headroom within the last second."""
    return window.recall > 0 and 0 <= now_us - window.recall_seen_at_us < SECOND_US
