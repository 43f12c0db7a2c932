from __future__ import annotations

import asyncio

import pytest

from gateway.gate.call_log import MOST_BEHIND_BYTES, CallLog, Follower


def filled(count: int, size: int = 10, most: int = 1_000_000) -> CallLog:
    log = CallLog(most)
    for number in range(1, count + 1):
        log.append(str(number).rjust(size).encode())
    return log


async def read(follower: Follower) -> list[int]:
    found = []
    while frames := await follower.next():
        found += [int(frame) for frame in frames]
    return found


async def test_everybody_reads_everything_from_where_they_were() -> None:
    log = filled(3)
    followers = [Follower(log, after) for after in (0, 1, 3)]
    reading = [asyncio.create_task(read(follower)) for follower in followers]
    await asyncio.sleep(0)
    log.append(b"4")
    await asyncio.sleep(0)
    log.append(b"5")
    log.close()
    assert await asyncio.gather(*reading) == [[1, 2, 3, 4, 5], [2, 3, 4, 5], [4, 5]]


async def test_a_log_that_is_over_can_be_read_again() -> None:
    log = filled(3)
    log.close()
    assert await read(Follower(log, 0)) == [1, 2, 3]
    assert await read(Follower(log, 3)) == []


@pytest.mark.parametrize(("position", "has"), [(0, True), (3, True), (4, False), (-1, False)])
def test_only_what_is_there_can_be_had(position: int, has: bool) -> None:
    assert filled(3).has_after(position) is has


async def test_a_full_log_drops_what_everybody_has() -> None:
    log = filled(100, size=10, most=500)
    slow, fast = Follower(log, 0), Follower(log, 0)
    await fast.next()
    assert log.size == 1000
    slow.position = 60
    log.was_read()
    assert log.size == 400
    assert not log.has_after(59)
    assert log.has_after(60)
    assert [int(frame) for frame in await slow.next()] == list(range(61, 101))


def test_the_upstream_waits_for_the_slowest_and_for_anybody_once_it_is_full() -> None:
    log = filled(2, size=MOST_BEHIND_BYTES // 2 + 1)
    found = [log.is_behind]
    follower = Follower(log, 0)
    found.append(log.is_behind)
    follower.position = 1
    found.append(log.is_behind)
    assert found == [False, True, False]
    assert filled(3, size=10, most=25).is_behind
