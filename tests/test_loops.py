"""Background loops: a defect is logged, and the loop begins again."""

from __future__ import annotations

import logging

import pytest

from gateway.loops import for_ever


class Enough(BaseException):
    """Ends what never ends."""


async def test_a_loop_that_fails_begins_again_later_each_time(caplog: pytest.LogCaptureFixture) -> None:
    runs = 0
    pauses: list[float] = []

    async def work() -> None:
        nonlocal runs
        runs += 1
        raise OSError(28, "No space left on device")

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 10:
            raise Enough

    with caplog.at_level(logging.ERROR), pytest.raises(Enough):
        await for_ever(work, pause)
    assert runs == 10
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(pauses) == 30.0
    assert len(caplog.records) == 10
    assert "No space left" in caplog.text
