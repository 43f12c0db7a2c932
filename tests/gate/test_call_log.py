from __future__ import annotations

import pytest

from gateway.gate.call_log import PIECE_BYTES, CallLog


def filled(count: int, size: int = 10, most: int = 1_000_000) -> CallLog:
    log = CallLog(most)
    for number in range(1, count + 1):
        log.append(str(number).rjust(size).encode())
    return log


def numbers(log: CallLog, after: int, most: int = 1_000) -> list[int]:
    return [int(piece) for piece in log.after(after, most)]


def test_pieces_are_read_by_number_from_anywhere() -> None:
    log = filled(5)
    assert numbers(log, 0) == [1, 2, 3, 4, 5]
    assert numbers(log, 3) == [4, 5]
    assert numbers(log, 1, most=2) == [2, 3]
    assert numbers(log, 5) == []
    assert (CallLog(10).last, log.last) == (0, 5)


@pytest.mark.parametrize(("position", "has"), [(0, True), (3, True), (4, False), (-1, False)])
def test_only_what_is_there_can_be_had(position: int, has: bool) -> None:
    assert filled(3).has_after(position) is has


def test_a_full_log_keeps_what_is_new_and_its_numbers() -> None:
    piece = 10 + PIECE_BYTES
    log = filled(100, size=10, most=10 * piece)
    assert log.size <= 10 * piece
    assert log.last == 100
    assert not log.has_after(log.first - 2)
    assert numbers(log, log.first - 1) == list(range(log.first, 101))


def test_a_piece_beyond_the_bound_is_kept_alone() -> None:
    log = filled(3, size=10)
    log.most_bytes = 100
    log.append(b"x" * 1_000)
    log.trim()
    log.trim()
    assert (log.first, log.last) == (4, 4)


def test_it_is_full_before_anything_goes() -> None:
    log = CallLog(10_000)
    while not log.is_full:
        log.append(b"x" * 100)
    assert log.first == 1
