"""When a delivery that failed is tried again. Pure: the time and the chance are arguments.

The pauses are those that the Standard Webhooks specification 1.0.0 gives as its example, three days in all.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_ATTEMPTS", "next_attempt_us", "rest_until_us"]

_SECOND_US: Final = 1_000_000
_MINUTE_US: Final = 60 * _SECOND_US
_HOUR_US: Final = 60 * _MINUTE_US
# After the first attempt, after the second ... The first is short of 5 s by the chance and our own looking.
_PAUSES_US: Final = (
    3 * _SECOND_US,
    5 * _MINUTE_US,
    30 * _MINUTE_US,
    2 * _HOUR_US,
    5 * _HOUR_US,
    10 * _HOUR_US,
    14 * _HOUR_US,
    20 * _HOUR_US,
    24 * _HOUR_US,
)
MOST_ATTEMPTS: Final = len(_PAUSES_US) + 1
# What a target may ask us to wait at most, and a failing one is left alone at most.
_LONGEST_WISH_US: Final = 24 * _HOUR_US
_REST_US: Final = 5 * _MINUTE_US


def next_attempt_us(attempts: int, now_us: int, chance: int, retry_after_s: int | None) -> int | None:
    """The instant of the next attempt after `attempts` failed ones; None when there were enough.

    `chance` is a byte: it spreads targets that failed together over a fifth of the pause. What the target
    asks for (`Retry-After`) is kept to, up to a day.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    pause_us = _PAUSES_US[attempts - 1]
    pause_us += pause_us * chance // 1280
    if retry_after_s is not None:
        pause_us = min(max(retry_after_s * _SECOND_US, pause_us), _LONGEST_WISH_US)
    return now_us + pause_us


def rest_until_us(next_us: int, now_us: int) -> int:
    """Until when a target that does not answer is left alone: new events try it again before long."""
    return min(next_us, now_us + _REST_US)
